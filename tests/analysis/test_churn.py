"""Answers that flip against the base, where the means may be equal."""

import json

import numpy as np
import pytest

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.churn import Churn
from keepgain.analysis.contract import to_json
from keepgain.core.record import Evidence
from tests.analysis.evidence import exact, ones

N = 100


def churn(evidence: Evidence, trial: str = "trial") -> dict[str, Churn]:
    row = next(r for r in analyze(evidence).rows if r.who.trial_id == trial)
    return {c.suite: c for c in row.churn}


def of(gain: np.ndarray, facts: np.ndarray, scorer: str = "exact_match") -> Evidence:
    """A base that has the first 50 items of both suites right."""
    base = {name: ones(50, N, seeds=1) for name in ("gain", "facts")}
    configurations = {
        "base-s": ("s", "base", base),
        "trial": ("s", "trial", {"gain": gain, "facts": facts}),
    }
    measures = {"gain": "gain", "facts": "forgetting"}
    return exact(configurations, measures=measures, scorer=scorer)


def test_equal_means_hide_flips_in_both_directions() -> None:
    """Facts 10 to 59 right, before 0 to 49: 10 lost, 10 won, no forgetting."""
    evidence = of(ones(80, N), ones(50, N, start=10))
    facts = churn(evidence)["facts"]
    assert (facts.measures, facts.lost.value, facts.won.value) == ("forgetting", 0.1, 0.1)
    # s = sqrt(n / (n - 1) * .1 * .9) of one seed-averaged 0/1 column; t quantile with df 99.
    half = 1.9842169515 * np.sqrt(0.09 / 99)
    assert (facts.lost.low, facts.lost.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert (facts.lost.n_items, facts.lost.n_seeds) == (100, 2)
    row = next(r for r in analyze(evidence).rows if r.who.trial_id == "trial")
    assert row.estimates["forgetting"].value == 0
    gain = churn(evidence)["gain"]
    assert (gain.lost.value, gain.won.value) == (0.0, 0.3)
    assert gain.lost.high is None, "where nothing flips there is no interval"


def test_shares_are_means_over_seeds() -> None:
    seeds = np.hstack([ones(40, N, seeds=1), ones(46, N, seeds=1)])
    facts = churn(of(ones(80, N), seeds))["facts"]
    assert facts.lost.value == pytest.approx((10 + 4) / 2 / N)
    assert facts.won.value == 0


def test_only_suites_of_zeros_and_ones_have_churn() -> None:
    assert set(churn(of(ones(80, N) * 0.5, ones(50, N)))) == {"facts"}


def test_it_is_shown_beside_forgetting_and_in_json() -> None:
    evidence = of(ones(80, N), ones(50, N, start=10))
    analysis = analyze(evidence)
    (line,) = [
        part for part in to_lines(render.text(analysis)) if part[2:4] == ["facts", "forgetting"]
    ]
    assert line[4:] == ["100", "0.100", "±0.060", "0.100", "±0.060"]
    entry = next(c for c in json.loads(to_json(analysis))["churn"] if c["suite"] == "facts")
    assert (entry["trial"], entry["split"]) == ("trial", "test")
    assert entry["right_to_wrong"]["value"] == entry["wrong_to_right"]["value"] == 0.1


def to_lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]
