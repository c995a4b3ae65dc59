"""The least difference that a suite resolves."""

from typing import Any

import pytest

from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.noise_floor import check_noise_floor
from keepgain.sweeps.gates.suites import check_suites, detectable_difference, items_needed
from tests.sweeps.gates.labelled import labelled, tickets


def items(part: str, count: int, **kind: Any) -> RowSet:
    kind = {"measures": "gain", "scorer": "exact_match"} | kind
    return labelled(f"g/{part}", tickets(count), **kind)


TASK = labelled("t/train", tickets(312), role="task")


def test_rows_and_what_validation_and_test_resolve_are_said() -> None:
    """2.8016 sqrt(.1 / 120) = .0809; of 400: .0443; for 3 points .1 (2.8016 / .03)² = 872.1."""
    (note,) = check_noise_floor([TASK, items("validation", 120), items("test", 400)], 0.03)
    assert (note.code, note.severity, note.where) == ("noise_floor", "note", "g")
    assert "312 rows of the task to train on; validation of 120 items resolves 8.1" in note.message
    assert "test of 400 4.4" in note.message
    assert "3 points, takes about 873 items" in (note.hint or "")
    assert note.figures["validation_resolves"] == detectable_difference(120)


def test_the_number_of_items_is_that_of_the_decisions_and_inverts_the_difference() -> None:
    assert items_needed(0.01, 0.10) == pytest.approx(7850, rel=0.01)
    assert items_needed(0.01, 0.16) == pytest.approx(12600, rel=0.01)
    assert detectable_difference(items_needed(0.02)) == pytest.approx(0.02, rel=0.01)


def test_enough_items_need_no_advice_and_few_ones_have_their_own_finding() -> None:
    many = [TASK, items("validation", 900), items("test", 900)]
    assert check_noise_floor(many, 0.03)[0].hint is None
    few = [TASK, items("validation", 50), items("test", 50)]
    assert check_noise_floor(few, 0.03)[0].hint is None
    assert "few_items" in {f.code for f in check_suites(few, None)}


def test_scores_that_are_no_shares_have_no_known_floor() -> None:
    bits = [TASK, items("validation", 120, scorer="bits_per_byte")]
    assert check_noise_floor(bits, 0.03) == []
    assert check_noise_floor([TASK, items("validation", 120, measures="forgetting")], 0.03) == []
