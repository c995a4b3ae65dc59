"""Were the rungs to be trusted? Told from audit trials, which ran to the end whatever their rank.

Early stopping rests on one belief: what ranks high at a rung ranks high at the full budget. Trials
that were *promoted* cannot test it: they all ranked high at the rung, and a range cut short hides a
correlation (a true rank correlation of .9 shows as .65 to .7 among finishers).
So only audits count: quasi-random trials named before any result was known, all of which finished.

For each base model and rung, over its audits, rung against full budget, on validation:

* top-third recall: of the audits in the best third at the full budget, how many the rung would have
  kept. Ranked as the scheduler ranks: by `layered_order`, below the grace share by `early_order`.
  Interval: Clopper & Pearson (Biometrika 1934), which is wide: a third of 12 audits are 4.
* Spearman's rank correlation of gain, and of forgetting. Interval: Fisher's z with the variance
  (1 + r^2/2) / (n - 3) of Bonett & Wright (Psychometrika 2000); it covered .94-.96 in simulation
  with 12 and 24 trials (a test repeats it).

All intervals are two-sided 95 %. Below 12 audits: not assessed. A rung was unsafe only if an upper
limit is below .7: the data must show it. Forgetting speaks only from the grace share on, since
nothing is stopped for it alone before.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from keepgain.analysis.fronts import early_order, layered_order
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import build_table
from keepgain.core.items import Floats
from keepgain.core.record import Evidence, Stopping, SuiteInfo
from keepgain.core.status import Stage, TrialStatus

MIN_AUDITS = 12
UNSAFE_BELOW = 0.7
WITHOUT_STOPPING = Stopping(keep=1 / 3, grace=0.0)
"""What is asked of a sweep that stopped nothing: would it have been safe?"""


@dataclass(frozen=True)
class Agreement:
    """How well a rung tells the full budget, with a two-sided 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def unsafe(self) -> bool:
        """Even the upper limit is too low."""
        return self.high < UNSAFE_BELOW


@dataclass(frozen=True)
class RungCheck:
    """One rung of one base model."""

    model: str
    share: float
    """Of the full budget."""
    audits: int
    """That finished and were scored at this rung."""
    recall: Agreement | None = None
    """None, as the next two: not assessed, or every audit scored the same."""
    gain: Agreement | None = None
    forgetting: Agreement | None = None
    ranked_by_forgetting: bool = True
    """False below the grace share, where nothing is stopped for forgetting."""

    @property
    def assessed(self) -> bool:
        """There were enough audits."""
        return self.audits >= MIN_AUDITS

    @property
    def agreements(self) -> dict[str, Agreement]:
        """What could be measured, by name."""
        found = {
            "top-third recall": self.recall,
            "rank correlation of gain": self.gain,
            "rank correlation of forgetting": self.forgetting,
        }
        return {name: a for name, a in found.items() if a is not None}

    @property
    def faults(self) -> dict[str, Agreement]:
        """What shows that early stopping at this rung was not safe."""
        silent = None if self.ranked_by_forgetting else self.forgetting
        return {name: a for name, a in self.agreements.items() if a.unsafe and a is not silent}


@dataclass(frozen=True)
class Scored:
    """The audits of one base model at one rung; arrays of shape [audits]."""

    gain: Floats
    forgetting: Floats
    """Zeros without forgetting suites."""
    excess: Floats
    """By how much the worst suite drops beyond the limit; 0 within it."""
    proxy_gain: Floats | None = None
    """At a rung, by the suites that stand in for others; None: there are none."""


