"""Changes from the base on hand-worked numbers."""

import math

import numpy as np
import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.behaviour.bounds import floored, least_variance
from keepgain.analysis.behaviour.moved import SuiteMoved, judged, moved, suites_moved
from keepgain.analysis.measures import Measures, measures_of
from keepgain.analysis.stats import ITEMS_AND_SEEDS, ITEMS_ONLY, UNKNOWN, Uncertain, t_quantile
from keepgain.core.multiplicity import holm
from keepgain.core.record import Evidence
from tests.analysis.behaviour.worlds import SLICE, N, behaviour_world, flat
from tests.analysis.evidence import ones

DOWN = "mine:score (lower is better)"
"""A user's scorer, whose scores have no known range."""


def of(evidence: Evidence) -> tuple[Measures, tuple[SuiteMoved, ...]]:
    beside = measures_of(evidence).behaviours
    assert beside is not None
    who = next(c for c in beside.table.configurations if c.kind == "trial")
    return beside, moved(beside, who, "test")


def test_a_change_has_levels_a_paired_interval_and_a_verdict() -> None:
    _, (found,) = of(behaviour_world({"polite": (ones(300, N, 1), ones(280, N))}))
    whole = found.whole
    assert (whole.base.value, whole.tuned.value) == pytest.approx((0.75, 0.70))
    p = 20 / N
    reach = t_quantile(0.975, N - 1) * math.sqrt(p * (1 - p) / (N - 1))
    assert whole.change.value == pytest.approx(-p)
    assert (whole.change.low, whole.change.high) == pytest.approx((-p - reach, -p + reach))
    assert whole.change.interval_method == ITEMS_AND_SEEDS and whole.verdict == "worse"
    assert whole.harm == pytest.approx(p)


def test_the_direction_of_the_metric_says_which_way_is_worse() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(1, 0.1, (N, 1))
    tuned = base + rng.normal(0.5, 0.1, (N, 1)).repeat(2, axis=1)
    _, (found,) = of(behaviour_world({"loss": (base, tuned)}, scorer=DOWN))
    assert found.whole.verdict == "worse" and found.whole.change.value == pytest.approx(
        0.5, abs=0.02
    )
    _, (found,) = of(
        behaviour_world({"loss": (tuned[:, :1], np.repeat(base, 2, axis=1))}, scorer=DOWN)
    )
    assert found.whole.verdict == "better"


def test_items_that_all_moved_by_one_are_resolved() -> None:
    """Zero item variance is no reason for `not resolved`: 40 of 40 moved."""
    _, (found,) = of(behaviour_world({"polite": (flat(1, 40, 1), flat(0, 40))}))
    whole = found.whole
    assert whole.change.value == -1 and whole.verdict == "worse"
    assert whole.change.high == pytest.approx(-(0.025 ** (1 / 40)))
    assert whole.tuned.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_items_that_did_not_move_are_not_resolved_and_keep_a_width() -> None:
    _, (found,) = of(behaviour_world({"polite": (ones(20, 40, 1), ones(20, 40))}))
    assert found.whole.verdict == "not_resolved" and found.whole.change.value == 0
    assert found.whole.change.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_alike_items_without_a_known_range_have_no_interval() -> None:
    _, (found,) = of(behaviour_world({"loss": (flat(1, 40, 1), flat(2, 40))}, scorer=DOWN))
    assert found.whole.change.low is None and found.whole.verdict == "not_resolved"


def test_the_least_variance_is_that_of_the_exact_interval() -> None:
    reach = t_quantile(0.975, 29) * math.sqrt(least_variance(30))
    assert reach == pytest.approx(1 - 0.025 ** (1 / 30))
    wide = Uncertain(0.5, 30, 1, ((0.02, 29.0),), 0.02, ITEMS_ONLY)
    assert floored(wide, 30, "exact_match") is wide
    narrow = Uncertain(0.5, 30, 1, ((1e-6, 29.0), (4e-4, 2.0)), 1e-6, ITEMS_ONLY)
    held = floored(narrow, 30, "exact_match")
    assert held.terms == ((least_variance(30), 29.0), (4e-4, 2.0))
    assert held.variance == pytest.approx(least_variance(30) + 4e-4)
    assert floored(wide, 1, "exact_match").method == UNKNOWN


def test_few_suites_are_corrected_by_holm() -> None:
    """One clear change among three: adjusted three times; a change at p = .03 is not resolved."""
    suites = {
        "clear": (ones(300, N, 1), ones(260, N)),
        "slight": (ones(300, N, 1), ones(295, N)),
        "none": (ones(300, N, 1), ones(300, N)),
    }
    beside = measures_of(behaviour_world(suites)).behaviours
    assert beside is not None
    who = next(c for c in beside.table.configurations if c.kind == "trial")
    found = {c.name: c for c in suites_moved(beside, who, "test")}
    raw = {n: c.uncertain.p_value() for n, c in found.items()}
    assert raw["slight"] == pytest.approx(0.0253, abs=0.003) and raw["none"] == 1
    assert [found[n].adjusted for n in suites] == pytest.approx(list(holm(list(raw.values()))))
    assert [found[n].verdict for n in suites] == ["worse", "not_resolved", "not_resolved"]
    alone = judged([found["slight"]], few=True)[0]
    assert alone.verdict == "worse"  # asked alone it would have been


def test_slices_of_thirty_items_are_shown_and_smaller_ones_counted() -> None:
    _, (found,) = of(behaviour_world({"polite": (ones(300, N, 1), ones(280, N))}))
    parts = {p.name: p for p in found.slices}
    # Items 280 to 299 were lost: all of the second half.
    assert parts[f"polite[{SLICE}=first]"].change.value == 0
    assert parts[f"polite[{SLICE}=second]"].change.value == pytest.approx(-0.1)
    assert parts[f"polite[{SLICE}=second]"].verdict == "worse" and found.small == 0
    _, (few,) = of(behaviour_world({"polite": (ones(40, 50, 1), ones(40, 50))}))
    assert few.slices == () and few.small == 2


def test_one_seed_alone_says_nothing_for_certain() -> None:
    _, (found,) = of(behaviour_world({"polite": (ones(300, N, 1), ones(200, N, 1))}, task_seeds=1))
    assert found.whole.change.value == pytest.approx(-0.25)
    assert found.whole.change.low is None and found.whole.verdict == "not_resolved"


def test_swapping_base_and_tuned_turns_the_sign() -> None:
    a, b = ones(300, N, 1), ones(260, N, 1, start=20)
    changes = []
    for base, tuned in ((a, b), (b, a)):
        _, (found,) = of(behaviour_world({"polite": (base, np.repeat(tuned, 2, axis=1))}))
        changes.append(found.whole.change)
    assert changes[0].value == pytest.approx(-changes[1].value)
    assert changes[0].low == pytest.approx(-changes[1].high)


def test_the_decision_names_what_moved_for_the_worse() -> None:
    suites = {
        "polite": (ones(300, N, 1), ones(240, N)),
        "calm": (ones(300, N, 1), ones(300, N)),
    }
    analysis = analyze(behaviour_world(suites))
    assert analysis.decision.status == "recommended"
    assert (
        "Behaviour that moved for the worse for certain: polite from 0.750 to 0.600, by -15.0 "
        "points [-18.5, -11.5]." in analysis.decision.reason
    )
    calm = analyze(behaviour_world({"calm": suites["calm"]}))
    assert "Behaviour" not in calm.decision.reason
    assert [c.verdict for b in analysis.behaviours for c in b.changes] == ["worse", "not_resolved"]
