"""What the figure of the fronts shows: which configurations, where, and what is told of each.

One panel a base model, since gain and forgetting are held against each model's own base.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keepgain.analysis import cells, objectives, words
from keepgain.analysis.fronts import WITHIN
from keepgain.analysis.report.thin import thinned
from keepgain.analysis.result import Analysis, Row
from keepgain.analysis.stats import Estimate
from keepgain.core.record import short_id
from keepgain.core.scorers import in_points
from keepgain.core.units import human_count

_MARGIN = 0.08
"""Room around the marks, as a share of their range."""
_NAMED_ON_FRONT = 6
"""Of the front, how many the sentence below a panel names."""


@dataclass(frozen=True)
class Axis:
    """An objective or cost as plotted."""

    name: str
    title: str
    """With its unit, and which end is better."""
    scale: float
    """100 for shares: they are shown in points."""
    maximise: bool


@dataclass(frozen=True)
class Mark:
    """One configuration; coordinates in plotted units."""

    row: Row
    x: float
    y: float
    x_half: float | None
    """Half the 95 % interval; None: unknown."""
    y_half: float | None
    kind: str
    """`base`, `reference`, or `trial`."""
    decided: bool
    """Its figures are of the decision's split."""
    chosen: bool
    told: tuple[str, ...]
    """Lines for who points at it: who it is, figures with intervals and n, settings."""

    @property
    def standing(self) -> str:
        """`on`, `near` or `behind` the front of its base model and split."""
        place = self.row.place
        if place is None:
            return "behind"
        return "on" if place.on_front else "near" if place.near_front else "behind"


@dataclass(frozen=True)
class Panel:
    """One base model."""

    title: str
    marks: tuple[Mark, ...]
    total: int
    """Configurations that have both figures; more than `marks` where the panel was thinned."""
    finding: str
    """What it shows, in words."""

    @property
    def front(self) -> list[Mark]:
        """On the front of the decision's split, from the left to the right."""
        return sorted(
            (m for m in self.marks if m.decided and m.standing == "on"), key=lambda m: m.x
        )


def axes(analysis: Analysis) -> tuple[Axis, Axis]:
    """Across and up: the first two objectives of the fronts, by default forgetting and gain."""
    names: Sequence[str] = WITHIN
    for front in analysis.fronts.values():
        names = front.points.names
        break
    up = _axis(analysis, names[0])
    return (_axis(analysis, names[1]) if len(names) > 1 else up), up


def panels(analysis: Analysis) -> tuple[Panel, ...]:
    """The panels, smallest base model first; empty where no configuration has both figures."""
    across, up = axes(analysis)
    varying = words.varying_params([r.who for r in analysis.rows])
    found = []
    for title, rows in _groups(analysis):
        drawable = [
            r
            for r in rows
            if _figure(r, across.name).value is not None and _figure(r, up.name).value is not None
        ]
        if drawable:
            kept = thinned(analysis, drawable)
            marks = tuple(_mark(analysis, r, across, up, varying) for r in kept)
            finding = _finding(analysis, marks, len(drawable))
            found.append(Panel(title, marks, len(drawable), finding))
    return tuple(found)


def _groups(analysis: Analysis) -> list[tuple[str, list[Row]]]:
    """(title, rows) of each panel; rows of a table from elsewhere are all compared."""
    if analysis.given is not None:
        return [("All rows of the table", list(analysis.rows))]
    sizes = {s.size.model: s.size.parameters for s in reversed(analysis.sizes)}
    found: dict[str, list[Row]] = {model: [] for model in sizes}
    for row in analysis.rows:
        found.setdefault(row.who.model, []).append(row)
    return [(_title(m, sizes.get(m)), rows) for m, rows in found.items()]


def _title(model: str, parameters: int | None) -> str:
    return words.clean(model) + (f" ({human_count(parameters)} parameters)" if parameters else "")


@dataclass(frozen=True)
class Limit:
    """A limit of the question, as a line across a panel."""

    vertical: bool
    at: float
    """In plotted units."""
    told: str


@dataclass(frozen=True)
class Frame:
    """What all panels have in common, so that they compare by eye."""

    across: Axis
    up: Axis
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    limits: tuple[Limit, ...]


def frame(analysis: Analysis, drawn: Sequence[Panel]) -> Frame:
    """Axes, ranges and limits of panels."""
    across, up = axes(analysis)
    marks = [m for p in drawn for m in p.marks]
    return Frame(
        across,
        up,
        _range([(m.x, m.x_half) for m in marks]),
        _range([(m.y, m.y_half) for m in marks]),
        _limits(analysis, across, up),
    )


def _range(values: Sequence[tuple[float, float | None]]) -> tuple[float, float]:
    """From the lowest to the highest mark, and as much of its error bar as leaves them apart."""
    points = [v for v, _ in values] or [0.0]
    width = max(points) - min(points) or 1.0
    low = min((v - min(h or 0, width / 4) for v, h in values), default=0.0)
    high = max((v + min(h or 0, width / 4) for v, h in values), default=1.0)
    room = _MARGIN * (high - low or 1.0)
    return low - room, high + room


