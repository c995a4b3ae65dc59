"""The decision: its headline, and what is told below its tables."""

from collections.abc import Sequence

from keepgain.analysis import given_text, words
from keepgain.analysis.cells import cost, level, signed
from keepgain.analysis.edges import Edge
from keepgain.analysis.fronts import WITHIN
from keepgain.analysis.inference_text import said as inference_lines
from keepgain.analysis.judge import Flip
from keepgain.analysis.objectives import SINCE_PREVIOUS
from keepgain.analysis.overfitting_text import said as overfitting_lines
from keepgain.analysis.result import Analysis
from keepgain.analysis.reviewed import said as review_lines
from keepgain.analysis.rung_check import said as rung_line
from keepgain.analysis.served_text import said as served_lines
from keepgain.analysis.stats import Estimate
from keepgain.analysis.tables import MAX_ROWS, chosen_trials, sliced
from keepgain.core.config import Split
from keepgain.core.items import MIN_SLICE_ITEMS
from keepgain.core.record import LookRecord, short_id

MAX_EXCLUDED = 5
TITLES = {
    "recommended": "RECOMMENDED",
    "tied": "RECOMMENDED (settings tied)",
    "provisional": "PROVISIONAL",
    "infeasible": "INFEASIBLE",
    "not_resolved": "NOT RESOLVED",
    "do_not_fine_tune": "DO NOT FINE-TUNE",
}


def headline(analysis: Analysis) -> str:
    """Which sweep, which split, how often its test items were looked at, which store."""
    if analysis.given is not None:
        return given_text.headline(analysis)
    store = words.clean(analysis.sweep.store)
    return " · ".join([origin(analysis, analysis.decision.split), *([store] if store else [])])


def origin(analysis: Analysis, split: Split, *, decided: bool = True) -> str:
    """What figures come from: the sweep, the split, and how often its test items were opened."""
    sweep = analysis.sweep
    parts = [words.clean(sweep.id), f"decided on {split}" if decided else split]
    if split == "test" and sweep.test_opened:
        times = "once" if sweep.test_opened == 1 else f"{sweep.test_opened} times"
        parts.append(f"test items opened {times}")
    return " · ".join(parts)


def notes(analysis: Analysis) -> list[str]:
    """How to read the tables, what would change the answer, warnings, and what was left out."""
    if analysis.given is not None:
        return given_text.notes(analysis)
    said = reading(analysis)
    shown = sum(r.split is not None for r in analysis.rows)
    if shown > MAX_ROWS:
        said.append(f"{shown - MAX_ROWS} more rows: --format csv or json.")
    said += inference_lines(analysis.decision.inference, analysis.scorers["gain"])
    said += flip_lines(analysis)
    said += check_lines(analysis)
    said += [f"Warning: {words.clean(w)}" for w in analysis.warnings]
    if analysis.excluded:
        first = "; ".join(
            f"{words.clean(short_id(e.trial))} {words.clean(e.reason)}"
            for e in analysis.excluded[:MAX_EXCLUDED]
        )
        rest = len(analysis.excluded) - MAX_EXCLUDED
        more = f"; and {rest} more (--format json)" if rest > 0 else ""
        said.append(f"Left out ({len(analysis.excluded)}): {first}{more}.")
    return said


def reading(analysis: Analysis) -> list[str]:
    """How to read the tables, a sentence each."""
    shown = [r for r in analysis.rows if r.split is not None]
    units = {n: u for n in ("gain", "forgetting") if (u := _unit(analysis, n))}
    front = next(iter(analysis.fronts.values()), None)
    of = words.join(front.points.names if front else WITHIN)
    said = [
        "".join(f"{n.capitalize()} in {u}. " for n, u in units.items())
        + "± is half a 95 % interval (items, and seed variance pooled within a size; ±? unknown). "
        f"● on the front of {of} of its base model, ○ within delta of it; the number "
        "is the share of resampled draws on the front, not a calibrated probability.",
    ]
    if any(SINCE_PREVIOUS in r.estimates for r in shown):
        said.append(
            "Gain and forgetting are against the original base; since previous: forgetting against "
            "the model that this round started from."
        )
    if any(r.split != analysis.decision.split for r in shown):
        said.append("(val.): validation scores of unconfirmed trials; never compared with test.")
    if slices := sliced(analysis):
        unseen = len(slices) - MAX_ROWS
        said.append(
            "Slices: gain against the base on the same items, up is good on every suite; no "
            f"interval below {MIN_SLICE_ITEMS} items or where no item differs"
            + (f"; {unseen} more: --format json." if unseen > 0 else ".")
        )
    return said


