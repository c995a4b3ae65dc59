"""Rungs are checked by audit trials: what is measured, how surely, and what is left out."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.analysis.fronts import layered_order
from keepgain.analysis.rung_check import caution, proportion, rank_correlation, rung_checks
from keepgain.core.items import ItemScores
from keepgain.core.record import (
    Evidence,
    ModelInfo,
    Question,
    RunRecord,
    Stopping,
    SuiteInfo,
    SweepRecord,
)
from keepgain.core.status import Stage, TrialStatus
from tests.analysis.evidence import scores

FULL = 900
SUITES = (
    SuiteInfo(name="tickets", measures="gain", scorer="exact_match"),
    SuiteInfo(name="facts", measures="forgetting", scorer="exact_match"),
)


def evidence(
    rung: Sequence[float],
    full: Sequence[float],
    lost: Sequence[float] | None = None,
    *,
    lost_at_rung: Sequence[float] | None = None,
    audits: Sequence[bool] | None = None,
    finished: Sequence[bool] | None = None,
    stopping: Stopping | None = None,
    suites: tuple[SuiteInfo, ...] = SUITES,
    proxy: Sequence[float] | None = None,
) -> Evidence:
    """Trials of one base model, scored at a third of the budget and at the full one.

    Args:
        rung: Gain of each trial at the rung.
        full: At the full budget.
        lost: Forgetting at the full budget; default: none.
        lost_at_rung: Default: as `lost`.
        audits: Default: all.
        finished: Default: all; the others are stopped at the rung.
        proxy: Gain at the rung on a second suite, `bytes`.
    """
    n = len(full)
    lost = lost or [0.0] * n
    lost_at_rung = lost_at_rung or lost
    audits, finished = audits or [True] * n, finished or [True] * n
    runs = [record("base", "base", 0, Stage.BASE)]
    items = [("base", flat("tickets", 0.2, 0)), ("base", flat("facts", 0.8, 0))]
    items += [("base", flat("bytes", 0.0, 0))] if proxy else []
    for i in range(n):
        key, done = f"t{i:03d}", finished[i]
        tokens = FULL if done else FULL // 3
        status = TrialStatus.COMPLETED if done else TrialStatus.PRUNED
        runs.append(record(key, "trial", i, Stage.SEARCH, tokens, status, audits[i]))
        items.append((key, flat("tickets", 0.2 + rung[i], FULL // 3)))
        items.append((key, flat("facts", 0.8 - lost_at_rung[i], FULL // 3)))
        if proxy:
            items.append((key, flat("bytes", proxy[i], FULL // 3)))
            items.append((key, flat("bytes", 0.0, FULL)))
        if done:
            items.append((key, flat("tickets", 0.2 + full[i], FULL)))
            items.append((key, flat("facts", 0.8 - lost[i], FULL)))
    sweep = SweepRecord(
        id="toy-123456",
        name="toy",
        stage=Stage.SEARCH,
        question=Question(max_forgetting=0.1),
        suites=suites,
        models=(ModelInfo(name="s", digest="d", parameters=1000),),
        stopping=stopping,
        runs=tuple(runs),
    )
    return Evidence(sweep, tuple(items))


def record(
    key: str,
    kind: str,
    number: int,
    stage: Stage,
    tokens: int = 0,
    status: TrialStatus = TrialStatus.COMPLETED,
    audit: bool = False,
) -> RunRecord:
    return RunRecord.model_validate(
        {
            "run_key": key,
            "trial_id": key,
            "seed": 0,
            "kind": kind,
            "arm": "base" if kind == "base" else None,
            "model": "s",
            "stage": stage,
            "status": status,
            "number": number,
            "tokens": tokens,
            "budget": 0 if kind == "base" else FULL,
            "audit": audit,
        }
    )


def flat(suite: str, value: float, tokens: int) -> ItemScores:
    return scores(suite, "validation", np.full(4, value), tokens)


RISING = [0.01 * i for i in range(12)]


def test_rank_correlation_of_a_hand_worked_case() -> None:
    # One swap of neighbours among 12: 1 - 6 * 2 / (12 * 143).
    swapped = [1, 0, *range(2, 12)]
    found = rank_correlation(np.arange(12.0), np.array(swapped, dtype=float))
    assert found is not None
    assert found.value == pytest.approx(1 - 12 / 1716)
    # Four swaps, 7, 3, 3 and 2 apart: squared differences 2 * (49 + 9 + 9 + 4) = 142.
    half = rank_correlation(np.arange(12.0), HALF)
    assert half is not None and half.value == pytest.approx(1 - 6 * 142 / 1716)  # .5035
    # z = .55396, standard error sqrt((1 + .5035^2 / 2) / 9) = .35384; z -+ 1.96 of it, and back.
    assert (half.low, half.high) == pytest.approx((-0.1386, 0.8475), abs=2e-3)


HALF = np.array([7, 4, 2, 6, 1, 5, 3, 0, 8, 11, 10, 9], dtype=float)


def test_equal_ranks_are_certain_only_as_far_as_the_trials_go() -> None:
    found = rank_correlation(np.arange(12.0), np.arange(12.0))
    assert found is not None
    assert found.value == 1.0 == found.high
    assert 0.9 < found.low < 1


def test_trials_that_all_scored_the_same_have_no_rank_correlation() -> None:
    assert rank_correlation(np.zeros(12), np.arange(12.0)) is None


def test_the_interval_of_a_rank_correlation_covers_as_it_says() -> None:
    rng = np.random.default_rng(5)
    for n in (12, 24):
        for truth in (0.3, 0.7, 0.9):
            rho = 2 * math.sin(math.pi * truth / 6)  # Pearson's, for this Spearman's
            covered = 0
            for _ in range(800):
                a = rng.standard_normal(n)
                b = rho * a + math.sqrt(1 - rho**2) * rng.standard_normal(n)
                found = rank_correlation(a, b)
                covered += found is not None and found.low <= truth <= found.high
            assert 0.925 <= covered / 800 <= 0.98, (n, truth)


def test_a_share_has_the_exact_interval() -> None:
    found = proportion(1, 4)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.00631, 0.80588), abs=1e-5)
    assert (proportion(0, 4).low, proportion(4, 4).high) == (0.0, 1.0)
    assert proportion(0, 4).high == pytest.approx(0.60236, abs=1e-5)


def test_recall_counts_the_best_third_that_the_rung_would_have_kept() -> None:
    # Best third at the end: trials 8 to 11. At the rung 11 and 10 are last, so 8, 9, 7, 6 are kept.
    rung = [*RISING[:10], -0.02, -0.01]
    (check,) = rung_checks(evidence(rung, RISING))
    assert check.share == pytest.approx(1 / 3)
    assert check.audits == 12 and check.assessed
    assert check.recall is not None and check.recall.value == 0.5


def test_a_promoted_half_keeps_more_than_a_third() -> None:
    # At the rung: 11, 10, 7, 9, 6, 8, ...
    rung = [*RISING[:8], *(r - 0.025 for r in RISING[8:])]
    third, half = (
        rung_checks(evidence(rung, RISING, stopping=Stopping(keep=k, grace=0)))[0].recall
        for k in (1 / 3, 0.5)
    )
    assert third is not None and half is not None
    assert (third.value, half.value) == (0.75, 1.0)


def test_layers_count_at_the_end_and_gain_alone_below_the_grace_share() -> None:
    # Gain and forgetting rise together, so all trials are on the front; the spread rule takes
    # trial 11 (most gain) first and 0 (least forgetting) second.
    lost = [0.005 * i for i in range(12)]
    assert layered_order(np.array(RISING), np.array(lost), np.zeros(12))[:2] == [11, 0]
    late = rung_checks(evidence(RISING, RISING, lost, stopping=Stopping(keep=1 / 3, grace=0.2)))
    early = rung_checks(evidence(RISING, RISING, lost, stopping=Stopping(keep=1 / 3, grace=0.5)))
    assert late[0].recall is not None and late[0].recall.value == 1.0
    assert early[0].recall is not None and early[0].recall.value == 0.5
    assert late[0].ranked_by_forgetting and not early[0].ranked_by_forgetting


def test_fewer_than_twelve_audits_are_not_assessed() -> None:
    (check,) = rung_checks(evidence(RISING[:11], RISING[:11]))
    assert (check.audits, check.assessed, check.agreements) == (11, False, {})
    assert "not assessed, 11 audit trials of 12" in render.text(
        analyze(evidence(RISING[:11], RISING[:11]))
    )


def test_a_failed_or_stopped_audit_is_none() -> None:
    finished = [False, *[True] * 11]
    (check,) = rung_checks(evidence(RISING, RISING, finished=finished))
    assert check.audits == 11 and not check.assessed


def test_an_audit_that_early_stopping_ended_stands_at_later_rungs_where_it_stopped() -> None:
    """Stopped before the first rung: scored once, at fewer tokens, and the same at the end."""
    given = evidence(RISING, RISING)
    runs = tuple(
        r.model_copy(update={"tokens": 100, "stopped_early": 100}) if r.run_key == "t011" else r
        for r in given.sweep.runs
    )
    items = tuple((key, replace(s, tokens=100) if key == "t011" else s) for key, s in given.items)
    (check,) = rung_checks(Evidence(given.sweep.model_copy(update={"runs": runs}), items))
    assert (check.audits, check.share) == (12, pytest.approx(1 / 3))
    assert check.gain is not None and check.gain.value == 1


def test_one_rung_or_no_audit_gives_no_check() -> None:
    assert rung_checks(evidence(RISING, RISING, audits=[False] * 12)) == ()


def test_a_reversed_order_is_unsafe_and_said() -> None:
    found = evidence(RISING[::-1], RISING, stopping=Stopping(keep=1 / 3, grace=0.2))
    analysis = analyze(found)
    (check,) = analysis.rung_checks
    assert check.gain is not None and check.gain.value == pytest.approx(-1.0)
    assert set(check.faults) == {"top-third recall", "rank correlation of gain"}
    assert "Early stopping was unsafe here" in analysis.decision.reason
    assert "s at 33.3 % of the budget" in analysis.decision.reason
    text = render.text(analysis)
    assert "Rung check, s at 33.3 % of the budget: top-third recall 0.00 [0.00, 0.60]" in text
    (part,) = json.loads(to_json(analysis))["rung_checks"]
    assert part["unsafe"] and part["gain_correlation"]["high"] < 0.7
    assert part["forgetting_correlation"] is None  # nothing was forgotten: no ranks to compare


def test_a_sweep_that_stopped_nothing_is_told_that_it_would_have_been_unsafe() -> None:
    checks = rung_checks(evidence(RISING[::-1], RISING))
    assert (caution(checks, stopped=False) or "").startswith(
        "Early stopping would have been unsafe"
    )


def test_an_order_that_holds_is_not_warned_of() -> None:
    checks = rung_checks(evidence(RISING, RISING))
    assert caution(checks, stopped=True) is None


def test_forgetting_is_no_fault_where_nothing_is_stopped_for_it() -> None:
    lost = [0.005 * i for i in range(12)]
    turned = lost[::-1]
    for grace, faulty in ((0.2, True), (0.5, False)):
        (check,) = rung_checks(
            evidence(
                RISING,
                RISING,
                lost,
                lost_at_rung=turned,
                stopping=Stopping(keep=1 / 3, grace=grace),
            )
        )
        assert check.forgetting is not None and check.forgetting.value == pytest.approx(-1.0)
        assert ("rank correlation of forgetting" in check.faults) is faulty


def test_a_stand_in_has_half_of_the_places_below_the_grace_share() -> None:
    # No answer is right yet at the rung; the stand-in has the order already. Four of twelve go
    # on: 0 and 1, the first of equals on gain, and 11 and 10, half of the best third.
    suites = (*SUITES, SuiteInfo(name="bytes", measures="behaviour", scorer="exact_match",
                                 proxy_for="tickets"))  # fmt: skip
    early = Stopping(keep=1 / 3, grace=0.5)
    (blind,) = rung_checks(evidence([0.0] * 12, RISING, stopping=early))
    (check,) = rung_checks(
        evidence([0.0] * 12, RISING, suites=suites, proxy=RISING, stopping=early)
    )
    assert blind.recall is not None and blind.recall.value == 0
    assert check.recall is not None and check.recall.value == 0.5
    late = Stopping(keep=1 / 3, grace=0.1)
    (check,) = rung_checks(evidence([0.0] * 12, RISING, suites=suites, proxy=RISING, stopping=late))
    assert check.recall is not None and check.recall.value == 0, "only below the grace share"


def test_finishers_alone_would_hide_a_high_correlation_and_are_not_used() -> None:
    """A true .9: about .65 to .7 among those that were promoted, .9 among the audits."""
    rng = np.random.default_rng(11)
    rho = 2 * math.sin(math.pi * 0.9 / 6)
    naive, told, covered = [], [], 0
    for _ in range(25):
        n = 60
        audits = [i < 20 for i in range(n)]
        rung = rng.standard_normal(n)
        full = rho * rung + math.sqrt(1 - rho**2) * rng.standard_normal(n)
        promoted = np.zeros(n, dtype=bool)
        promoted[np.argsort(-rung)[: n // 3]] = True
        finished = [bool(p) or a for p, a in zip(promoted, audits, strict=True)]
        among = rank_correlation(rung[promoted], full[promoted])
        assert among is not None
        naive.append(among.value)
        (check,) = rung_checks(
            evidence(list(0.01 * rung), list(0.01 * full), audits=audits, finished=finished)
        )
        assert check.gain is not None and check.audits == 20
        told.append(check.gain.value)
        covered += check.gain.low <= 0.9 <= check.gain.high
    assert np.mean(naive) < 0.75
    assert np.mean(told) > 0.84 and covered >= 22
