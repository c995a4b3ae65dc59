"""Rows that teach nothing or something wrong are found, and the others are not."""

from typing import Any

import numpy as np
import pytest

from keepgain.core.rows import Row
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.quality import FAULTS, QualityProbe, check_quality
from tests.sweeps.gates.whole import whole


def pair(prompt: str, answer: str) -> Row:
    return Row(prompt, "pair", prompt=prompt, answer=answer)


def row_set(rows: list[Row], **kind: Any) -> RowSet:
    places = [f"f:{i + 1}" for i in range(len(rows))]
    return RowSet("data/train", "train", rows, places, role="task", **kind)


def faults(row: Row) -> list[str]:
    found = QualityProbe().measure([row])["faults"][0]
    return [code for code, has in zip(FAULTS, found, strict=True) if has]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("  \n", "empty_rows"),
        ("...", "empty_rows"),
        ("N/A", "empty_rows"),
        ("What  is IT?", "answers_repeat_prompts"),
        ("It is a cafÃ© in town.", "broken_characters"),
        ("It is a caf\ufffd in town.", "broken_characters"),
        ("a\x07b", "broken_characters"),
        ('{"a": 1, "b": [2, ', "broken_markup"),
        ("```python\nprint(1)\n", "broken_markup"),
        ("<div><p>text</div></div>", "broken_markup"),
        ("As an AI language model, I cannot know.", "boilerplate_rows"),
        ("We use cookies to improve the page.", "boilerplate_rows"),
        ("so it goes on and on and on and on and on and", "looping_rows"),
        ("no no no no no no", "looping_rows"),
        ("hahahahahahahahahahahahahahaha", "looping_rows"),
    ],
)
def test_a_fault_of_one_row_is_found(answer: str, code: str) -> None:
    assert faults(pair("what is it?", answer)) == [code]


@pytest.mark.parametrize(
    "answer",
    [
        "4",
        "no",
        "東京",
        "Ça coûte 5 €, à São Paulo. NÃO!",
        '{"a": [1, 2]}',
        '{"a": 1} is JSON',
        "[1] Smith 2019",
        "<name of author> wrote it",
        "<div><br><p>text</div>",
        "```\ncode\n```",
        "| a | b |\n| --- | --- | --- | --- | --- |",
        "0 0 0 0 0 0 0 0 0 0 0 0",
        "that that is, is; that that is not, is not",
        "a👩\u200d💻b",
    ],
)
def test_an_ordinary_row_has_none(answer: str) -> None:
    assert faults(pair("what is it?", answer)) == []


def test_the_prompt_of_a_chat_is_its_last_turn() -> None:
    turns = [("user", "a b"), ("assistant", "c d"), ("user", "e f"), ("assistant", "E  f")]
    messages = tuple({"role": r, "content": c} for r, c in turns)
    assert faults(Row("1", "chat", messages, answer="E  f")) == ["answers_repeat_prompts"]


def test_a_finding_has_the_places_and_the_share() -> None:
    rows = [pair(f"q{i}", "ok" if i % 4 else "") for i in range(40)]
    (found,) = check_quality([row_set(rows)])
    assert (found.code, found.severity, found.count, found.of) == ("empty_rows", "warning", 10, 40)
    assert found.rows == ("f:1", "f:5", "f:9") and found.figures == {"share": 0.25}
    assert whole(found) == list(range(1, 41, 4))


def test_prompts_without_answers_and_tasks_of_signs_are_no_empty_rows() -> None:
    assert check_quality([row_set([pair(f"q{i}", "") for i in range(40)])]) == []
    assert check_quality([row_set([pair(f"q{i}", "<>="[i % 3]) for i in range(40)])]) == []


SENTENCE = "The number {} is larger than the one before it."


def test_a_cut_end_is_found_where_the_others_end() -> None:
    texts = [SENTENCE.format(i) for i in range(100)]
    texts[7] = texts[7][:-5]
    rows = [Row(str(i), "text", text=t) for i, t in enumerate(texts)]
    (found,) = check_quality([row_set(rows)])
    assert (found.code, found.rows) == ("cut_off_rows", ("f:8",))
    assert "where 99% of all end with one" in found.message
    # Where 60 % end, only what no sentence ends with is taken for cut.
    for i in range(40):
        texts[i] = texts[i][:-1]
    texts[50] = "It goes by the weight of"
    rows = [Row(str(i), "text", text=t) for i, t in enumerate(texts)]
    (found,) = check_quality([row_set(rows)])
    assert found.rows == ("f:51",)
    # A text that was cut into pieces has no ends.
    rows = [Row(str(i), "text", text=t[:-1]) for i, t in enumerate(texts)]
    assert check_quality([row_set(rows)]) == []


def test_lengths_are_held_against_the_median() -> None:
    texts = [SENTENCE.format(i) * (1 + (i % 9 == 0)) for i in range(100)]
    texts[3], texts[5] = SENTENCE.format(3) * 100, "No."
    rows = [Row(str(i), "text", text=t) for i, t in enumerate(texts)]
    long, short = check_quality([row_set(rows)])
    assert (long.code, long.rows) == ("very_long_rows", ("f:4",))
    assert (short.code, short.rows) == ("very_short_rows", ("f:6",))


def test_a_long_answer_to_many_questions_is_found_but_no_label() -> None:
    own = [pair(f"q{i}", SENTENCE.format(i)) for i in range(100)]
    same = "Please see the page of frequently asked questions for this."
    for i in range(5):
        own[i * 9] = pair(f"q{i * 9}", same)
    (found,) = check_quality([row_set(own)])
    assert (found.code, found.count, found.rows[:2]) == ("shared_answers", 5, ("f:1", "f:10"))
    four = [*own[:36], pair("q36", SENTENCE.format(36)), *own[37:]]
    assert check_quality([row_set(four)]) == []
    labels = [pair(f"q{i}", f"This ticket is one for the department number {i % 4}.")
              for i in range(100)]  # fmt: skip
    assert check_quality([row_set(labels)]) == []


def test_nothing_depends_on_which_rows_are_measured_together() -> None:
    rows = [pair(f"q{i}", SENTENCE.format(i)) for i in range(6)]
    probe = QualityProbe()
    whole, parts = probe.measure(rows), [probe.measure(rows[:2]), probe.measure(rows[2:])]
    for name, array in whole.items():
        joined = np.concatenate([p[name] for p in parts])
        assert array.dtype == joined.dtype and (array == joined).all()
    assert all(len(array) == 0 for array in probe.measure([]).values())
