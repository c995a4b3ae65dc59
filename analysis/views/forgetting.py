"""`analyze ID forgetting`: what was lost, by capability and group; is it lost, or only masked?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from keepgain.analysis import cells, words
from keepgain.analysis.behaviour.capabilities import ByCapability, by_capability
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.groups import group_figures
from keepgain.analysis.behaviour.recovery import Recovery, recoveries
from keepgain.analysis.churn import Churn
from keepgain.analysis.descriptions import churn_of
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.measures import Measures
from keepgain.analysis.result import Analysis
from keepgain.analysis.slices import cautious
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration
from keepgain.analysis.views.decision import origin
from keepgain.core.config import Split
from keepgain.core.scorers import scorer

NOTHING = "No candidate of any size has scores on this split: there is nothing to tell."
NO_SUITE = "forgetting is not measured, or its suites have no unit in common"
_READ = (
    "Drops are base minus tuned on the same items: positive is worse. ± is half a 95 % interval "
    "(items, and seed variance pooled within a size; ±? unknown).",
    "The macro-average counts every capability once, however many suites it has. The worst of "
    "several is biased upwards: its interval bounds all of them at once.",
)
_MASKED = (
    "Masked: share of the loss that comes back when the text of `recover` stands before the "
    "prompt; near 1 the answers are still there, near 0 they are gone. Only where the loss is "
    "resolved. A text that changes the base too (column base + text) moves it."
)
_GROUPS = (
    "Groups: of at least 30 items each; intervals bound all groups of a field at once, and of one "
    "seed are over items alone. By how much the worst of several is biased: --format json."
)
_VERDICTS = {"not_resolved": "not resolved", "nothing_lost": "nothing lost"}


@dataclass(frozen=True)
class _Found:
    """All of one candidate."""

    who: Configuration
    capabilities: ByCapability | None
    churn: tuple[Churn, ...]
    distances: tuple[tuple[str, Estimate], ...]
    """(suite, nats per token from the base)."""
    recovered: tuple[Recovery, ...]
    groups: tuple[tuple[str, Figure], ...]
    """(suite, figure), of suites that decide."""


def forgetting_view(analysis: Analysis) -> View:
    """Of every size's candidate, on the split of the decision."""
    split = analysis.decision.split
    measures = next((r.measures for r in analysis.rows if r.measures is not None), None)
    candidates = [s.size.candidate for s in analysis.sizes if s.size.candidate is not None]
    scored = [c for c in candidates if c.has(split)] if measures is not None else []
    found = [_find(measures, c, split) for c in scored if measures is not None]
    grids = (
        _capabilities(found),
        _recovered(found),
        _churn(found),
        _distances(found),
        _groups(found),
    )
    return View(
        name="forgetting",
        title=f"{origin(analysis, split)} · forgetting",
        paragraphs=tuple(_said(f) for f in found) or (NOTHING,),
        grids=tuple(g for g in grids if g.rows),
        notes=_notes(found),
        data={"candidates": [_data(f) for f in found], "rows": _rows(found)},
    )


def _find(measures: Measures, who: Configuration, split: Split) -> _Found:
    return _Found(
        who,
        by_capability(measures, who, split),
        tuple(c for c in churn_of(measures, who, split) if c.measures == "forgetting"),
        _distances_of(measures.behaviours, who, split),
        recoveries(measures, who, split),
        _groups_of(measures, who, split),
    )


def _distances_of(
    beside: Measures | None, who: Configuration, split: Split
) -> tuple[tuple[str, Estimate], ...]:
    """Suites that compare with the base: they show drift that no answer shows yet."""
    if beside is None:
        return ()
    own = next((c for c in beside.table.configurations if c.trial_id == who.trial_id), None)
    if own is None or not own.has(split):
        return ()
    return tuple(
        (name, cautious(beside.measure(own, split, f"score:{name}")))
        for name, suite in beside.table.suites[split].items()
        if scorer(suite.info.scorer).needs == "base" and name in own.scores[split]
    )


def _groups_of(
    measures: Measures, who: Configuration, split: Split
) -> tuple[tuple[str, Figure], ...]:
    base = measures.base(who.model)
    before = base.scores.get(split, {}) if base is not None else {}
    return tuple(
        (name, figure)
        for name, suite in measures.table.suites[split].items()
        if name in who.scores[split]
        for figure in group_figures(suite, who.scores[split][name], before.get(name))
    )


# -- words --------------------------------------------------------------------------------------


def _said(found: _Found) -> str:
    """One paragraph a candidate."""
    c, label = found.capabilities, words.clean(found.who.label)
    if c is None:
        return f"{label}: {NO_SUITE}."
    n = len(c.capabilities)
    parts = [
        f"{label}: the macro-average drop over {n} {'capability' if n == 1 else 'capabilities'} is "
        f"{_between(c.macro)}; the worst one is {words.clean(c.worst.name)}, "
        f"{_between(c.worst_drop)}",
        *(_masked_said(r) for r in found.recovered),
    ]
    return "; ".join(parts) + "."


def _masked_said(r: Recovery) -> str:
    name = words.clean(r.suite)
    if r.masked is None:
        return f"{name}: {_VERDICTS[r.verdict]}, so no masked share"
    said = f"{name}: {_between(r.masked)} of what was lost is only masked"
    if not r.text_hurts:
        return said
    return (
        f"{said}, but the text alone costs the base {_between(r.cost)}: a low share proves no loss"
    )


def _between(e: Estimate) -> str:
    if e.value is None:
        return "unknown"
    if e.low is None or e.high is None:
        return f"{e.value:.3f} (interval unknown)"
    return f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"