def _limits(analysis: Analysis, across: Axis, up: Axis) -> tuple[Limit, ...]:
    question = analysis.question
    given = {"gain": question.min_gain or None, "forgetting": question.max_forgetting}
    given |= question.max_cost
    said = {"gain": "least gain", "forgetting": "largest drop allowed on any one suite"}
    return tuple(
        Limit(axis is across, axis.scale * limit, f"{name}: {axis.scale * limit:.3g}")
        for axis in (across, up)
        if (limit := given.get(axis.name)) is not None
        for name in [said.get(axis.name, f"largest {words.clean(axis.name)}")]
    )


def _axis(analysis: Analysis, name: str) -> Axis:
    objective = next((o for o in analysis.objectives if o.name == name), None)
    maximise = objective is not None and objective.direction == "maximize"
    better = "more is better" if maximise else "less is better"
    in_hundred = in_points(analysis.scorers.get(name, "")) if name in WITHIN else False
    unit = "points" if in_hundred else objective.unit if objective else ""
    said = name.replace("_", " ") if objective else cells.cost_name(name)
    title = ", ".join(p for p in (words.clean(said), words.clean(unit)) if p)
    return Axis(name, f"{title} ({better})", 100.0 if in_hundred else 1.0, maximise)


def _figure(row: Row, name: str) -> Estimate:
    if name in row.estimates:
        return row.estimates[name]
    cost = row.who.cost.get(name)
    return Estimate(cost, cost, cost)


def _mark(analysis: Analysis, row: Row, across: Axis, up: Axis, varying: Sequence[str]) -> Mark:
    x, y = _figure(row, across.name), _figure(row, up.name)
    assert x.value is not None and y.value is not None, "drawable rows have both"
    return Mark(
        row=row,
        x=across.scale * x.value,
        y=up.scale * y.value,
        x_half=None if x.high is None else across.scale * (x.high - x.value),
        y_half=None if y.high is None else up.scale * (y.high - y.value),
        kind=row.who.kind,
        decided=row.split == analysis.decision.split,
        chosen=row.who.trial_id == analysis.decision.trial,
        told=_told(analysis, row, varying),
    )


def _told(analysis: Analysis, row: Row, varying: Sequence[str]) -> tuple[str, ...]:
    who = row.who
    chosen = " – the decision's choice" if who.trial_id == analysis.decision.trial else ""
    seeds = words.count(max((e.n_seeds for e in row.estimates.values()), default=0), "seed")
    split = f"{row.split} split, " if row.split and analysis.given is None else ""
    lines = [
        words.clean(who.label) + chosen,
        split + seeds,
        *(_line(analysis, row, name) for name in _names(analysis, row)),
    ]
    if who.kind == "trial":
        lines += [words.clean(s) for s in words.settings(who, varying).split(", ")]
    cost = analysis.question.cost
    if cost in who.cost:
        lines.append(f"{cells.cost_name(cost)}: {cells.cost(cost, who.cost[cost])}")
    place = row.place
    if place is not None:
        own = "the" if row.split == analysis.decision.split else f"{row.split}'s"
        where = "on" if place.on_front else "near" if place.near_front else "behind"
        share = "" if place.membership is None else f", in {place.membership:.2f} of draws"
        lines.append(f"{where} {own} front{share}")
        if place.excluded:
            lines.append(words.clean(place.excluded))
    return tuple(lines)


def _names(analysis: Analysis, row: Row) -> list[str]:
    """Of a sweep of ours its main figures; of a table from elsewhere all that it has."""
    return [n for n in row.estimates if analysis.given is not None or n in _TOLD]


_TOLD = ("gain", "forgetting", "task_score", objectives.SINCE_PREVIOUS)


def _line(analysis: Analysis, row: Row, name: str) -> str:
    e = row.estimates[name]
    is_level = analysis.given is not None or name == "task_score"
    told = cells.level(e) if is_level else cells.signed(e)
    items = f" on {words.count(e.n_items, 'item')}" if e.n_items else ""
    return f"{words.clean(name).replace('_', ' ')}: {told}{items}"


def _finding(analysis: Analysis, marks: Sequence[Mark], total: int) -> str:
    front = sorted(
        (m for m in marks if m.standing == "on" and m.decided and m.kind == "trial"),
        key=lambda m: -m.y,
    )
    across, up = axes(analysis)
    names = [
        f"{words.clean(short_id(m.row.who.trial_id))} "
        f"({_short(up)} {m.y:.3g}, {_short(across)} {m.x:.3g})"
        for m in front[:_NAMED_ON_FRONT]
    ]
    more = len(front) - len(names)
    said = (
        f"Trials on the front ({analysis.decision.split}): {words.join(names)}"
        + (f", and {more} more." if more else ".")
        if names
        else f"No trial is on the front ({analysis.decision.split})."
    )
    validation = sum(m.standing == "on" and not m.decided and m.kind == "trial" for m in marks)
    if validation:
        said += (
            f" Of the trials that have validation scores alone, {validation} would be on "
            "validation's own front; the two are never compared."
        )
    if any(m.chosen for m in marks):
        said += " The decision's choice is ringed."
    if len(marks) < total:
        said += (
            f" Drawn are {len(marks):,} of {total:,} configurations: arms, the front, what is near "
            "it, the best by rank, and a random sample of the rest."
        )
    return said


def _short(axis: Axis) -> str:
    return axis.name.replace("_", " ")
