"""What items can show: hand-worked, and from evidence."""

import math

import numpy as np
import pytest

from keepgain.analysis import stats
from keepgain.analysis.measures import Measures
from keepgain.analysis.power import discordance, nearest_rival, resolution
from keepgain.analysis.stats import Uncertain
from keepgain.analysis.table import build_table
from keepgain.core.record import Question
from tests.analysis.evidence import exact, ones

N = 400


def measures() -> Measures:
    """On 400 items: base 100 right, a 300, b 280, c 310; of a and b 20 differ."""
    rights = {"a": 300, "b": 280, "c": 310}
    given = {n: ("m", "trial", {"task": ones(r, N)}) for n, r in rights.items()}
    given["base"] = ("m", "base", {"task": ones(100, N, 1)})
    return Measures(build_table(exact(given, measures={"task": "gain"})))


@pytest.mark.parametrize(("share", "items"), [(0.06, 4900), (0.10, 7850), (0.16, 12_600)])
def test_items_to_resolve_a_point(share: float, items: int) -> None:
    """Decision 27; of 6 % it names the exact test's 4,900, the normal formula gives 4,709."""
    u = Uncertain(0.0, N, 1, ((share / N, N - 1.0),), share / N, stats.ITEMS_ONLY)
    needed = stats.items_needed(u, 0.01, confidence=0.975)
    assert needed == pytest.approx(items, rel=0.04)
    assert needed == pytest.approx((1.959964 + 0.841621) ** 2 * share / 0.01**2, abs=1)


def test_the_detectable_difference_is_the_one_these_items_resolve() -> None:
    u = Uncertain(0.0, 7849, 1, ((0.1 / 7849, math.inf),), 0.1 / 7849, stats.ITEMS_ONLY)
    assert stats.detectable(u) == pytest.approx(0.01, rel=1e-4)
    few = Uncertain(0.0, 5, 1, ((0.04, 4.0),), 0.04, stats.ITEMS_ONLY)
    assert stats.detectable(few) == pytest.approx(0.2 * (2.776445 + 0.940965), rel=1e-5)
    unknown = Uncertain(0.0, 5, 1, ((0.04, 4.0),), 0.04, stats.UNKNOWN)
    assert stats.detectable(unknown) is None and unknown.p_value() is None


def test_p_value_by_hand() -> None:
    u = Uncertain(0.4, 5, 1, ((0.04, 4.0),), 0.04, stats.ITEMS_ONLY)  # t = 2 at 4 df
    assert u.p_value() == pytest.approx(0.116117, abs=1e-6)
    exact_zero = Uncertain(0.0, 5, 1, ((0.0, 4.0),), 0.0, stats.ITEMS_ONLY)
    assert exact_zero.p_value() == 1.0


def test_discordance_and_resolution_of_a_pair() -> None:
    m = measures()
    a, b, c = (next(x for x in m.table.configurations if x.trial_id == n) for n in "abc")
    assert discordance(m, "test", a, b) == pytest.approx(20 / N)
    assert nearest_rival(m, "test", a, [a, b, c]) is c
    found = resolution(m, "test", a, b, Question(), "rival")
    assert found is not None and found.difference.value == pytest.approx(20 / N)
    variance = 0.05 * 0.95  # of single differences; the sample's is n / (n - 1) of it
    assert found.items_needed == pytest.approx(7.8489 * variance / 1e-4 * N / (N - 1), rel=1e-3)
    z = (stats.t_quantile(0.975, N - 1) + stats.t_quantile(0.8, N - 1)) ** 2
    assert found.detectable == pytest.approx(math.sqrt(z * variance / (N - 1)), rel=1e-3)


def test_no_discordance_of_scores_that_are_not_right_or_wrong() -> None:
    given = {n: ("m", "trial", {"task": np.full((4, 2), 0.5)}) for n in "ab"}
    m = Measures(build_table(exact(given, measures={"task": "gain"})))
    a, b = m.table.configurations
    assert discordance(m, "test", a, b) is None
