"""What `sweep judge` says: agreement with people first, then figures, then what it took."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.judge_agreement import agreement
from keepgain.analysis.behaviour.judged import figures_of, judged_usable, standing
from keepgain.analysis.stats import Estimate
from keepgain.core.judged import Counts, Judged, Of
from keepgain.core.record import RunRecord
from keepgain.core.status import Stage
from keepgain.core.terminal import clean
from keepgain.sweeps.judging.ask import Estimate as Cost
from keepgain.sweeps.judging.judge import Result
from keepgain.sweeps.judging.material import Sweep
from keepgain.sweeps.judging.task import Task


@dataclass(frozen=True)
class Who:
    """A configuration: its runs that were judged, those of confirmation where there are any."""

    label: str
    trial_id: str
    runs: tuple[str, ...]
    base: tuple[str, ...]


def estimate_line(task: Task, found: Cost) -> str:
    """Of a dry run."""
    material, money = task.material, "no prices in the spec"
    if found.usd is not None:
        money = f"about ${found.usd:.4g} and the replies, of a few tokens each"
    return (
        f"{material.suite} ({material.split}): {len(material.answers)} runs, "
        f"{found.questions:,} questions, {found.known:,} replies known; about "
        f"{found.input_tokens:,} tokens in: {money}; nothing was sent"
    )


def result_lines(sweep: Sweep, task: Task, result: Result) -> Iterator[str]:
    """One suite."""
    judged, usage = result.judged, result.usage
    yield (
        f"{judged.suite} ({judged.split}), judged by {clean(judged.judge.model)} at "
        f"{judged.judge.base_url}"
    )
    for of in _kinds(judged):
        yield f"  {of}: {standing(judged, of)}"
    if judged.strange_labels:
        yield f"  {judged.strange_labels} labels are of items that this suite does not have"
    if judged.judges > 1:
        yield (
            f"  {judged.judges} judges or rubrics were tried on these answers: the one that suits "
            "best is not evidence"
        )
    for name, counts in (("scores", judged.scores), ("pairs", judged.pairs)):
        if counts is not None:
            yield f"  {name}: {_counts(counts)}"
    yield ""
    yield from _table(sweep, result)
    yield ""
    priced = task.endpoint.usd(0, 0) is not None
    money = f", ${usage.usd:.4g}; ${result.paid:.4g} in all" if priced else ""
    yield (
        f"{usage.answers} replies asked for ({usage.cached} were known), {usage.input_tokens:,} "
        f"tokens in, {usage.output_tokens:,} out{money}"
    )
    kept = "recorded" if result.recorded else "in the record already"
    yield f"{kept}: analyze {sweep.folder.name} behaviour --split {judged.split}"


def to_json(sweep: Sweep, result: Result) -> dict[str, Any]:
    """One suite, for programs."""
    judged = result.judged
    agreed: dict[str, Any] = {}
    for of in _kinds(judged):
        found = agreement(judged.labelled, of)
        agreed[of] = {
            "agreement": None if found is None else vars(found),
            "not_usable": judged_usable(judged, of),
        }
    return {
        "judge": {"model": judged.judge.model, "base_url": judged.judge.base_url},
        "people": agreed,
        "scores": judged.scores.model_dump(),
        "pairs": None if judged.pairs is None else judged.pairs.model_dump(),
        "judges_tried": judged.judges,
        "configurations": [
            {"trial": who.trial_id, "label": who.label, "figures": [_figure(f) for f in figures]}
            for who, figures in _figures(sweep, result)
        ],
        "usage": vars(result.usage),
        "paid_usd": result.paid,
        "recorded": result.recorded,
    }


def configurations(runs: Sequence[RunRecord], judged: Sequence[str]) -> list[Who]:
    """Bases first; of a trial that was confirmed, the search run is left out: it was selected."""
    here = [r for r in runs if r.run_key in set(judged)]
    base = {r.model: r.run_key for r in here if r.kind == "base"}
    found = []
    for trial_id in dict.fromkeys(r.trial_id for r in here):
        own = [r for r in here if r.trial_id == trial_id]
        confirmed = [r for r in own if r.stage is Stage.CONFIRM] or own
        first = confirmed[0]
        before = (base[first.model],) if first.kind != "base" and first.model in base else ()
        found.append(Who(first.label, trial_id, tuple(r.run_key for r in confirmed), before))
    return sorted(found, key=lambda w: bool(w.base))


def _figures(sweep: Sweep, result: Result) -> Iterator[tuple[Who, list[Figure]]]:
    known = list(dict.fromkeys([*result.items.scores, *result.items.pairs]))
    for who in configurations(sweep.evidence.sweep.runs, known):
        yield who, figures_of(result.judged, result.items, who.runs, who.base)


def _table(sweep: Sweep, result: Result) -> Iterator[str]:
    names = {"score": "judge's score", "won": "win rate", "order": "order decides"}
    rows = [("", "items", "runs", names["score"], "change from base", names["won"], names["order"])]
    for who, figures in _figures(sweep, result):
        of = {f.name: f for f in figures}
        score, won = of.get("judge's score"), of.get("win rate against the base")
        order, any_of = of.get("order decides"), score or won
        rows.append(
            (
                clean(who.label),
                "0" if any_of is None else str(any_of.estimate.n_items),
                str(len(who.runs)),
                _said(score.estimate if score else None),
                _said(score.change if score else None),
                _said(won.estimate if won else None),
                _said(order.estimate if order else None),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _kinds(judged: Judged) -> list[Of]:
    return ["scores"] if judged.pairs is None else ["scores", "pairs"]


def _counts(counts: Counts) -> str:
    said = f"{counts.questions:,} different questions"
    if counts.unreadable:
        said += f", {counts.unreadable:,} asked again since the first reply could not be read"
    return f"{said}, {counts.missing:,} without a reply that could be read: left out"


def _said(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f} (interval unknown)"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _figure(figure: Figure) -> dict[str, Any]:
    said = {n: getattr(figure, n) for n in ("name", "unit", "direction", "note")}
    of = {n: getattr(figure, n) for n in ("estimate", "base", "change")}
    return said | {n: None if e is None else vars(e) for n, e in of.items()}
