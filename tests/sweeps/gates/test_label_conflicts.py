"""Labels that contradict one another."""

import numpy as np

from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.label_conflicts import check_conflicts, conflicts
from tests.sweeps.gates.labelled import known, labelled
from tests.sweeps.gates.whole import entries


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


def test_each_row_of_a_conflict_stands_beside_one_that_contradicts_it() -> None:
    """Held against the slow way, on random rows."""
    random = np.random.default_rng(0)
    cases = [(f"q{random.integers(12)}", "ab"[random.integers(2)]) for _ in range(60)]
    one = labelled("t/train", cases, role="task")
    other = labelled("s/train", cases[::3], role="task")
    within, _, across = check_conflicts(*known(one, other))
    told = {q: {a for r, a in cases if r == q} for q, _ in cases}
    assert whole_but_shown(within) == [i + 1 for i, (q, _) in enumerate(cases) if len(told[q]) > 1]
    for entry in entries(within):
        (q, a), (r, b) = cases[entry["line"] - 1], cases[entry["other"]["line"] - 1]
        assert q == r and a != b and entry["message"] == f"'{a}', the other '{b}'"
    firsts = []
    for q in told:
        mine = [i for i, (r, _) in enumerate(cases) if r == q]
        theirs = [i for i in mine if i % 3 == 0]
        pairs = [(i, j) for i in mine for j in theirs if cases[i][1] != cases[j][1]]
        if {cases[j][1] for j in theirs} != told[q]:  # else they contradict themselves alike
            firsts += pairs[:1]
    found = [(e["line"] - 1, 3 * (e["other"]["line"] - 1)) for e in entries(across)]
    assert found == sorted(firsts) and len(found) == across.count
    assert all(entry["other"]["file"] == "s/train" for entry in entries(across))


def whole_but_shown(finding: Finding) -> list[int]:
    """People are shown questions, not rows."""
    assert len(entries(finding)) == finding.count
    return [entry["line"] for entry in entries(finding)]
