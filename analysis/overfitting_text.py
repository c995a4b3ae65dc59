"""Overfitting in words: warnings, gaps, and which trainings ended early."""

from collections.abc import Collection

from keepgain.analysis import words
from keepgain.analysis.overfitting import Finding, Gap, Overfitting
from keepgain.analysis.stats import Estimate
from keepgain.core.record import SweepRecord
from keepgain.core.scorers import in_points

MAX_FINDINGS = 3
"""More are counted, and listed in JSON."""


def said(
    found: Overfitting, sweep: SweepRecord, chosen: str | None, shown: Collection[str]
) -> list[str]:
    """Lines below the tables.

    Args:
        chosen: The decision's trial.
        shown: Trials whose gap is told: the decision's, or every size's candidate.
    """
    lines = [_gap(g) for g in found.gaps if g.trial in shown]
    first = sorted(found.findings, key=lambda f: f.trial != chosen)
    lines += [_finding(f, chosen) for f in first[:MAX_FINDINGS]]
    if first:
        more = len(first) - MAX_FINDINGS
        lines.append(
            f"Overfitting was looked for in {words.count(found.runs, 'run')} by "
            f"{words.count(found.comparisons, 'comparison')}, whose intervals hold together at "
            "95 %: fewer than 0.05 such warnings are expected by chance"
            + (f"; {more} more: --format json." if more > 0 else ".")
        )
    stopped = [r for r in sweep.runs if r.stopped_early is not None and r.made_from is None]
    if stopped:
        trained = [r for r in sweep.runs if r.kind == "trial" and r.made_from is None]
        tokens = [r.tokens for r in stopped]
        span = f"{min(tokens):,}" + (f" to {max(tokens):,}" if min(tokens) < max(tokens) else "")
        lines.append(
            f"Stopped early by their validation loss: {len(stopped)} of "
            f"{words.count(len(trained), 'run')}, at {span} tokens; they count as complete."
        )
    return [words.clean(line) for line in lines]


def _gap(gap: Gap) -> str:
    return (
        f"Train-validation gap of {gap.trial[:6]}: {_interval(gap.gap, 1, 3)} nats per token "
        f"({gap.validation:.3f} on validation items, {gap.training:.3f} on as many training rows)."
    )


def _finding(finding: Finding, chosen: str | None) -> str:
    who = f"{finding.trial[:6]} of {finding.model}"
    who = f"the recommended trial {who}" if finding.trial == chosen else f"trial {who}"
    points = in_points(finding.scorer)
    unit = "points" if points else "(up is good)"
    change = _interval(finding.change, 100 if points else 1, 1 if points else 3)
    return (
        f"Warning: {who} (seed {finding.seed}) overfits: from {finding.before:,} to "
        f"{finding.after:,} tokens its validation loss changed by {_interval(finding.loss, 1, 3)} "
        f"nats per token, and {finding.suite} ({finding.measures}) by {change} {unit} on "
        f"{words.count(finding.change.n_items, 'item')}."
    )


def _interval(e: Estimate, factor: int, digits: int) -> str:
    assert e.value is not None, "only measured figures come here"
    if e.low is None or e.high is None:
        return f"{factor * e.value:+.{digits}f} (interval unknown)"
    low, high = (f"{factor * v:+.{digits}f}" for v in (e.low, e.high))
    return f"{factor * e.value:+.{digits}f} [{low}, {high}]"
