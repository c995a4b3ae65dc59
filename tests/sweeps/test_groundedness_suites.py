"""The example items of `grounded` and `cited` as suites of a sweep, and what is refused where."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import identity
from keepgain.core.errors import UserError
from keepgain.core.rows import read_rows, slice_columns
from keepgain.core.scorers import scorer
from keepgain.core.users_code import load_function
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world, write_jsonl

EXAMPLES = Path(__file__).parents[2] / "examples" / "behaviour"
KEYS = r"abstains: ['(?i)does not say'], rejects: ['(?i)\bnot\b']"
GROUNDED = f"{{path: groundedness.jsonl, scorer: grounded, measures: behaviour, {KEYS}}}"
CITED = (
    r"{path: citations.jsonl, scorer: cited, measures: behaviour, entities: '\[S\d+\]|\b\d{3,4}\b'}"
)


def prepared_with(folder: Path, suite: str) -> Prepared:
    path = make_world(folder)
    for name in ("groundedness", "citations"):
        if not (folder / f"{name}.jsonl").exists():
            shutil.copy(EXAMPLES / f"{name}.jsonl", folder)
    path.write_text(path.read_text().replace("space:\n", f"  shown: {suite}\nspace:\n"))
    return prepare(load_spec(path), folder / "sweep")


def refused(folder: Path, suite: str) -> str:
    with pytest.raises(UserError) as caught:
        prepared_with(folder, suite)
    return str(caught.value)


def read_example(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EXAMPLES / name).read_text().splitlines()]


@pytest.mark.parametrize("suite", [GROUNDED, CITED])
def test_the_examples_reach_the_worker_and_their_own_answers_score_1(tmp_path, suite):
    prepared = prepared_with(tmp_path, suite)
    rows = []
    for split in ("validation", "test"):
        (ref,) = [r for r in prepared.score_suites(split) if r.name == "shown"]
        rows += list(read_rows(Path(ref.path)))
        score = load_function(scorer(ref.scorer).item)
        assert all(score(r.answer, r, ref.options) == 1 for r in rows)
        assert all(score("nonsense9", r, ref.options) == 0 for r in rows)
    name = "groundedness.jsonl" if suite == GROUNDED else "citations.jsonl"
    assert len(rows) == len(read_example(name))


def test_kinds_become_slices(tmp_path):
    prepared = prepared_with(tmp_path, GROUNDED)
    (ref,) = [r for r in prepared.score_suites("test") if r.name == "shown"]
    rows = list(read_rows(Path(ref.path)))
    kinds = slice_columns(rows, scorer("grounded").records)["kind"]
    assert [f"{k}-" for k in kinds] == [r.id.split("-")[0] + "-" for r in rows]


def test_patterns_are_part_of_the_suites_identity_and_of_no_other(tmp_path):
    prepared = prepared_with(tmp_path, GROUNDED)
    refs = {r.name: r for r in prepared.score_suites("test")}
    assert refs["gain"].options is None
    assert identity(refs["shown"])["options"]["abstains"] == ["(?i)does not say"]
    assert "entities" not in identity(refs["shown"])["options"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "odd"}, "`kind` is 'odd'; it must be one of answerable, unanswerable"),
        ({"passage": "Something else."}, "does not show the text of `passage`"),
        ({"passage": 3}, "`passage` must be text"),
        ({"answer": "Zurich"}, "'Zurich' does not score 1 as answerable"),
    ],
)
def test_an_item_that_cannot_be_scored_is_refused_with_its_line(tmp_path, change, says):
    rows = read_example("groundedness.jsonl")
    rows[0] |= change
    tmp_path.mkdir(exist_ok=True)
    write_jsonl(tmp_path / "groundedness.jsonl", rows)
    message = refused(tmp_path, GROUNDED)
    assert "groundedness.jsonl:1" in message and says in message


@pytest.mark.parametrize(
    ("suite", "says"),
    [
        (GROUNDED.replace(KEYS, "rejects: [x]"), "needs the suite's key `abstains`"),
        (GROUNDED.replace("does not say", "("), "no regular expression"),
        (GROUNDED.replace("(?i)does not say", ""), "empty pattern is found in every answer"),
        (CITED.replace(r"\[S\d+\]|\b\d{3,4}\b", r"\d*"), "matches the empty text"),
        (GROUNDED.replace("grounded,", "exact_match,"), "belongs to the scorer grounded"),
        (CITED.replace("entities", "separator"), "`separator` belongs to the scorer span_f1"),
    ],
)
def test_keys_that_do_not_fit_are_refused(tmp_path, suite, says):
    assert says in refused(tmp_path, suite)