def flip_lines(analysis: Analysis) -> list[str]:
    """What would change the answer, a sentence each."""
    return [_flip(analysis, f) for f in _nearest(analysis.decision.flips)]


def check_lines(analysis: Analysis) -> list[str]:
    """Looks of the confirmation, rungs, edges of ranges, served forms and overfitting."""
    said = [_look(look, len(analysis.sweep.planned_looks)) for look in analysis.sweep.looks]
    said += [f"Rung check, {words.clean(rung_line(c))}" for c in analysis.rung_checks]
    said += [_edge(e) for e in analysis.edges]
    said += subset_lines(analysis)
    said += served_lines(analysis.served)
    said += [words.clean(line) for line in review_lines(analysis.sweep, analysis.reviews)]
    said += overfitting_lines(
        analysis.overfitting, analysis.sweep, analysis.decision.trial, chosen_trials(analysis)
    )
    return said


def subset_lines(analysis: Analysis) -> list[str]:
    """The sizes' candidates on a part of the items, beside the figures that decide."""
    main = {r.who.trial_id: r.estimates for r in analysis.rows if r.decided}
    said = []
    for one in analysis.subsets:
        items = words.join([f"{one.used[s]} of {one.of[s]} {words.clean(s)}" for s in one.used])
        what = "Without leaked items" if one.subset == "without_leaked" else "On synthetic items"
        also = " Every other figure is on the real ones." if one.subset != "without_leaked" else ""
        for trial, figures in one.trials.items():
            parts = [
                f"{name.replace('_', ' ')} {_figure(name, e)} ({_figure(name, main[trial][name])})"
                for name, e in figures.items()
            ]
            said.append(
                f"{what} ({items}), {words.clean(short_id(trial))}: {', '.join(parts)}; in "
                f"brackets as decided on.{also}"
            )
    return said


def _figure(name: str, estimate: Estimate) -> str:
    return level(estimate) if name == "task_score" else signed(estimate)


def _look(look: LookRecord, looks: int) -> str:
    """A look of the confirmation, and who got more seeds after it."""
    more = words.count(len(look.more), "trial")
    then = f"; {more} to {max(look.more.values())} seeds" if look.more else "; confirmation ends"
    return words.clean(f"Confirmation, look {look.look} of {looks}: {look.reason}{then}.")


def _edge(edge: Edge) -> str:
    end = "lower" if edge.side == "low" else "upper"
    return words.clean(
        f"Warning: the best trial of {edge.model} ({short_id(edge.trial)}) lies at the {end} edge "
        f"of {edge.name} ({words.plain(edge.value)}): the optimum may be beyond. "
        f"Wider: {edge.wider}"
    )


def _nearest(flips: Sequence[Flip]) -> list[Flip]:
    """The first flip of the margin and of each limit in either direction; JSON has all."""
    kept: dict[tuple[str, bool], Flip] = {}
    for flip in flips:
        out_of_reach = flip.what.startswith("max_cost") and flip.answer == "infeasible"
        if flip.what != "min_gain" and not out_of_reach:
            kept.setdefault((flip.what, flip.current is not None and flip.to > flip.current), flip)
    return list(kept.values())


def _flip(analysis: Analysis, flip: Flip) -> str:
    side = "below" if flip.current is None or flip.to <= flip.current else "above"
    to, now = (amount(analysis, flip.what, v) for v in (flip.to, flip.current))
    answer = flip.answer.replace("_", " ")
    change = f"{words.clean(flip.what)} {side} {to} (now {now})"
    return f"With {change} the answer would be: {words.clean(answer)}."


def amount(analysis: Analysis, what: str, value: float | None) -> str:
    """A value of the question in its own unit: `2.0 points`, `$0.013`; `none` where not set."""
    kind, _, name = what.partition(".")
    if value is None:
        return "none"
    if kind == "max_cost":
        return cost(name, value)
    return words.amount(value, analysis.scorers["forgetting" if "forgetting" in kind else "gain"])


def _unit(analysis: Analysis, name: str) -> str:
    unit = next(o.unit for o in analysis.objectives if o.name == name)
    return "" if unit == "suite unit" else unit
