"""Optimism by hand, and its interval against a known truth."""

import numpy as np
import pytest

from benchmarks.analysis.worlds import Known, base_of, world
from keepgain.analysis.analyze import analyze
from keepgain.analysis.measures import Measures
from keepgain.analysis.optimism import optimism
from keepgain.analysis.table import build_table
from keepgain.core.record import Evidence, Question
from tests.analysis.evidence import Trial, base, build


def test_it_is_the_pick_s_loss_less_that_of_the_others() -> None:
    m = world(np.random.default_rng(0), [base_of("m"), Known("a", "m", 0.7), Known("b", "m", 0.6)])
    by_name = {c.trial_id: c for c in m.table.configurations}

    def lost(name: str) -> float:
        scores = by_name[name].scores
        return float(scores["validation"]["task"].mean() - scores["test"]["task"].mean())

    found = optimism(m, by_name["a"], [by_name["base-m"], by_name["b"]])
    assert found is not None and found.others == ("base-m", "b")
    assert found.bare == pytest.approx(lost("a"))
    by_hand = lost("a") - (lost("base-m") + lost("b")) / 2
    assert found.uncertain.value == pytest.approx(by_hand)


def test_its_interval_holds_zero_where_nothing_was_selected() -> None:
    """The seed's effect is on both splits and cancels."""
    rng = np.random.default_rng(1)
    given = [base_of("m"), *(Known(n, "m", 0.7, seeds=s) for n, s in (("a", 1), ("b", 3)))]
    held = 0
    for _ in range(300):
        m = world(rng, given, n_items=200)
        start, a, b = m.table.configurations
        found = optimism(m, a, [start, b])
        assert found is not None
        e = found.uncertain.estimate()
        assert e.low is not None and e.high is not None
        held += e.low <= 0 <= e.high
    assert 0.92 <= held / 300 <= 0.98


def test_it_is_told_where_the_decision_is_on_test() -> None:
    trials = [base("m"), Trial("a", "m", 0.8), Trial("b", "m", 0.6)]
    free = Question()
    decided = analyze(build(trials, n_items=300, sizes={"m": 1}, question=free))
    told = decided.decision.inference.optimism
    assert told is not None and (told.trial, told.others) == ("a", ("base-m", "b"))
    early = analyze(build(trials, n_items=300, sizes={"m": 1}, question=free, test=False))
    assert early.decision.inference.optimism is None


def test_a_seed_without_test_scores_does_not_pass_for_optimism() -> None:
    """Trainings differ by 10 points; two of three seeds of the pick were not scored on test."""
    trials = [base("m"), Trial("a", "m", 0.6), Trial("b", "m", 0.6)]
    whole = build(trials, n_items=1000, sizes={"m": 1}, seed_sd=0.1)
    lost = ("a-s101", "a-s102")
    items = tuple((k, s) for k, s in whole.items if not (k in lost and s.split == "test"))
    m = Measures(build_table(Evidence(sweep=whole.sweep, items=items)))
    of = {c.trial_id: c for c in m.table.configurations}
    found = optimism(m, of["a"], [of["base-m"]])
    assert found is not None
    splits = [of["a"].scores[s]["tickets"] for s in ("validation", "test")]
    assert found.bare == pytest.approx(splits[0][:, 0].mean() - splits[1].mean())
