"""Sources whose answers do not follow from their questions as those of the task do."""

import pytest

from keepgain.sweeps.gates.source_labels import agreements, check_source_labels, parts_of
from tests.sweeps.gates.labelled import Case, known, labelled, mislabelled, tickets
from tests.sweeps.gates.whole import entries

TASK = labelled("t/train", tickets(300), role="task")


def test_a_source_with_wrong_labels_is_flagged_with_how_many_points() -> None:
    cases, wrong = mislabelled(tickets(300, seed=3), 0.2)
    made = labelled("s/train", cases, role="synthetic")
    (finding,) = check_source_labels(*known(TASK, made))
    assert (finding.code, finding.where) == ("labels_unlike_task", "s/train")
    assert finding.figures["low"] < 0.2 < finding.figures["high"]
    ((_, found),) = agreements(TASK, [made], *known(TASK, made)[1:])
    assert len(wrong & set(found.odd.tolist())) >= 0.95 * len(wrong)
    every = entries(finding)  # the rows that disagree, of which it counts those beyond the usual
    assert [e["line"] - 1 for e in every] == found.odd.tolist() and len(every) > 3
    assert all(
        f"the model '{s}'" in e["message"] for e, s in zip(every, found.suggested, strict=True)
    )
    assert finding.rows[0].split()[0] in {f"s/train:{i + 1}" for i in wrong}


def test_a_sound_source_is_not_flagged_nor_one_with_other_words() -> None:
    sound = labelled("s/train", tickets(300, seed=3), role="synthetic")
    assert check_source_labels(*known(TASK, sound)) == []
    shifted = [(f"um {q.split(' case')[0][-9:]} eh", a) for q, a in tickets(300, seed=4)]
    assert check_source_labels(*known(TASK, labelled("s/train", shifted, role="synthetic"))) == []


def routed(rows: int, seed: int, wrong: int = 0) -> list[Case]:
    """`re3`: a part of the label, a tier that is 3 where a phrase is there; every `wrong`-th row
    has another tier."""
    cases = []
    for i, (q, a) in enumerate(tickets(rows, seed)):
        tier = 3 if "thanks" in q else 1
        cases.append((q, f"{a[:2]}{i % 53:02d}-{4 - tier if wrong and i % wrong == 0 else tier}"))
    return cases


def test_parts_of_answers_are_looked_at_where_whole_answers_are_too_many() -> None:
    task = labelled("t/train", routed(500, 0), role="task")
    made = labelled("s/train", routed(500, 9, wrong=5), role="synthetic")
    sets, facts, labels = known(task, made)
    assert labels == {}
    (finding,) = check_source_labels(sets, facts, labels)
    assert "part 3 of the answer" in finding.message
    assert finding.figures["low"] < 0.2 < finding.figures["high"]


def test_answers_have_parts_where_nearly_all_have_equally_many() -> None:
    assert parts_of(["sa3", "uk12"]) == [["sa", "3"], ["uk", "12"]]
    assert parts_of(["one two", "three"]) is None
    assert parts_of(["128", "7"]) is None
    assert parts_of(["a1"] * 30 + ["odd one here"]) == [["a", "1"]] * 30 + [[]]


@pytest.mark.parametrize("role", ["replay", "synthetic"])
def test_sources_with_other_answers_are_not_compared(role: str) -> None:
    other = labelled("o/train", [(q, f"{a} and more") for q, a in tickets(300, 7)], role=role)
    assert check_source_labels(*known(TASK, other)) == []