def _notes(found: Sequence[_Found]) -> tuple[str, ...]:
    said = list(_READ)
    told = [f.capabilities for f in found if f.capabilities is not None]
    if told and not any(c.declared for c in told):
        said.append("No suite names a `capability`: each one counts as its own.")
    said += [
        f"{words.clean(c.who.label)}: a resampled worst drop is {cells.plus(c.bias)} off on average"
        for c in told
        if c.bias is not None and len(c.capabilities) > 1
    ]
    if any(f.recovered for f in found):
        said.append(_MASKED)
    if any(f.groups for f in found):
        said.append(_GROUPS)
    return tuple(said)


# -- tables -------------------------------------------------------------------------------------


def _grid(title: str, header: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Grid:
    return Grid(title, tuple(header), tuple(rows), tuple(False for _ in rows))


def _capabilities(found: Sequence[_Found]) -> Grid:
    rows: list[tuple[str, ...]] = []
    for f in found:
        c, who = f.capabilities, words.clean(f.who.label)
        if c is None:
            continue
        for one in c.capabilities:
            suites = words.clean(words.join(one.suites))
            rows.append((who, words.clean(one.name), suites, cells.signed(one.drop), _n(one.drop)))
        rows.append((who, "macro-average", "", cells.signed(c.macro), _n(c.macro)))
        worst = f"worst: {words.clean(c.worst.name)}"
        rows.append((who, worst, "", _spread(c.worst_drop), _n(c.worst_drop)))
    return _grid(
        "Forgetting by capability", ("trial", "capability", "suites", "drop", "items"), rows
    )


def _n(e: Estimate) -> str:
    return f"{e.n_items:,}"


def _spread(e: Estimate) -> str:
    """Of an interval that need not be symmetric."""
    return "–" if e.value is None else cells.interval(e.value, e.low, e.high)


def _recovered(found: Sequence[_Found]) -> Grid:
    rows = []
    for f in found:
        for r in f.recovered:
            share = _VERDICTS.get(r.verdict, "") if r.masked is None else _spread(r.masked)
            levels = (cells.level(e) for e in (r.base, r.tuned, r.tuned_with, r.base_with))
            label, suite = words.clean(f.who.label), words.clean(r.suite)
            rows.append((label, suite, *levels, cells.signed(r.lost), share))
    header = ("trial", "suite", "base", "tuned", "tuned + text", "base + text", "lost", "masked")
    return _grid("Lost, or only masked", header, rows)


def _churn(found: Sequence[_Found]) -> Grid:
    rows = [
        (words.clean(f.who.label), words.clean(c.suite), cells.level(c.lost), cells.level(c.won))
        for f in found
        for c in f.churn
    ]
    header = ("trial", "suite", "right, then wrong", "wrong, then right")
    return _grid("Answers that flipped, share of items", header, rows)


def _distances(found: Sequence[_Found]) -> Grid:
    rows = [
        (words.clean(f.who.label), words.clean(suite), cells.level(e))
        for f in found
        for suite, e in f.distances
    ]
    return _grid("Distance from the base", ("trial", "suite", "nats per token"), rows)


def _groups(found: Sequence[_Found]) -> Grid:
    rows = []
    for f in found:
        for suite, g in f.groups:
            change = "–" if g.change is None or g.change.value is None else _signed(g.change)
            before = "–" if g.base is None or g.base.value is None else f"{g.base.value:.3f}"
            which = words.clean(g.note.partition(";")[0])
            start = (words.clean(f.who.label), words.clean(suite), g.name, which)
            rows.append((*start, _spread(g.estimate), before, change))
    header = ("trial", "suite", "figure", "which", "tuned", "base", "change")
    grid = _grid("Groups", header, rows)
    return replace(grid, droppable=("base", "which"))


def _signed(e: Estimate) -> str:
    assert e.value is not None
    known = e.low is not None and e.high is not None
    return cells.plus(e.value) + (f" [{e.low:+.3f}, {e.high:+.3f}]" if known else "")


# -- JSON ---------------------------------------------------------------------------------------


def _rows(found: Sequence[_Found]) -> list[dict[str, object]]:
    """For `--format csv`: a row a capability."""
    return [
        {
            "trial": f.who.trial_id,
            "model": f.who.model,
            "capability": one.name,
            "suites": "+".join(one.suites),
            "drop": one.drop.value,
            "low": one.drop.low,
            "high": one.drop.high,
            "n": one.drop.n_items,
        }
        for f in found
        if f.capabilities is not None
        for one in f.capabilities.capabilities
    ]


def _data(f: _Found) -> dict[str, object]:
    c = f.capabilities
    return {
        "trial": f.who.trial_id,
        "model": f.who.model,
        "capabilities": []
        if c is None
        else [
            {"name": one.name, "suites": list(one.suites), "drop": asdict(one.drop)}
            for one in c.capabilities
        ],
        "macro_average": None if c is None else asdict(c.macro),
        "worst": None
        if c is None
        else {"capability": c.worst.name, "drop": asdict(c.worst_drop), "bias_of_draws": c.bias},
        "churn": [
            {"suite": one.suite, "lost": asdict(one.lost), "won": asdict(one.won)}
            for one in f.churn
        ],
        "distances": [{"suite": name, "nats_per_token": asdict(e)} for name, e in f.distances],
        "recovered": [asdict(r) for r in f.recovered],
        "groups": [{"suite": name} | asdict(g) for name, g in f.groups],
    }
