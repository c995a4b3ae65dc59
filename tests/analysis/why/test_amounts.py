"""Amounts of data: which settings are asked about, what they are adjusted for, what is said."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from keepgain.analysis.why.amounts import Curve, amounts
from keepgain.analysis.why.amounts_text import answer, data, grids, lines
from keepgain.analysis.why.observations import observations
from keepgain.core.record import Evidence, SpaceDimension
from tests.analysis.why.made import N, measured, sweep

Trials = Sequence[tuple[str, Mapping[str, object], int, int]]


def asked(
    evidence: Evidence,
    roles: Mapping[str, str] | None = None,
    delta: float = 0.05,
    space: Sequence[SpaceDimension] = (),
) -> dict[tuple[str, str, str | None], Curve]:
    """(setting, measure, value of a slice) → curve."""
    measures = measured(evidence)
    found = amounts(observations(measures), measures, space, roles, delta)
    return {(c.setting, c.measure, c.part and c.part.value): c for c in found}


def rows_sweep(right: Mapping[int, int], each: int = 5) -> Trials:
    rng = np.random.default_rng(3)
    return [
        ("s", {"rows": rows}, task + int(rng.integers(-2, 3)), 80 + int(rng.integers(-2, 3)))
        for rows, task in right.items()
        for _ in range(each)
    ]


def test_enough_is_the_least_amount_shown_to_be_within_delta_of_the_best() -> None:
    found = asked(sweep(rows_sweep({100: 70, 200: 100, 400: 140, 800: 141})))
    gain, forgetting = found["rows", "gain", None], found["rows", "forgetting", None]
    assert gain.form == "levels" and gain.trials == 20
    assert [p.at for p in gain.points] == pytest.approx([100, 200, 400, 800])
    assert [p.verdict for p in gain.points] == ["worse", "worse", "within", "within"]
    assert gain.points[0].value.value == pytest.approx((70 - 20) / N, abs=0.01)
    # Simultaneous intervals hold more than those of single points.
    assert all(p.low_all < p.value.low < p.value.high < p.high_all for p in gain.points)
    assert gain.points[3].change.low < 71 / N < gain.points[3].change.high
    assert gain.p < 0.01 and answer(gain) == "within"
    assert answer(forgetting) == "no_difference" and forgetting.p > 0.01
    (said,) = lines(tuple(found.values()))
    assert said.startswith("How much data is enough? rows on s: gain +36.")
    assert "400 rows is enough, at most 5.0 points from the best; 200 rows or less" in said
    assert "every amount from 100 rows to 800 rows is within 5.0 points of the least" in said


def test_what_is_not_resolved_says_how_well_it_is_known_and_what_it_would_take() -> None:
    evidence = sweep(rows_sweep({100: 100, 200: 100}))
    gain = asked(evidence, delta=0.004)["rows", "gain", None]
    assert answer(gain) == "not_resolved" and 0.004 < gain.reach < 0.05
    assert gain.more is not None and gain.more > 0
    assert f"takes about {gain.more} more trainings" in lines((gain,))[0]
    assert answer(asked(evidence, delta=0.0)["rows", "gain", None]) == "no_margin"


def mixture_sweep(trials: int = 40) -> Trials:
    """What counts is `bad` alone: 100 right of 200 less 80 for all of it; `other` does nothing."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(trials):
        good, bad, other = rng.dirichlet([1, 1, 1])
        params = {"mixture.good": good, "mixture.bad": bad, "mixture.other": other}
        made.append(("s", params, round(100 - 80 * bad + rng.normal(0, 2)), 80))
    return made


def test_a_share_rises_while_the_others_keep_their_proportions() -> None:
    roles = {"good": "task", "bad": "synthetic", "other": "replay"}
    found = asked(sweep(mixture_sweep()), roles, delta=0.08)
    assert {k[0] for k in found} == {"mixture.bad", "mixture.other"}  # the task has the rest
    bad = found["mixture.bad", "gain", None]
    assert bad.form == "spline with 3 degrees of freedom" and bad.role == "synthetic"
    assert set(bad.adjusted) == {"mixture.good", "mixture.other"}
    last = bad.points[-1]
    assert last.change.low < -0.4 * (last.at - bad.points[0].at) < last.change.high
    within = [p.at for p in bad.within]
    assert 0.0 < within[-1] < 0.2  # .08 is a fifth of .4
    assert "is too much? mixture.bad on s: gain -" in lines((bad,))[0]
    assert "% is at most 8.0 points from the best" in lines((bad,))[0]
    # All settings alike, `other` takes from the others in proportion, and so from `bad`.
    other = found["mixture.other", "gain", None]
    assert other.points[-1].change.value > 0.05
    assert found["mixture.bad", "forgetting", None].reason == "all trials score the same"


