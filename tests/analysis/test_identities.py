"""What must hold exactly, whatever the scores, weights and clusters are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.analysis import objectives
from keepgain.analysis.analyze import analyze
from keepgain.analysis.churn import beyond_chance
from keepgain.analysis.descriptions import churn_of, descriptions
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration, SuiteItems, Table
from keepgain.core.record import Evidence, ModelInfo, Question, SuiteInfo, SweepRecord
from keepgain.core.status import Stage, TrialStatus
from tests.analysis.evidence import Trial, base, build

SUITES = (
    SuiteInfo(name="task", measures="gain", scorer="exact_match", chance=0.25),
    SuiteInfo(name="facts", measures="forgetting", scorer="exact_match", chance=0.25),
    SuiteInfo(name="sums", measures="forgetting", scorer="exact_match"),
)
Scores = dict[str, np.ndarray]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[str, SuiteItems], Scores, Scores]:
    """Suites with weights and clusters, and two models' scores of 0 or 1, shape [n, 1]."""
    suites, first, second = {}, {}, {}
    for info in SUITES:
        n = draw(st.integers(2, 12))
        bits = st.lists(st.integers(0, 1), min_size=n, max_size=n)
        first[info.name], second[info.name] = (
            np.array(draw(bits), dtype=np.float64)[:, None] for _ in range(2)
        )
        weights = draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))
        named = draw(st.none() | st.lists(st.integers(0, 3), min_size=n, max_size=n))
        clusters = None if named is None else np.unique(named, return_inverse=True)[1]
        ids = np.array([f"i{k:02d}" for k in range(n)])
        suites[info.name] = SuiteItems(
            info, "test", ids, np.array(weights, dtype=np.float64), clusters
        )
    return suites, first, second


def measures(suites: dict[str, SuiteItems], base: Scores, tuned: Scores) -> Measures:
    """One base and one trial."""

    def who(name: str, kind: str, scores: Scores) -> Configuration:
        return Configuration(
            trial_id=name, label=name, model="m", kind=kind, arm=None, params={},  # type: ignore[arg-type]
            stage=Stage.CONFIRM, status=TrialStatus.COMPLETED, confirmed=kind == "trial", tokens=0,
            cost={}, scores={"test": scores}, lacks={}, runs={},
        )  # fmt: skip

    sweep = SweepRecord(
        id="w-1", name="w", stage=Stage.DECIDED, question=Question(), suites=SUITES,
        models=(ModelInfo(name="m", digest="m", parameters=1),), runs=(),
    )  # fmt: skip
    pair = (who("base", "base", base), who("tuned", "trial", tuned))
    return Measures(Table(sweep, {"test": suites}, pair, ()))


def values(m: Measures) -> dict[str, float | None]:
    tuned = m.table.configurations[1]
    told = {**m.estimates(tuned, "test"), **descriptions(m, tuned, "test")}
    return {name: e.value for name, e in told.items()}


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_an_identical_model_changes_nothing(world: tuple) -> None:
    suites, scores, _ = world
    m = measures(suites, scores, scores)
    found = values(m)
    for name in ("gain", "forgetting", "max_forgetting", "clipped_forgetting"):
        assert found[name] == 0.0
    for name in ("relative_forgetting", "normalised_gain"):
        assert found[name] in (0.0, None)
    for c in churn_of(m, m.table.configurations[1], "test"):
        assert c.lost.value == 0.0 == c.won.value
        assert c.beyond_chance in ((0.0, 0.0), None)


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_what_was_lost_less_what_was_won_is_the_drop(world: tuple) -> None:
    m = measures(*world)
    tuned = m.table.configurations[1]
    churn = {c.suite: c for c in churn_of(m, tuned, "test")}
    assert set(churn) == {"task", "facts", "sums"}
    for drop in m.drops(tuned, "test"):
        c = churn[drop.suite.info.name]
        assert c.lost.value is not None and c.won.value is not None
        assert c.lost.value - c.won.value == pytest.approx(drop.value, abs=1e-14)
    gain = churn["task"]
    assert gain.lost.value is not None and gain.won.value is not None
    assert gain.won.value - gain.lost.value == pytest.approx(values(m)["gain"], abs=1e-14)


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_swapping_base_and_tuned_turns_the_signs(world: tuple) -> None:
    suites, first, second = world
    there, back = measures(suites, first, second), measures(suites, second, first)
    ours, theirs = values(there), values(back)
    for name in ("gain", "forgetting"):
        assert ours[name] == pytest.approx(-theirs[name], abs=1e-14)  # type: ignore[operator]
        u, v = (m.uncertain(m.table.configurations[1], "test", name) for m in (there, back))
        assert u is not None and v is not None
        assert u.item_variance == pytest.approx(v.item_variance, abs=1e-14)
    for c, d in zip(
        *(churn_of(m, m.table.configurations[1], "test") for m in (there, back)), strict=True
    ):
        assert (c.lost.value, c.won.value) == (d.won.value, d.lost.value)


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_clipping_only_adds_and_normalising_divides_by_what_was_left(world: tuple) -> None:
    m = measures(*world)
    found = values(m)
    clipped, mean = found["clipped_forgetting"], found["forgetting"]
    assert clipped is not None and mean is not None and clipped >= max(0.0, mean) - 1e-14
    suite, base = world[0]["task"], world[1]["task"][:, 0]
    left = 1 - float(np.average(base, weights=suite.weights))
    if left > 0:
        gain = found["gain"]
        assert gain is not None
        assert found["normalised_gain"] == pytest.approx(gain / left, abs=1e-12)
    else:
        assert found["normalised_gain"] is None


