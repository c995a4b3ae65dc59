"""What a judge is asked and how its reply is read; labels and sheets of people."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keepgain.core.answers import Text
from keepgain.core.errors import UserError
from keepgain.sweeps.judging.labels import read_labels, sheet
from keepgain.sweeps.judging.prompts import (
    BETTER,
    Prompts,
    consistent,
    read_better,
    read_score,
)
from keepgain.sweeps.spec_judge import JudgeSpec
from keepgain.sweeps.spec_suites import SuiteSpec

SPEC = JudgeSpec(endpoint="grader", rubric="Short {and} right.", scale=(1, 5))


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ('{"score": 4}', 4),
        (' {"score": 5.0}\n', 5),
        ('```json\n{"score": 1}\n```', 1),
        ('{"score": 6}', None),
        ('{"score": 0}', None),
        ('{"score": 3.5}', None),
        ('{"score": true}', None),
        ('{"score": "4"}', None),
        ('{"score": 4, "why": "good"}', None),
        ('{"score": 4, "score": 5}', None),
        ('I say {"score": 4}', None),
        ('{"score": NaN}', None),
        ("[4]", None),
        ("4", None),
        ("", None),
    ],
)
def test_a_score_is_one_json_object_on_the_scale_or_nothing(reply: str, score: int | None) -> None:
    assert read_score(reply, (1, 5)) == score


@given(st.text() | st.recursive(st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_reply_breaks_the_reader(reply: str) -> None:
    score = read_score(reply, (1, 5))
    assert score is None or 1 <= score <= 5
    assert read_better(reply) is None or read_better(reply) in BETTER


def test_which_answer_is_better_is_read_as_strictly() -> None:
    assert [read_better(json.dumps({"better": b})) for b in BETTER] == list(BETTER)
    assert read_better('{"better": "First"}') is None and read_better('{"better": 1}') is None


@pytest.mark.parametrize(
    ("forth", "back", "found"),
    [
        ("first", "second", (1.0, True)),
        ("second", "first", (0.0, True)),
        ("tie", "tie", (0.5, True)),
        ("first", "first", (0.5, False)),
        ("second", "second", (0.5, False)),
        ("tie", "second", (0.5, False)),
        ("first", None, None),
        (None, "first", None),
    ],
)
def test_only_a_preference_in_both_orders_is_one(forth: Any, back: Any, found: Any) -> None:
    assert consistent(forth, back) == found


@given(st.text(), st.text())
def test_an_answer_cannot_leave_its_field(answer: str, question: str) -> None:
    """Whatever it holds, the material is one JSON object with the same keys."""
    asked = Prompts(SPEC, {}).score(question, "ref", answer)
    sent = asked.request().messages[-1]["content"]
    assert json.loads(sent) == {"question": question, "reference": "ref", "answer": answer}
    assert asked.system == Prompts(SPEC, {}).score("", "", "").system


def test_the_rubric_is_told_as_it_is_and_temperature_is_0_unless_set() -> None:
    asked = Prompts(SPEC, {}).score("q", "", "a")
    assert "Short {and} right." in asked.system and "from 1 (worst) to 5" in asked.system
    assert dict(asked.request().parameters) == {"temperature": 0}
    assert dict(Prompts(SPEC, {"temperature": 1}).score("q", "", "a").request().parameters) == {}
    hidden = Prompts(SPEC.model_copy(update={"reference": False}), {}).score("q", "ref", "a")
    assert "ref" not in json.loads(hidden.user)
    hashes = {
        Prompts(SPEC, {}).hash,
        Prompts(SPEC, {"temperature": 1}).hash,
        Prompts(SPEC.model_copy(update={"rubric": "Other."}), {}).hash,
    }
    assert len(hashes) == 3


def test_a_judge_needs_answers_and_a_scale() -> None:
    judge = {"endpoint": "g", "rubric": "Good?"}
    SuiteSpec.model_validate({"path": "x", "scorer": "exact_match", "judge": judge})
    with pytest.raises(ValidationError, match="reads answers, and multiple_choice asks for none"):
        SuiteSpec.model_validate({"path": "x", "scorer": "multiple_choice", "judge": judge})
    for scale in ((5, 1), (1, 1), (0, 1000)):
        with pytest.raises(ValidationError, match="must ascend"):
            JudgeSpec(endpoint="g", rubric="Good?", scale=scale)
    with pytest.raises(ValidationError, match="empty"):
        JudgeSpec(endpoint="g", rubric=" ")


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_labels_of_several_people_are_averaged_and_open_ones_left_out(tmp_path: Path) -> None:
    pair = {"id": "b", "first": "x", "second": "y"}
    path = written(
        tmp_path / "l.jsonl",
        {"id": "a", "answer": "x", "score": 4, "annotator": "ann"},
        {"id": "a", "answer": "x", "score": 5, "annotator": "bob"},
        {"id": "a", "answer": "z", "score": None, "question": "?", "reference": "r"},
        {**pair, "preferred": "first", "annotator": "ann"},
        {**pair, "preferred": "first", "annotator": "bob"},
        {**pair, "preferred": "second", "annotator": "eve"},
        {"id": "c", "first": "x", "second": "y", "preferred": "second"},
    )
    found = {(x.item, x.answers): x.people for x in read_labels(path, (1, 5))}
    assert found == {("a", ("x",)): 4.5, ("b", ("x", "y")): 1.0, ("c", ("x", "y")): -1.0}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"id": "a", "score": 3}, "no `answer`"),
        ({"id": "a", "answer": "x", "score": 6}, "`score` is the number 6"),
        ({"id": "a", "answer": "x", "score": True}, "`score` is the boolean true"),
        ({"id": "a", "answer": 5, "score": 3}, "`answer` is the number 5, not text"),
        ({"id": "a", "answer": "x", "score": 3, "run": "r"}, "unknown key 'run'"),
        ({"id": "a", "first": "x", "second": "y", "preferred": "A"}, "`preferred` is the text 'A'"),
        ({"id": "a", "answer": "x", "score": 1}, "twice"),
    ],
)
def test_a_label_that_cannot_be_used_is_named_by_its_line(
    tmp_path: Path, line: dict[str, Any], says: str
) -> None:
    good = {"id": "a", "answer": "x", "score": 1}
    with pytest.raises(UserError, match=r"l\.jsonl:2") as fault:
        read_labels(written(tmp_path / "l.jsonl", good, line), (1, 5))
    assert says in str(fault.value)


def test_a_sheet_is_blind_and_reads_back(tmp_path: Path) -> None:
    texts = {f"i{n}": Text(f"Q{n}", "ref") for n in range(20)}
    base, tuned = ({i: f"{who} {i}" for i in texts} for who in ("old", "new"))
    tuned["i0"] = base["i0"]
    answers = {"base-s0": base, "t-s1": tuned}
    bases = {"t-s1": "base-s0"}
    every = sheet(answers, bases, texts, 100, 0, pairs=False)
    assert len(every) == 39, "equal answers to an item stand once"
    assert set(every[0]) == {"id", "question", "reference", "answer", "score"}
    pairs = sheet(answers, bases, texts, 100, 0, pairs=True)
    assert len(pairs) == 19, "equal answers are no pair"
    places = {line["first"][:3] for line in pairs}
    assert places == {"old", "new"}, "neither has a place of its own"
    assert pairs == sheet(answers, bases, texts, 100, 0, pairs=True)

    filled = [{**line, "score": 2} for line in every[:5]]
    path = written(tmp_path / "l.jsonl", *filled, *every[5:])
    assert len(read_labels(path, (1, 5))) == 5
