"""Newer test items: how they are read, and what is said of the scores. The scoring itself is in
`e2e/test_finished_sweep.py`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keepgain.analysis.rescored import Pair, judge
from keepgain.core.config import ModelRef, SuiteRef
from keepgain.core.errors import UserError
from keepgain.core.items import ItemScores
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.iterate import Start
from keepgain.sweeps.rescore import Record, Rescored
from keepgain.sweeps.rescore_items import new_names, read_items_of, renamed
from keepgain.sweeps.rescore_text import answer, rescored_lines, to_json
from keepgain.sweeps.spec_suites import SuiteSpec

ITEMS = SuiteRef(
    name="gain",
    measures="gain",
    split="test",
    scorer="exact_match",
    path="",
    digest="d",
    items=3,
)


def share(right: int, of: int, name: str) -> ItemScores:
    return ItemScores(
        suite="gain",
        split="test",
        metric="exact_match",
        item_ids=np.array([f"{name}{k}" for k in range(of)]),
        values=np.array([1.0] * right + [0.0] * (of - right)),
        weights=np.ones(of),
    )


def rescored(old: tuple[int, int, int], new: tuple[int, int, int], **facts: Any) -> Rescored:
    """Right answers of base and tuned, and items."""
    base = ModelRef(name="tiny", path="", digest="b")
    record = Record(
        candidate="abc-s1", base="base-s0", suite=ITEMS, time="2026-01-01", items={}, reports={}
    )
    given: dict[str, Any] = {
        "split": "test",
        "threshold": 0.02,
        "threshold_from": "question.delta",
        "shared": 0,
        "in_training": 0,
        "left_out": 0,
        "opened": 1,
        "scored_now": True,
    }
    return Rescored(
        sweep="tickets-1",
        start=Start("tickets-1", "abc", "tiny", "full", Path(), base, base),
        record=record,
        old=Pair(share(old[0], old[2], "o"), share(old[1], old[2], "o")),
        new=Pair(share(new[0], new[2], "n"), share(new[1], new[2], "n")),
        **(given | facts),
    )


def said(found: Rescored) -> str:
    return answer(judge(found.old.tuned, found.new.tuned, found.threshold), found)


def test_the_answer_has_drop_interval_and_threshold() -> None:
    found = rescored((100, 900, 1000), (90, 800, 1000))
    assert said(found).startswith("yes (drop 10.0 points [6.9, 13.1]; threshold 2.0 points, quest")
    text = "\n".join(rescored_lines(found))
    assert "a new sweep is warranted: yes (drop 10.0 points" in text
    assert "-10.0 points [-13.1, -6.9]" in text and "80.0 points" in text
    facts = to_json(found)
    assert facts["new_sweep"] == "yes"
    assert facts["drop"]["value"] == pytest.approx(0.1)
    assert facts["change"]["tuned"]["value"] == pytest.approx(-0.1)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_what_is_not_resolved_says_what_would_resolve_it() -> None:
    assert said(rescored((0, 900, 1000), (0, 905, 1000), threshold=0.05)).startswith("no (drop -0.")
    more = said(rescored((0, 9000, 10000), (0, 170, 200)))
    assert more.startswith("not resolved: about 1,") and "more new items" in more
    assert "the old ones are too few" in said(rescored((0, 18, 20), (0, 850, 1000)))
    assert "too few items for an interval" in said(rescored((0, 18, 20), (0, 1, 1)))


def test_what_spoils_the_comparison_is_said() -> None:
    plain = to_json(rescored((100, 900, 1000), (100, 900, 1000)))["cautions"]
    assert len(plain) == 2
    spoiled = rescored(
        (500, 900, 1000),
        (100, 100, 100),
        split="validation",
        shared=7,
        in_training=5,
        left_out=3,
        opened=2,
    )
    harder = rescored((500, 900, 1000), (100, 900, 1000))
    text = " ".join(to_json(spoiled)["cautions"] + to_json(harder)["cautions"])
    for words in (
        "7 of the new items are old ones",
        "5 of the new items ask what the model was trained on",
        "3 synthetic ones of the old items",
        "opened 2 times",
        "the old items are of validation",
        "scores alike on all new items",
        "may be harder items",
    ):
        assert words in text


def read(path: Path, suite: dict[str, Any], data: dict[str, Any], **ref: Any) -> list[str]:
    spec = {"data": data, "slices": []}
    old = ITEMS.model_copy(update=ref)
    return [r.answer for r in read_items_of(path, SuiteSpec.model_validate(suite), spec, old).rows]


def test_items_are_read_in_the_form_of_the_suite_or_of_its_source(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"said": "a", "queue": "b"}\n', encoding="utf-8")
    fields = {"prompt": "said", "answer": "queue"}
    own = {"validation": "v", "test": "t", "scorer": "exact_match", "fields": fields}
    of_source = {"from": "tickets", "scorer": "exact_match"}
    tickets = {"path": "old.jsonl", "role": "task", "fields": fields}
    assert read(path, own, {}) == ["b"]
    assert read(path, of_source, {"tickets": tickets}) == ["b"]


def test_items_that_cannot_be_scored_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"prompt": "a", "answer": "x"}\n{"prompt": "b", "answer": "z"}\n')
    labels = {"path": "p", "scorer": "classification"}
    with pytest.raises(UserError, match=r"new.jsonl:2: the answer 'z' is none of the labels"):
        read(path, labels, {}, scorer="classification", options=ScorerOptions(labels=("x", "y")))
    path.write_text('{"prompt": "a", "answer": "x"}\n{"prompt": "b"}\n')
    with pytest.raises(UserError, match=r"new.jsonl:2: the row has no 'answer'"):
        read(path, {"path": "p", "scorer": "exact_match"}, {})
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "none.jsonl", {"path": "p", "scorer": "exact_match"}, {})


def test_a_threshold_that_is_no_number_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for bad in ("-1", "nan"):
        words = ["rescore", "last", "--suite", "new.jsonl", f"--threshold={bad}"]
        assert main(words) == 2
        assert "--threshold: must be a number of at least 0" in capsys.readouterr().err


def test_new_items_are_old_ones_by_what_they_ask_and_not_by_the_id_that_a_file_gives() -> None:
    def row(name: str, question: str) -> Row:
        return Row(id=name, kind="pair", prompt=question, answer="a")

    old = [row("1", "who?"), row("2", "where?")]
    new = [row("1", "when?"), row("7", "Who? "), row("8", "how?")]
    names = new_names(old, new)
    assert names == {"1": "new:1", "7": "1", "8": "8"}
    scored = share(1, 2, "")
    assert renamed(scored, {"0": "7"}).item_ids.tolist() == ["7", "1"]