def test_of_two_sources_of_the_task_the_first_one_has_the_rest() -> None:
    trials = [
        ("s", {"mixture.clean": 1 - s, "mixture.noisy": s}, 100 - k - round(20 * s), 80)
        for s in (0.0, 0.5, 1.0)
        for k in range(4)
    ]
    roles = {"clean": "task", "noisy": "task"}
    found = asked(sweep(trials), roles)
    assert {k[0] for k in found} == {"mixture.noisy"}
    assert found["mixture.noisy", "gain", None].adjusted == ()
    assert lines(tuple(found.values()))[0].startswith("How much of noisy? mixture.noisy on s:")


def test_filters_and_limits_on_repeats_are_amounts_too() -> None:
    """Left out, the bad rows cost nothing; a limit acts through the shares, which it is not
    adjusted for, and shares are not adjusted for it."""
    rng = np.random.default_rng(7)
    trials = []
    for limit in (1.0, 2.0, 4.0):
        for chosen, right in (("clean", 130), ("none", 90)) * 4:
            params: dict[str, object] = {"filter.made": chosen, "repeat_limit.task": limit}
            params |= {"mixture.task": limit / 5, "mixture.made": 1 - limit / 5}
            trials.append(("s", params, right + int(4 * limit + rng.integers(-2, 3)), 80))
    found = asked(sweep(trials), {"task": "task", "made": "synthetic"})
    assert {k[0] for k in found} == {"filter.made", "repeat_limit.task", "mixture.made"}
    kept, limited = found["filter.made", "gain", None], found["repeat_limit.task", "gain", None]
    assert [p.at for p in kept.points] == ["none", "clean"]
    assert kept.points[1].change.low < 40 / N < kept.points[1].change.high
    assert set(kept.adjusted) == {"mixture.task", "mixture.made"}
    assert limited.adjusted == ("filter.made",) and limited.reason is None
    assert found["mixture.made", "gain", None].adjusted == ("filter.made",)
    said = lines((kept, limited))
    assert said[0].startswith("Does leaving rows out help? filter.made on s: gain +")
    assert "from none to clean" in said[0] and "none: further off" in said[0]
    assert said[1].startswith("How often may rows repeat? repeat_limit.task on s: gain +")
    assert "from 1 times to 4 times" in said[1]


def test_in_a_grid_amounts_are_compared_within_combinations_of_the_rest() -> None:
    rng = np.random.default_rng(6)
    trials = []
    for rate in (1e-4, 3e-4, 1e-3, 3e-3):
        for method in ("full", "lora"):
            # Nothing that a line in the learning rate would see.
            level = int(rng.integers(40, 160))
            for share in (0.0, 0.25, 0.5):
                params = {"learning_rate": rate, "method": method, "synthetic_share": share}
                task = level - round(20 * share) + int(rng.integers(-1, 2))
                trials.append(("s", params, task, 80))
    found = asked(sweep(trials))["synthetic_share", "gain", None]
    assert found.adjusted == ("learning_rate", "method")
    assert found.points[-1].change.value == pytest.approx(-10 / N, abs=0.01)
    assert found.reach < 0.02


def grouped(evidence: Evidence) -> Evidence:
    """Items in turn of `usual` (5 of 6) and `rare`; 33 of them, of which 30 make a slice."""
    groups = tuple("rare" if i % 6 == 5 else "usual" for i in range(N))
    return Evidence(
        evidence.sweep, tuple((k, replace(s, groups=groups)) for k, s in evidence.items)
    )


