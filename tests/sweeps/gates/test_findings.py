"""Waivers take a finding one step down, are kept with it, and are missed when they do nothing."""

from typing import Any

import pytest

from keepgain.sweeps.gates.catalogue import CODES, refuse_unknown
from keepgain.sweeps.gates.findings import (
    Finding,
    count_findings,
    finish,
    has_errors,
    render_finding,
    strict,
)


def finding(code: str = "split_overlap", **more: Any) -> Finding:
    given = {"severity": "error", "where": "tickets/train and gain/test", "message": "3 of 9."}
    return Finding(code=code, **(given | more))


@pytest.mark.parametrize(
    ("key", "covers"),
    [
        ("split_overlap", True),
        ("split_overlap@tickets", True),
        ("split_overlap@gain/test", True),
        ("split_overlap@gain/validation", False),
        ("split_overlap@ain", False),
        ("replay_overlap", False),
    ],
)
def test_a_waiver_covers_its_code_at_the_places_that_it_names(key: str, covers: bool) -> None:
    first = finish([finding()], {key: "meant so"})[0]
    assert (first.severity, first.waived) == (
        ("warning", "meant so") if covers else ("error", None)
    )


def test_a_waived_warning_is_a_note_and_its_reason_is_shown() -> None:
    (note,) = finish([finding("few_items", severity="warning")], {"few_items": "a pilot"})
    assert note.severity == "note" and not has_errors([note])
    assert "a pilot" in render_finding(note)


def test_a_waiver_without_a_finding_is_a_note() -> None:
    (note,) = finish([], {"few_items@gain": "a pilot"})
    assert (note.code, note.severity, note.where) == (
        "unused_waiver",
        "note",
        "allow.few_items@gain",
    )


def test_the_worst_come_first_each_with_a_reason_why_it_matters() -> None:
    order = ["note", "warning", "error", "warning"]
    found = finish([finding(severity=s, message=f"{i}") for i, s in enumerate(order)], {})
    assert [f.message for f in found] == ["2", "1", "3", "0"]
    assert {f.why for f in found} == {CODES["split_overlap"].why}
    assert count_findings(found) == "1 error, 2 warnings, 1 note"


def test_a_finding_keeps_its_own_reason() -> None:
    assert finish([finding(why="own")], {})[0].why == "own"


def test_strict_makes_errors_of_warnings_that_nobody_waived() -> None:
    waived = finish([finding()], {"split_overlap": "meant so"})
    few = finding("few_items", severity="warning")
    assert [f.severity for f in strict([*waived, few])] == ["warning", "error"]


def test_an_unknown_code_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="nearest is 'small_slices'"):
        refuse_unknown("small_slice@gain")
