"""Whether a classifier tells a source from the items."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keepgain.sweeps.gates.distance import _auc, _auc_error, _spread, check_distance, distance
from keepgain.sweeps.gates.labels import facts_of
from tests.sweeps.gates.labelled import known, labelled, tickets

ITEMS = labelled("g/test", tickets(200, seed=1), measures="gain")


def test_a_source_like_the_items_is_not_told_apart() -> None:
    source = labelled("t/train", tickets(300, seed=2), role="task")
    found = distance(source, [ITEMS], facts_of([source, ITEMS]))
    assert found is not None
    assert found.low <= 0.5 <= found.high and found.rows == 200
    (note,) = check_distance(*known(source, ITEMS)[:2])
    assert (note.code, note.severity) == ("distance_from_items", "note")


def test_a_task_source_of_other_words_is_far_and_says_what_tells() -> None:
    far = [(f"prove the lemma about rings and ideals {q[-3:]}", "so") for q, _ in tickets(300)]
    source = labelled("t/train", far, role="task")
    (finding,) = check_distance(*known(source, ITEMS)[:2])
    assert (finding.code, finding.severity) == ("far_from_items", "warning")
    assert finding.figures["auc"] == pytest.approx(1, abs=0.01)
    assert any(word in finding.message for word in ("rings", "lemma", "about", "ideals", "prove"))
    made = labelled("s/train", far, role="synthetic")
    assert [f.severity for f in check_distance(*known(made, ITEMS)[:2])] == ["note"]


def test_replay_is_held_against_the_suites_of_forgetting() -> None:
    general = labelled("f/test", tickets(160, seed=3), measures="forgetting")
    replay = labelled("r/train", tickets(160, seed=4), role="replay")
    items = labelled("g/test", [(f"ring {i}", "x") for i in range(160)], measures="gain")
    (finding,) = check_distance(*known(replay, general, items)[:2])
    assert "of the forgetting suites" in finding.message and finding.figures["low"] < 0.6


def test_few_items_say_nothing() -> None:
    few = labelled("g/test", tickets(40), measures="gain")
    source = labelled("t/train", tickets(300, seed=2), role="task")
    assert distance(source, [few], facts_of([source, few])) is None


def test_the_auc_is_sklearns_and_its_error_hanleys() -> None:
    random = np.random.default_rng(0)
    a, b = random.integers(10, size=30) + 2.0, random.integers(10, size=50) + 0.0
    assert _auc(a, b) == pytest.approx(roc_auc_score([1] * 30 + [0] * 50, np.concatenate([a, b])))
    # A = .5, m = n = 100: Q1 = Q2 = 1/3; (.25 + 2 * 99 * (1/3 - 1/4)) / 10^4 = .001675
    assert _auc_error(0.5, 100, 100) == pytest.approx(0.001675**0.5)


def test_suites_are_drawn_from_equally_as_far_as_they_go() -> None:
    assert [len(c) for c in _spread([10, 100, 100], 100)] == [10, 45, 45]
    assert [len(c) for c in _spread([30], 30)] == [30]