def test_balancing_is_asked_of_the_worst_group_and_of_the_whole() -> None:
    rng = np.random.default_rng(8)
    trials = [
        ("s", {"balance_strength": s}, 100 + round(20 * s) + int(rng.integers(-3, 4)), 80)
        for s in (0.0, 0.5, 1.0)
        for _ in range(6)
    ]
    found = asked(grouped(sweep(trials)))
    assert set(found) == {
        ("balance_strength", "gain", None),
        ("balance_strength", "forgetting", None),
        ("balance_strength", "gain", "rare"),
        ("balance_strength", "gain", "usual"),
    }
    worst = found["balance_strength", "gain", "rare"]
    assert worst.worst and worst.points[0].value.n_items == 33
    said = lines(tuple(found.values()))[0]
    assert said.startswith("Does balancing help? balance_strength on s: gain +")
    assert "gain of group=rare (worst group) +" in said and "gain of group=usual +" in said


def test_slices_are_told_where_something_is_shown_on_them() -> None:
    found = asked(grouped(sweep(rows_sweep({100: 70, 200: 100, 400: 140, 800: 141}))))
    assert ("rows", "gain", "usual") not in found  # the worst group alone
    assert "(worst group)" in lines(tuple(found.values()))[0]
    flat = asked(grouped(sweep(rows_sweep({100: 80, 200: 80}, each=4))))
    assert "(worst group)" not in lines(tuple(flat.values()))[0]


def test_amounts_that_are_within_on_both_sides_of_an_open_one_are_named_one_by_one() -> None:
    found = asked(sweep(rows_sweep({100: 140, 200: 141, 400: 140})))["rows", "gain", None]
    assert len(found.within) == 3
    share = replace(
        found,
        setting="synthetic_share",
        points=tuple(
            replace(p, at=at, verdict=v)
            for p, at, v in zip(
                found.points, (0.0, 0.25, 0.5), ("within", "open", "within"), strict=True
            )
        ),
    )
    assert "0 % and 50 % are shown to be within 5.0 points of the best" in lines((share,))[0]


def test_a_margin_in_points_judges_nothing_in_bits() -> None:
    evidence = sweep(rows_sweep({100: 80, 200: 120, 400: 140}))
    suites = tuple(
        s.model_copy(update={"scorer": "bits_per_byte"}) if s.measures == "forgetting" else s
        for s in evidence.sweep.suites
    )
    items = tuple(
        (k, replace(s, metric="bits_per_byte") if s.suite == "facts" else s)
        for k, s in evidence.items
    )
    changed = Evidence(evidence.sweep.model_copy(update={"suites": suites}), items)
    found = asked(changed)["rows", "forgetting", None]
    assert found.margin is None and answer(found) == "no_margin" and found.more is None
    assert {p.verdict for p in found.points} == {None}


def test_text_and_logarithms() -> None:
    by_name = [("s", {"balance_by": v}, 100 + k, 80) for v in ("answer", "group") for k in range(5)]
    found = asked(sweep(by_name))["balance_by", "gain", None]
    assert [p.at for p in found.points] == ["answer", "group"]
    steps = np.geomspace(0.001, 0.1, 20)
    trials = [("s", {"group_dro_step": float(s)}, 100 + k % 4, 80) for k, s in enumerate(steps)]
    log = (SpaceDimension(name="group_dro_step", form="log", low=0.001, high=0.1),)
    found = asked(sweep(trials), space=log)["group_dro_step", "gain", None]
    assert found.points[6].at == pytest.approx(0.01)  # the middle of its logarithms


def test_data_are_plain_and_tables_short() -> None:
    found = tuple(asked(sweep(mixture_sweep()), delta=0.04).values())
    (first, *_) = data(found)
    assert first["answer"] in ("within", "no_difference", "only_worse", "not_resolved")
    json.dumps(data(found), allow_nan=False)
    for grid in grids(found):
        assert len(grid.rows) == 5 and grid.header[-1] == "verdict"


def test_without_amounts_there_is_nothing() -> None:
    assert asked(sweep([("s", {"learning_rate": 10.0**-k}, 100, 80) for k in range(2, 9)])) == {}


def test_a_best_amount_between_the_ends_is_told_where_it_is_shown() -> None:
    found = asked(sweep(rows_sweep({100: 70, 200: 140, 400: 72})))["rows", "gain", None]
    (said,) = lines((found,))
    assert " points from 100 rows to 400 rows, +3" in said
    assert " points to 200 rows; 200 rows is enough" in said
