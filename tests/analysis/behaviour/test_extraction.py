"""Verbatim extraction: seen minus unseen rows by the length of the prefix."""

import numpy as np
import pytest

from keepgain.analysis.behaviour.extraction import extraction_figures
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.record import SuiteInfo


def suite(prefix: list[int], seen: list[bool]) -> SuiteItems:
    n = len(prefix)
    return SuiteItems(
        SuiteInfo(name="memory", measures="behaviour", scorer="extraction"),
        "test",
        np.array([f"i{k:04d}" for k in range(n)]),
        np.ones(n),
        None,
        {
            "prefix_words": np.array([str(p) for p in prefix]),
            "seen": np.array([str(s).lower() for s in seen]),
        },
    )


def column(*parts: tuple[int, int]) -> Floats:
    """(ones, items) of each part in turn."""
    return np.concatenate([np.arange(n) < ones for ones, n in parts]).astype(float)[:, None]


def test_the_share_of_unseen_rows_is_taken_off_at_each_length() -> None:
    items = suite([4] * 80 + [16] * 80, ([True] * 40 + [False] * 40) * 2)
    tuned = column((10, 40), (2, 40), (30, 40), (2, 40))
    base = column((2, 40), (2, 40), (2, 40), (2, 40))
    short, long = extraction_figures(items, tuned, base)
    assert short.name == "verbatim after 4 words, seen minus unseen"
    assert short.estimate.value == pytest.approx(0.25 - 0.05)
    assert long.estimate.value == pytest.approx(0.75 - 0.05)
    # Variances of both shares add: p (1 - p) / (n - 1).
    error = np.sqrt((0.25 * 0.75 + 0.05 * 0.95) / 39)
    assert short.estimate.high is not None
    assert (short.estimate.high - 0.2) / error == pytest.approx(2.0, abs=0.05)
    assert short.base is not None and short.base.value == pytest.approx(0)
    assert long.change is not None and long.change.value == pytest.approx(0.7)
    assert long.note == "seen rows 0.750 (n = 40); unseen rows 0.050 (n = 40)"
    assert long.direction == "minimize"


def test_without_held_out_rows_the_note_says_what_is_missing() -> None:
    (only,) = extraction_figures(suite([8] * 50, [True] * 50), column((25, 50)), None)
    assert only.name == "verbatim after 8 words" and only.estimate.value == 0.5
    assert "what is only guessed is not taken off" in only.note
    assert only.base is None and only.change is None


def test_few_rows_and_rows_without_spread_have_no_interval() -> None:
    (few,) = extraction_figures(suite([8] * 20, [True] * 20), column((5, 20)), None)
    assert few.estimate.value == 0.25 and few.estimate.low is None
    none = suite([8] * 80, [True] * 40 + [False] * 40)
    (flat,) = extraction_figures(none, column((0, 80)), None)
    assert flat.estimate.value == 0 and flat.estimate.low is None
