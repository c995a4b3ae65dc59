"""Labels that are probably wrong."""

import numpy as np

from keepgain.sweeps.gates.label_errors import check_label_errors, suspicions
from tests.sweeps.gates.labelled import THINGS, known, labelled, mislabelled, tickets
from tests.sweeps.gates.whole import entries, whole


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
    assert [n - 1 for n in whole(finding)] == [s.index for s in said.suspects]
    first = said.suspects[0]
    told = f"'{first.given}', rather '{first.suggested}' ({first.probability:.0%})"
    assert entries(finding)[0]["message"] == told and finding.rows[0].endswith(f" {told}")
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
