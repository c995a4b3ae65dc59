"""Suites whose items are pairs of items of two suites."""

from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world, write_jsonl

ADDED = """\
  sums: {path: sums.jsonl, scorer: exact_match, measures: behaviour}
  both: SUITE
space:
"""
COMPOSE = "{compose: {a: gain, b: sums, templates: ['{a} and then {b}']MORE}}"


def world(folder: Path, suite: str, sums: list[dict[str, Any]] | None = None) -> Path:
    path = make_world(folder)
    rows = [{"prompt": f"{i} + 1 =", "answer": f" {i + 1}"} for i in range(90)]
    write_jsonl(folder / "sums.jsonl", sums or rows)
    text = path.read_text().replace("space:\n", ADDED.replace("SUITE", suite))
    path.write_text(text)
    return path


def prepared_with(folder: Path, suite: str, **more: Any) -> Prepared:
    return prepare(load_spec(world(folder, suite, **more)), None)


def pairs(prepared: Prepared, split: str) -> list[tuple[Row, Row, Row]]:
    """(composed, a, b) of each pair."""
    rows = {r.id: r for r in prepared.suites["both"].items(split).rows}  # type: ignore[arg-type]
    names = dict.fromkeys(name.rpartition("~")[0] for name in rows)
    found = [(rows[f"{n}~composed"], rows[f"{n}~a"], rows[f"{n}~b"]) for n in names]
    assert len(rows) == 3 * len(found)
    return found


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_pair_is_asked_as_one_and_each_part_alone(tmp_path, split):
    prepared = prepared_with(tmp_path, COMPOSE.replace("MORE", ", answer: '{a}; {b}'"))
    originals = {
        n: {r.id: r for r in prepared.suites[n].items(split).rows}  # type: ignore[arg-type]
        for n in ("gain", "sums")
    }
    found = pairs(prepared, split)
    assert len(found) == min(map(len, originals.values()))
    for whole, a, b in found:
        name_a, name_b = whole.id.removesuffix("~composed").split("+")
        assert originals["gain"].pop(name_a).prompt == a.prompt, "an item is in one pair"
        assert originals["sums"].pop(name_b).prompt == b.prompt
        assert whole.prompt == f"{a.prompt} and then {b.prompt}"
        assert whole.answer == f"{a.answer}; {b.answer.strip()}"
        assert whole.cluster == a.cluster == b.cluster == f"{name_a}+{name_b}"
        assert [dict(r.slices)["composition"] for r in (whole, a, b)] == ["composed", "a", "b"]


def test_it_measures_behaviour_by_the_scorer_of_both(tmp_path):
    prepared = prepared_with(tmp_path, COMPOSE.replace("MORE", ", pairs: 7, seed: 1"))
    (ref,) = [r for r in prepared.score_suites("test") if r.name == "both"]
    assert (ref.scorer, ref.measures, ref.items) == ("exact_match", "behaviour", 21)


def test_pairs_follow_from_ids_and_seed_and_items_keep_their_cluster(tmp_path):
    rows = [{"prompt": f"{i} + 1 =", "answer": str(i), "cluster": f"c{i % 5}"} for i in range(90)]
    found = []
    for number, seed in enumerate((0, 0, 1)):
        suite = COMPOSE.replace("MORE", f", seed: {seed}")
        prepared = prepared_with(tmp_path / str(number), suite, sums=rows)
        found.append([w.id for w, _, _ in pairs(prepared, "test")])
        assert {w.cluster for w, _, _ in pairs(prepared, "test")} == {f"c{i}" for i in range(5)}
    assert found[0] == found[1] != found[2]


def test_each_template_is_used(tmp_path):
    suite = "{compose: {a: gain, b: sums, templates: ['{a} and then {b}', 'first {b} but {a}']}}"
    prompts = [w.prompt for w, _, _ in pairs(prepared_with(tmp_path, suite), "test")]
    first = sum(p.startswith("first") for p in prompts)
    assert 0 < first < len(prompts)


def test_a_template_of_a_training_row_is_refused_unless_said_otherwise(tmp_path):
    path = world(tmp_path, COMPOSE.replace("MORE", ""))
    rows = [{"prompt": f"route ticket {i}", "answer": f"desk {i % 7}"} for i in range(400)]
    rows[5] = {"prompt": "route this AND  THEN that", "answer": "desk 1"}
    write_jsonl(tmp_path / "tickets.jsonl", rows)
    text = path.read_text().replace("path: tickets.jsonl", "train: tickets.jsonl, "
        "validation: v.jsonl, test: t.jsonl").replace(", split: auto", "")  # fmt: skip
    path.write_text(text)
    for name in ("v", "t"):
        made = [{"prompt": f"route {name} {i}", "answer": "desk 1"} for i in range(30)]
        write_jsonl(tmp_path / f"{name}.jsonl", made)
    with pytest.raises(
        UserError, match=r"'\{a\} and then \{b\}' is not held out: .*tickets.jsonl:6"
    ):
        prepare(load_spec(path), None)
    path.write_text(text.replace("{b}']", "{b}'], held_out: false"))
    assert len(pairs(prepare(load_spec(path), None), "test")) == 30


@pytest.mark.parametrize(
    ("suite", "says"),
    [
        ("{compose: {a: gain, b: gain, templates: ['{a} {b}']}}", "must be two suites"),
        ("{compose: {a: gain, b: none, templates: ['{a} {b}']}}", "the unknown suite 'none'"),
        ("{compose: {a: gain, b: sums, templates: ['{a}']}}", "must have {a} and {b}, once"),
        ("{compose: {a: gain, b: sums, templates: ['{a} {b} {c}']}}", "no other slot"),
        (COMPOSE.replace("MORE", ", answer: x"), "needs {a} or {b}"),
        (COMPOSE.replace("MORE", ", pairs: 4000"), "4000 pairs are asked for"),
        ("{compose: {a: gain, b: forgetting, templates: ['{a} {b}']}}", "scorer"),
        (
            "{compose: {a: gain, b: forgetting, templates: ['{a} so {b}']}, scorer: exact_match}",
            "is not one prompt with one answer",
        ),
        (COMPOSE.replace("MORE", "") [:-1] + ", scorer: bits_per_byte}", "scorer of generated"),
    ],
)  # fmt: skip
def test_what_cannot_be_composed_is_refused_with_its_key(tmp_path, suite, says):
    with pytest.raises(UserError) as caught:
        prepared_with(tmp_path, suite)
    assert says in str(caught.value) and "sweep.yaml:suites" in str(caught.value)
