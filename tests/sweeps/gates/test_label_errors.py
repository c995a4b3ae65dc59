"""Labels that contradict one another, and labels that are probably wrong."""

import numpy as np

from keepgain.sweeps.gates.label_errors import (
    check_conflicts,
    check_label_errors,
    conflicts,
    suspicions,
)
from tests.sweeps.gates.labelled import THINGS, known, labelled, mislabelled, tickets


def test_a_question_with_two_answers_is_a_conflict_up_to_white_space_and_case() -> None:
    rows = labelled("t/train", [("Is it?", "yes"), ("is  it?", "no"), ("so?", "no")], role="task")
    sets, facts, labels = known(rows)
    assert conflicts(rows, facts).tolist() == [True, True, False]
    (finding,) = check_conflicts(sets, facts, labels)
    assert (finding.code, finding.severity) == ("label_conflicts", "warning")
    assert (finding.count, finding.of, finding.figures["questions"]) == (2, 3, 1)
    assert finding.rows == ("t/train:1 'yes', t/train:2 'no'",)


def test_the_same_answer_twice_is_no_conflict_and_long_answers_are_a_note() -> None:
    sets, facts, labels = known(labelled("t/train", [("q", "Yes"), ("Q", "yes ")], role="task"))
    assert check_conflicts(sets, facts, labels) == []
    long = [("q", "one way to put it " * 5), ("q", "another way to put it " * 5)]
    (finding,) = check_conflicts(*known(labelled("t/train", long, role="task")))
    assert finding.severity == "note"


def test_conflicts_between_sets_are_counted_by_question() -> None:
    train = labelled("t/train", [("a", "x"), ("b", "y"), ("c", "z")], role="task")
    made = labelled("s/train", [("A", "x"), ("B", "n"), ("d", "z")], role="synthetic")
    (finding,) = check_conflicts(*known(train, made))
    assert (finding.code, finding.where) == ("label_conflicts_across", "t/train and s/train")
    assert (finding.count, finding.of) == (1, 2)
    assert finding.rows == ("t/train:2 'y', s/train:2 'n'",)


def test_wrong_labels_are_found_and_listed_with_what_they_rather_are() -> None:
    cases, wrong = mislabelled(tickets(400), 0.05)
    right = dict(tickets(400))
    (said,) = suspicions(*known(labelled("t/train", cases, role="task")))
    found = {s.index for s in said.suspects}
    assert len(found & wrong) >= 0.95 * len(wrong) and len(found & wrong) >= 0.95 * len(found)
    assert all(s.suggested == right[cases[s.index][0]] for s in said.suspects if s.index in wrong)
    surest = [s.probability - s.probability_given for s in said.suspects]
    assert surest == sorted(surest, reverse=True)

    (finding,) = check_label_errors(*known(labelled("t/train", cases, role="task")))
    assert (finding.severity, finding.count, finding.of) == ("warning", len(found), 400)
    assert "its own mistakes" in finding.message and 0.9 < finding.figures["accuracy"] < 0.97


def test_sound_labels_give_no_finding_and_items_are_looked_at_with_their_source() -> None:
    cases, wrong = mislabelled(tickets(400), 0.2)
    train = labelled("t/train", tickets(400)[:300], role="task", source="t")
    test = labelled("g/test", cases[300:], measures="gain", source="t")
    (finding,) = check_label_errors(*known(train, test))
    assert finding.where == "g/test"
    assert 0.7 <= (finding.count or 0) / len([i for i in wrong if i >= 300]) <= 1


def test_nothing_is_said_where_the_model_is_near_chance() -> None:
    random = np.random.default_rng(0)
    cases = [(f"{random.integers(10**6)}", str(random.choice(["a", "b"]))) for _ in range(300)]
    sets, facts, labels = known(labelled("t/train", cases, role="task"))
    (said,) = suspicions(sets, facts, labels)
    assert not said.says_something
    assert check_label_errors(sets, facts, labels) == []
    few = known(labelled("t/train", tickets(60), role="task"))
    assert suspicions(*few) == []


def test_mistakes_of_the_model_on_sound_labels_are_no_warning() -> None:
    """Half of the rows say nothing of their label but a hint that is right in 3 of 4."""
    random = np.random.default_rng(3)
    names = list(THINGS)
    cases = []
    for i in range(900):
        kind = names[i % 3]
        hint = kind if random.random() < 0.75 else names[int(random.integers(3))]
        told = (THINGS[kind] * 2 if i % 2 else THINGS[hint])[i % 4]
        cases.append((f"{told} {i}", kind))
    found = check_label_errors(*known(labelled("t/train", cases, role="task")))
    assert [f.severity for f in found] == ["note"]
    assert found[0].message.startswith(f"{found[0].count} of 900 rows looked at may have")