def rung_checks(evidence: Evidence) -> tuple[RungCheck, ...]:
    """Every rung below the full budget of every base model that has audits.

    Returns:
        In the record's order of models, rungs ascending; empty for a sweep without audits or with
        a single rung.
    """
    policy = evidence.sweep.stopping or WITHOUT_STOPPING
    limit = evidence.sweep.question.max_forgetting
    stopped = {r.run_key for r in evidence.sweep.runs if r.stopped_early is not None}
    checks = []
    for model, audits in _audits(evidence).items():
        rungs = max(len(tokens) for tokens in audits.values())
        audits = {
            key: t + t[-1:] * (rungs - len(t)) if key in stopped else t for key, t in audits.items()
        }
        audits = {key: t for key, t in audits.items() if len(t) == rungs}
        tokens = [{k: t[r] for k, t in audits.items()} for r in range(rungs)]
        at = [_figures(evidence, t, evidence.sweep.suites) for t in tokens]
        for r, here in enumerate(at[:-1]):
            both = [key for key in at[-1] if key in here]
            # One that has stopped early stands at a later rung where it stopped.
            apart = [t for t in audits.values() if t[r] < t[-1]] or list(audits.values())
            share = float(np.median([t[r] / t[-1] for t in apart]))
            rung, full = (_scored([f[k] for k in both], limit) for f in (here, at[-1]))
            if any(s.proxy_for for s in evidence.sweep.suites):
                smooth = _figures(evidence, tokens[r], _with_proxies(evidence.sweep.suites))
                rung = replace(rung, proxy_gain=np.array([smooth[key][0] for key in both]))
            checks.append(check_rung(model, share, rung, full, policy))
    return tuple(checks)


def check_rung(model: str, share: float, rung: Scored, full: Scored, policy: Stopping) -> RungCheck:
    """Compares the same audits, in the order of their draws, at a rung and at the full budget.

    Args:
        share: Of the full budget, at the rung.
    """
    audits = len(full.gain)
    if audits < MIN_AUDITS:
        return RungCheck(model, share, audits)
    layered = share >= policy.grace - 1e-9
    order = _layered(rung) if layered else _early(rung)
    kept = set(order[: max(1, round(policy.keep * audits))])
    best = _layered(full)[: max(1, round(audits / 3))]
    return RungCheck(
        model,
        share,
        audits,
        recall=proportion(sum(i in kept for i in best), len(best)),
        gain=rank_correlation(rung.gain, full.gain),
        forgetting=rank_correlation(rung.forgetting, full.forgetting),
        ranked_by_forgetting=layered,
    )


def rank_correlation(a: Floats, b: Floats) -> Agreement | None:
    """Spearman's correlation with its interval; ties share a rank. None without any difference.

    Args:
        a: Shape [n], as `b`; n > 3.
    """
    ranks_a, ranks_b = _ranks(a), _ranks(b)
    if np.ptp(ranks_a) == 0 or np.ptp(ranks_b) == 0:
        return None
    r, n = float(np.corrcoef(ranks_a, ranks_b)[0, 1]), len(a)
    # At +-1 z is infinite: half a step to the next value that n ranks can give (one swap).
    most = 1 - 6 / (n * (n * n - 1))
    inner = min(max(r, -most), most)
    reach = float(special.ndtri(0.975)) * math.sqrt((1 + inner**2 / 2) / (n - 3))
    z = math.atanh(inner)
    return Agreement(r, min(r, math.tanh(z - reach)), max(r, math.tanh(z + reach)))


def proportion(hits: int, of: int) -> Agreement:
    """A share with its exact interval (Clopper & Pearson)."""
    low = float(special.betaincinv(hits, of - hits + 1, 0.025)) if hits else 0.0
    high = float(special.betaincinv(hits + 1, of - hits, 0.975)) if hits < of else 1.0
    return Agreement(hits / of, low, high)


def _layered(scored: Scored) -> list[int]:
    return layered_order(scored.gain, scored.forgetting, scored.excess)


def _early(scored: Scored) -> list[int]:
    smooth = scored.gain if scored.proxy_gain is None else scored.proxy_gain
    return early_order(scored.gain, smooth, scored.forgetting)