def test_the_interval_of_the_normalised_gain_is_that_of_the_ratio() -> None:
    """Against the spread of the ratio over resampled items."""
    rng = np.random.default_rng(0)
    n = 400
    x = (rng.random(n) < 0.4).astype(float)
    y = (rng.random(n) < 0.7).astype(float)
    suite = SuiteItems(SUITES[0], "test", np.arange(n).astype(str), np.ones(n), None)
    suites = {"task": suite}
    blocks = objectives.blocks(
        "normalised_gain", suites, {"task": y[:, None]}, {"task": x[:, None]}
    )
    assert blocks is not None
    terms = blocks[0].values[:, 0]
    picks = rng.integers(n, size=(4000, n))
    ratios = (y[picks].mean(1) - x[picks].mean(1)) / (1 - x[picks].mean(1))
    assert terms.mean() == pytest.approx((y.mean() - x.mean()) / (1 - x.mean()))
    assert terms.std() / np.sqrt(n) == pytest.approx(ratios.std(), rel=0.06)


def test_churn_beyond_chance_by_hand() -> None:
    # Four answers: of .2 x .4 wrong before and after, a third flip by luck alone.
    assert beyond_chance(0.1, 0.8, 0.6, 0.25) == pytest.approx(0.1 - 0.2 * 0.4 / 3)
    assert beyond_chance(0.01, 0.5, 0.5, 0.25) == 0.0


def test_flips_of_pure_guesses_are_all_chance() -> None:
    """Guessing twice among four: 3/16 of the items flip each way, all of it by luck."""
    assert beyond_chance(3 / 16, 0.25, 0.25, 0.25) == pytest.approx(0.0, abs=1e-15)


def test_a_scorer_to_be_low_gives_the_same_answers_turned() -> None:
    """Bits that are 3 - score, with weights and clusters: everything but the levels is equal."""
    trials = [
        *(base(m, 0.3) for m in ("s", "m")),
        *(Trial("a", "s", 0.60, 0.79), Trial("b", "s", 0.63, 0.74), Trial("c", "m", 0.64, 0.79)),
    ]
    shares = build(trials, n_items=300, question=Question(delta=0.05, max_forgetting=0.08))
    rng = np.random.default_rng(0)
    shape = {"weights": rng.integers(1, 9, 300).astype(float)}
    shape["clusters"] = tuple(f"c{i // 2}" for i in range(300))
    first, second = (analyze(_scored(shares, shape, up)) for up in (True, False))
    for ours, theirs in zip(first.rows, second.rows, strict=True):
        assert ours.who.trial_id == theirs.who.trial_id
        for name in ("gain", "forgetting", "max_forgetting"):
            a, b = ours.estimates[name], theirs.estimates[name]
            assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-9)
        level, bits = ours.estimates["task_score"], theirs.estimates["task_score"]
        assert level.value is not None and bits.value == pytest.approx(3 - level.value)
        assert ours.place and theirs.place
        assert (ours.place.on_front, ours.place.rank) == (theirs.place.on_front, theirs.place.rank)
    x, y = first.decision, second.decision
    assert (x.status, x.trial, x.tied_with) == (y.status, y.trial, y.tied_with)
    assert [b.trials for b in x.inference.best] == [b.trials for b in y.inference.best]
    assert x.probabilities == pytest.approx(y.probabilities, abs=0.05)
    ends = [[(f.what, f.answer) for f in d.flips] for d in (x, y)]
    assert ends[0] == ends[1]
    assert [f.to for f in x.flips] == pytest.approx([f.to for f in y.flips], abs=1e-9)


def _scored(shares: Evidence, shape: dict[str, Any], up: bool) -> Evidence:
    """The same items as shares, or as bits that are to be low."""
    scorer = "exact_match" if up else "bits_per_byte"
    items = tuple(
        (k, replace(s, metric=scorer, values=s.values if up else 3 - s.values, **shape))
        for k, s in shares.items
    )
    suites = tuple(s.model_copy(update={"scorer": scorer}) for s in shares.sweep.suites)
    return Evidence(sweep=shares.sweep.model_copy(update={"suites": suites}), items=items)
