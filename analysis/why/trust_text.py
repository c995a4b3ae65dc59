"""Whether the search itself is to be trusted, in words: rungs, overfitting, rounds, ranks."""

from collections.abc import Sequence
from dataclasses import asdict

from keepgain.analysis import words
from keepgain.analysis.overfitting import Overfitting
from keepgain.analysis.overfitting_text import said as overfitting_lines
from keepgain.analysis.rung_check import MIN_AUDITS, RungCheck
from keepgain.analysis.rung_check import said as rung_line
from keepgain.analysis.why.ranks import Stability
from keepgain.analysis.why.rounds import Rounds
from keepgain.analysis.why.section import Section, refusals, table
from keepgain.core.record import SweepRecord


def rung_section(checks: Sequence[RungCheck]) -> Section:
    """Did the rungs tell the full budget?"""
    heading = "Rungs"
    data = [
        {
            "model": c.model,
            "share": c.share,
            "audits": c.audits,
            "assessed": c.assessed,
            "unsafe": bool(c.faults),
            "agreements": {name: asdict(a) for name, a in c.agreements.items()},
        }
        for c in checks
    ]
    if not checks:
        return Section("rungs", heading, "not assessed: no trial was scored at a rung.", data)
    unsafe = [c for c in checks if c.faults]
    assessed = [c for c in checks if c.assessed]
    if unsafe:
        names = words.join([f"{c.model} at {100 * c.share:.3g} % of the budget" for c in unsafe])
        said = f"early scores do not tell the end for {names}: do not stop trials there."
    elif assessed:
        said = f"of {len(assessed)} rungs that were assessed none is shown to mislead."
    else:
        said = f"not assessed: it takes {MIN_AUDITS} audit trials on a base model."
    rows = [
        (c.model, f"{100 * c.share:.3g} %", f"{c.audits}", name, _interval(a.value, a.low, a.high))
        for c in assessed
        for name, a in c.agreements.items()
    ]
    header = ("size", "rung", "audits", "agreement with the full budget", "value")
    notes = tuple(f"Rung check, {rung_line(c)}" for c in checks if not c.assessed)
    return Section("rungs", heading, said, data, table("Rungs", header, rows), notes)


def overfitting_section(
    found: Overfitting, sweep: SweepRecord, chosen: str | None, shown: set[str]
) -> Section:
    """Did trials overfit?"""
    if not found.runs:
        said = "not assessed: no run has losses at two rungs."
    elif found.findings:
        trials = {f.trial for f in found.findings}
        said = (
            f"{words.count(len(trials), 'trial')} got worse on a suite while the validation loss "
            f"fell, of {words.count(found.runs, 'run')} looked at."
        )
    else:
        said = f"not found in {words.count(found.runs, 'run')} ({found.comparisons} comparisons)."
    return Section(
        "overfitting",
        "Overfitting",
        said,
        asdict(found) | {"confidence": found.confidence},
        notes=tuple(overfitting_lines(found, sweep, chosen, shown)),
    )


def round_section(found: Sequence[Rounds]) -> Section:
    """What rounds of tuning did to what was known before."""
    heading = "Rounds of tuning"
    if not found:
        said = "this sweep starts from base models (a next round: `models: [{start: ID/best}]`)."
        return Section("rounds", heading, said, [])
    parts = []
    for r in found:
        if r.backward_transfer is None or r.average_forgetting is None:
            parts.append(f"{r.model}: earlier tasks have several units, so they have no mean.")
            continue
        went = "lost" if r.backward_transfer < 0 else "won"
        parts.append(
            f"over its rounds {r.model} {went} {abs(r.backward_transfer):.3f} on what it knew "
            f"before (backward transfer {r.backward_transfer:+.3f}); against the best round of "
            f"each task it is {r.average_forgetting:+.3f} worse (average forgetting)."
        )
    rows = [
        (r.model, task, r.rounds[learnt], *(f"{row[i]:.3f}" for row in r.scores), f"{r.items[i]:,}")
        for r in found
        for i, (task, learnt) in enumerate(zip(r.tasks, r.learnt, strict=True))
    ]
    header = ("size", "suite", "learnt in", "base", "previous round", "this round", "items")
    notes = (
        f"Scores on {found[0].split} after each round, means over "
        f"{words.count(found[0].seeds, 'seed')} of the last one. Average forgetting takes the best "
        "of earlier rounds, so it is biased upwards.",
    )
    return Section(
        "rounds",
        heading,
        " ".join(parts),
        [asdict(r) for r in found],
        table("Scores after each round", header, rows),
        notes,
    )


def rank_section(found: Sequence[Stability]) -> Section:
    """Would the same trials come out on top again?"""
    heading = "Stability of the ranking"
    done = [s for s in found if s.tau is not None]
    refused = refusals(
        {
            f"{s.between}" + (f" on {s.model}" if s.model else ""): s.reason
            for s in found
            if s.reason is not None
        }
    )
    parts = [
        f"{s.objective} between {s.between}{f' on {s.model}' if s.model else ''}: tau "
        f"{s.tau:.2f}, {round(100 * (s.overlap or 0))} % of the best {s.top} are the same;"
        for s in done[:4]
    ]
    rows = [
        (
            s.between,
            s.model or "–",
            s.objective,
            _interval(s.tau or 0.0, s.low or 0.0, s.high or 0.0),
            f"{100 * (s.overlap or 0):.0f} % of {s.top}",
            f"{s.trials}",
        )
        for s in done
    ]
    header = ("between", "size", "objective", "Kendall's tau", "same best", "trials")
    notes = (
        ("tau is 1 for the same ranking, 0 for unrelated ones; 95 % intervals over trials.",)
        if done
        else ()
    )
    said = " ".join(parts).rstrip(";")
    return Section(
        "ranks",
        heading,
        " ".join(p for p in (f"{said}." if said else "", refused) if p)
        or "not assessed: nothing was ranked twice.",
        [asdict(s) for s in found],
        table("Stability of the ranking", header, rows),
        notes,
    )


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"