def _ranks(values: Floats) -> Floats:
    """Mean ranks; figures that differ in the last bits of a mean are equal."""
    _, inverse, counts = np.unique(np.round(values, 12), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[inverse]
    return ranks


def _audits(evidence: Evidence) -> dict[str, dict[str, list[int]]]:
    """Model → run key of each finished audit → tokens at which it was scored, ascending."""
    finished = {
        run.run_key: run
        for run in evidence.sweep.runs
        if run.audit and run.stage is Stage.SEARCH and run.status is TrialStatus.COMPLETED
    }
    tokens: dict[str, set[int]] = defaultdict(set)
    for key, scores in evidence.items:
        if key in finished and scores.split == "validation":
            tokens[key].add(scores.tokens)
    found: dict[str, dict[str, list[int]]] = {m.name: {} for m in evidence.sweep.models}
    for key, run in finished.items():
        if key in tokens and run.model in found:
            found[run.model][key] = sorted(tokens[key])
    return {model: audits for model, audits in found.items() if audits}


_Figures = tuple[float, float | None, float | None]
"""Gain, forgetting, worst drop."""


def _figures(
    evidence: Evidence, tokens: Mapping[str, int], suites: tuple[SuiteInfo, ...]
) -> dict[str, _Figures]:
    """Trial id → the audits as they stood at a rung, by the paired figures of every other table.

    Args:
        tokens: Run key → training tokens at the rung.
        suites: What each one measures.

    Returns:
        In the order of the draws; without those whose scores there are not complete.
    """
    audits = sorted(
        (r for r in evidence.sweep.runs if r.run_key in tokens), key=lambda r: r.number or 0
    )
    bases = [r for r in evidence.sweep.runs if r.kind == "base"]
    runs = (
        *bases,
        *(
            r.model_copy(update=dict.fromkeys(("tokens", "budget"), tokens[r.run_key]))
            for r in audits
        ),
    )
    keys = {r.run_key for r in bases}
    items = tuple(
        (key, scores)
        for key, scores in evidence.items
        if scores.split == "validation" and (key in keys or scores.tokens == tokens.get(key))
    )
    sweep = evidence.sweep.model_copy(update={"runs": runs, "suites": suites})
    measures = Measures(build_table(Evidence(sweep, items)))
    return {
        c.trial_id: (
            gain,
            measures.point(c, "validation", "forgetting"),
            measures.worst_drop(c, "validation"),
        )
        for c in measures.table.configurations
        if c.kind == "trial" and (gain := measures.point(c, "validation", "gain")) is not None
    }


def _with_proxies(suites: Sequence[SuiteInfo]) -> tuple[SuiteInfo, ...]:
    """A stand-in measures what its suite measures, and the suite nothing."""
    meant = {s.name: s.measures for s in suites}
    replaced = {s.proxy_for for s in suites if s.proxy_for}
    return tuple(
        s.model_copy(update={"measures": meant[s.proxy_for]})
        if s.proxy_for
        else s.model_copy(update={"measures": "behaviour"})
        if s.name in replaced
        else s
        for s in suites
    )


def _scored(figures: Sequence[_Figures], limit: float | None) -> Scored:
    most = math.inf if limit is None else limit
    return Scored(
        gain=np.array([gain for gain, _, _ in figures]),
        forgetting=np.array([lost or 0.0 for _, lost, _ in figures]),
        excess=np.array(
            [0.0 if worst is None else max(0.0, worst - most) for _, _, worst in figures]
        ),
    )


def said(check: RungCheck) -> str:
    """One line: what was found at a rung, or why nothing was."""
    where = f"{check.model} at {100 * check.share:.3g} % of the budget"
    if not check.assessed:
        return f"{where}: not assessed, {check.audits} audit trials of {MIN_AUDITS}."
    found = [f"{n} {a.value:.2f} [{a.low:.2f}, {a.high:.2f}]" for n, a in check.agreements.items()]
    return f"{where}: {', '.join(found)} ({check.audits} audit trials)."


def caution(checks: Sequence[RungCheck], stopped: bool) -> str | None:
    """The warning, with its figures; None where no rung is shown to be unsafe.

    Args:
        stopped: Trials were stopped early in this sweep.
    """
    faults = [
        f"{c.model} at {100 * c.share:.3g} % of the budget: {name} {a.value:.2f}, at most "
        f"{a.high:.2f}"
        for c in checks
        for name, a in c.faults.items()
    ]
    if not faults:
        return None
    what = "was unsafe here" if stopped else "would have been unsafe here"
    advice = "trials that were stopped may have been better; " if stopped else ""
    return (
        f"Early stopping {what}: by trials that ran to the end whatever their rank, the rungs do "
        f"not tell the full budget ({'; '.join(faults)}); {advice}use a later first rung or "
        "`search.stopping: {enabled: false}`."
    )
