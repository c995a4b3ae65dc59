"""Numbers, dates and patterns as users write them."""

import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.sweeps.gates.patterns import stopped_after
from keepgain.sweeps.gates.values import as_text, iso_date, plain_number, truth


@pytest.mark.parametrize(
    ("text", "decimal", "plain"),
    [
        ("12", ".", "12"),
        (" -3.50 ", ".", "-3.50"),
        ("+3", ".", "3"),
        ("1,234,567.8", ".", "1234567.8"),
        ("1 234,5", ",", "1234.5"),
        ("1.234,5", ",", "1234.5"),
        ("1'234", ".", "1234"),
        ("2e-3", ".", "2e-3"),
        ("1,23", ".", None),
        ("12,345,6", ".", None),
        ("3.5", ",", None),
        ("1.5 kg", ".", None),
        ("nan", ".", None),
        ("", ".", None),
        ("\u0663", ".", None),
    ],
)
def test_numbers_are_written_plainly(text: str, decimal: str, plain: str | None) -> None:
    assert plain_number(text, decimal) == plain  # type: ignore[arg-type]


@given(st.integers(-(10**12), 10**12), st.integers(0, 999))
def test_numbers_with_marks_between_thousands_keep_their_value(whole: int, part: int) -> None:
    english = f"{whole:,}.{part:03d}"
    german = english.translate(str.maketrans(",.", ".,"))
    plain = english.replace(",", "")
    assert plain_number(english) == plain_number(german, ",") == plain
    assert plain_number(plain) == plain


@pytest.mark.parametrize(
    ("text", "formats", "iso"),
    [
        ("2026-01-31", (), "2026-01-31"),
        ("2026-01-31T08:05:00", (), "2026-01-31T08:05:00"),
        ("31.01.2026", ("%d.%m.%Y",), "2026-01-31"),
        ("31.01.2026 08:05", ("%d.%m.%Y", "%d.%m.%Y %H:%M"), "2026-01-31T08:05:00"),
        ("01/31/2026", ("%d/%m/%Y",), None),
        ("31.01.2026", (), None),
        ("2026-02-30", (), None),
        ("soon", ("%d.%m.%Y",), None),
    ],
)
def test_dates_are_written_as_iso_8601(
    text: str, formats: tuple[str, ...], iso: str | None
) -> None:
    assert iso_date(text, formats) == iso


def test_values_of_files_as_text() -> None:
    given = ["a", " ", None, True, 1.5, [1, "ä"]]
    assert [as_text(v) for v in given] == ["a", None, None, "true", "1.5", '[1, "ä"]']
    assert (truth("TRUE "), truth("no")) == ("true", None)


def test_a_pattern_that_does_not_end_is_stopped_and_named() -> None:
    import re

    began = time.monotonic()
    with pytest.raises(UserError, match=r"data_spec\.answer\.pattern: matching took more"):
        with stopped_after(0.2, "data_spec.answer.pattern"):
            re.compile(r"(a+)+$").search("a" * 40 + "b")
    assert time.monotonic() - began < 5


def test_somebody_elses_alarm_still_rings_after_a_pattern() -> None:
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    kept = signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with stopped_after(30, "key"):
            pass
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.2
        deadline = time.monotonic() + 5
        while not rung and time.monotonic() < deadline:
            time.sleep(0.01)
        assert rung
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *kept)
