"""Points in objective space with what is known of their uncertainty: what fronts are made of.

From a sweep the draws are joint (`draws`): items are paired, seeds independent. From a table
without item scores they are independent normals with the standard errors that the table gives; a
table that gives none has no draws. A cost has no error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from keepgain.analysis import objectives
from keepgain.analysis.draws import SEED, draw_scores
from keepgain.analysis.measures import Measures
from keepgain.analysis.objectives import Objective
from keepgain.analysis.table import Configuration, Table
from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.items import Floats
from keepgain.core.metrics import METRICS

Mask = npt.NDArray[np.bool_]
DRAWS = 1000
CHUNK_BYTES = 64 << 20
"""Draws held in memory at once; fields of a usual size need one chunk."""

Sampler = Callable[[int, int], Floats | None]
"""(draws, seed) → values of shape [draws, n, k]; None where the uncertainty is unknown."""


@dataclass(frozen=True)
class Points:
    """Rows by objectives. Immutable: do not write into its arrays."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    objectives: tuple[Objective, ...]
    values: Floats
    """Shape [n, k], each in its objective's unit and direction; NaN: missing."""
    standard_errors: Floats | None = None
    """Shape [n, k]; NaN: unknown, 0: exact. None: not given (a sweep has `sampler`)."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Row id → why it lacks an objective, where more is known than which one."""
    sampler: Sampler | None = None
    """Joint draws; None: from `standard_errors`."""

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.objectives))
        arrays = [self.values, *([] if self.standard_errors is None else [self.standard_errors])]
        if len(self.labels) != len(self.ids) or any(a.shape != shape for a in arrays):
            raise ValueError(f"{shape} ids and objectives, but {[a.shape for a in arrays]} values")
        if len(set(self.ids)) < len(self.ids):
            raise ValueError("two rows have the same id")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the objectives."""
        return tuple(o.name for o in self.objectives)

    @property
    def maximise(self) -> tuple[bool, ...]:
        """One per objective."""
        return tuple(o.direction == "maximize" for o in self.objectives)

    @cached_property
    def complete(self) -> Mask:
        """Rows that have every objective; shape [n]. The others are never on a front."""
        return np.asarray(np.isfinite(self.values).all(axis=1))

    @cached_property
    def excluded(self) -> dict[str, str]:
        """Row id → why it is on no front, of the rows that are not complete."""
        found = {}
        for i in np.flatnonzero(~self.complete):
            lacking = [n for n, v in zip(self.names, self.values[i], strict=True) if not _is(v)]
            name = self.ids[i]
            found[name] = self.missing.get(name) or f"no {' and no '.join(lacking)}"
        return found

    def column(self, name: str) -> Floats:
        """Values of one objective; shape [n]."""
        return self.values[:, self.names.index(name)]

    def keep(self, rows: npt.ArrayLike) -> "Points":
        """Some of the rows, by index or mask, with their part of the draws."""
        at = np.arange(len(self.ids))[np.asarray(rows)]
        whole = self.sampler

        def part(draws: int, seed: int) -> Floats | None:
            drawn = None if whole is None else whole(draws, seed)
            return None if drawn is None else drawn[:, at]

        ids = tuple(self.ids[i] for i in at)
        return Points(
            ids,
            tuple(self.labels[i] for i in at),
            self.objectives,
            self.values[at],
            None if self.standard_errors is None else self.standard_errors[at],
            {i: self.missing[i] for i in ids if i in self.missing},
            None if whole is None else part,
        )

    def draws(self, draws: int = DRAWS, seed: int = SEED) -> Iterator[Floats] | None:
        """Joint draws of the complete rows in bounded memory; the same for the same seed.

        Returns:
            Arrays of shape [some draws, n, k], rows that are not complete NaN, `draws` in all; None
            where the uncertainty of any complete row is unknown.
        """
        at_once = max(1, min(draws, CHUNK_BYTES // max(8, 8 * self.values.size)))
        first = self._draw(at_once, seed)
        # Further chunks are drawn when they are asked for.
        return None if first is None else self._chunks(first, draws, seed)

    def _chunks(self, first: Floats, draws: int, seed: int) -> Iterator[Floats]:
        yield first
        done, chunk = len(first), 0
        while done < draws:
            chunk += 1
            more = self._draw(min(len(first), draws - done), seed + chunk)
            assert more is not None
            yield more
            done += len(more)

    def _draw(self, draws: int, seed: int) -> Floats | None:
        if self.sampler is not None:
            drawn = self.sampler(draws, seed)
        elif self.standard_errors is None or not _all_known(self):
            return None
        else:
            noise = np.random.default_rng(seed).standard_normal((draws, *self.values.shape))
            drawn = self.values + noise * self.standard_errors
        if drawn is not None:
            drawn[:, ~self.complete] = np.nan
        return drawn


def _is(value: float) -> bool:
    return bool(np.isfinite(value))


def _all_known(points: Points) -> bool:
    assert points.standard_errors is not None
    return bool(np.isfinite(points.standard_errors[points.complete]).all())


def of_arrays(
    labels: Sequence[str],
    columns: Sequence[Objective],
    values: Floats,
    *,
    ids: Sequence[str] | None = None,
    standard_errors: Floats | None = None,
    missing: Mapping[str, str] | None = None,
) -> Points:
    """Points from a table of figures.

    Args:
        values: Shape [n, k]; what is not finite counts as missing.
        ids: Default: the labels.
        standard_errors: Shape [n, k]; NaN where unknown, 0 where exact (a cost).
        missing: Id → why a row lacks an objective.
    """
    given = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    return Points(
        tuple(ids or labels), tuple(labels), tuple(columns), given, standard_errors, missing or {}
    )


def describe(measures: Measures, names: Sequence[str]) -> tuple[Objective, ...]:
    """Objectives by their names, and costs by theirs; every cost is to be low.

    Raises:
        UserError: Neither an objective nor a cost of any configuration.
    """
    known = {o.name: o for o in objectives.describe(measures.table.sweep.suites)}
    costs = {name for c in measures.table.configurations for name in c.cost}
    found = []
    for name in names:
        if name in known:
            found.append(known[name])
        elif name in costs or (name in METRICS and METRICS[name].direction == "minimize"):
            unit = METRICS[name].unit if name in METRICS else ""
            found.append(Objective(name, "minimize", unit, 1))
        else:
            raise UserError(
                f"'{name}' is no objective of sweep '{measures.table.sweep.id}'.",
                hint=f"Known: {', '.join([*known, *sorted(costs)])}.",
            )
    return tuple(found)


def require_costs(table: Table, names: Sequence[str]) -> None:
    """Refuses a cost that nobody has: every row would be left out of every front.

    Raises:
        UserError: With the costs that there are.
    """
    costs = {name for c in table.configurations for name in c.cost}
    for name in names:
        if name not in objectives.NAMES and name in METRICS and name not in costs:
            raise UserError(
                f"no configuration of sweep '{table.sweep.id}' has the cost '{name}'.",
                hint=f"Measured were: {', '.join(sorted(costs)) or 'none'}; money needs a price in "
                "the spec (`prices:`).",
            )


def of_measures(
    measures: Measures, split: Split, who: Sequence[Configuration], names: Sequence[str]
) -> Points:
    """Points of a sweep's configurations.

    Args:
        who: Configurations; those without scores on `split` lack its objectives.
        names: Objectives of `objectives.NAMES`, and costs.

    Raises:
        UserError: As `describe`.
    """
    columns = describe(measures, names)
    values = np.full((len(who), len(columns)), np.nan)
    for i, c in enumerate(who):
        for k, name in enumerate(names):
            value = _value(measures, c, split, name)
            values[i, k] = np.nan if value is None else value
    unscored = {
        c.trial_id: c.lacks.get(split, f"no {split} scores") for c in who if not c.has(split)
    }
    ids = tuple(c.trial_id for c in who)
    labels = tuple(c.label for c in who)
    return Points(
        ids,
        labels,
        columns,
        values,
        missing=unscored,
        sampler=_Sampler(measures, split, tuple(who), tuple(names), values),
    )


def _value(measures: Measures, who: Configuration, split: Split, name: str) -> float | None:
    if name == "max_forgetting":
        return measures.worst_drop(who, split)
    if name in objectives.NAMES:
        return measures.point(who, split, name)
    return who.cost.get(name)


@dataclass(frozen=True)
class _Sampler:
    """Draws of a sweep's points; those of one seed share their items."""

    measures: Measures
    split: Split
    who: tuple[Configuration, ...]
    names: tuple[str, ...]
    values: Floats

    def __call__(self, draws: int, seed: int) -> Floats | None:
        found = np.full((draws, *self.values.shape), np.nan)
        scored = [i for i, c in enumerate(self.who) if c.has(self.split)]
        if not scored:
            return found
        rows = [self.who[i] for i in scored]
        bases = {c.model: self.measures.base(c.model) for c in rows}
        others = [b for b in bases.values() if b is not None and b.has(self.split)]
        others = [b for b in others if b.trial_id not in {c.trial_id for c in rows}]
        drawn = draw_scores(self.measures, self.split, [*rows, *others], draws, seed)
        if drawn is None:
            return None
        column = {c.trial_id: n for n, c in enumerate([*rows, *others])}
        own = np.array(
            [-1 if (b := bases[c.model]) is None else column.get(b.trial_id, -1) for c in rows]
        )
        for k, name in enumerate(self.names):
            if name not in objectives.NAMES:
                found[:, :, k] = self.values[:, k]
                continue
            found[:, scored, k] = _objective_draws(
                self.measures, self.split, name, drawn, rows, own
            )
        return found


def _objective_draws(
    measures: Measures,
    split: Split,
    name: str,
    drawn: Mapping[str, Floats],
    rows: Sequence[Configuration],
    own: npt.NDArray[np.int64],
) -> Floats:
    """One objective from drawn suite means; shape [draws, n rows].

    The maximum of the drawn drops lies above the maximum of the drops: with `max_forgetting` a
    membership compares rows that are all biased so.
    """
    n = len(rows)
    near = {model: _near_chance(measures, split, model) for model in {c.model for c in rows}}
    measured = "gain" if name in ("gain", "task_score") else "forgetting"
    parts: list[Floats] = []
    counted = np.zeros(n)
    for suite_name, suite in measures.table.suites[split].items():
        if suite.info.measures != measured:
            continue
        scores = drawn[suite_name]
        if name in ("task_score", "general_score"):
            part = scores[:, :n]
        else:
            base = np.where(own >= 0, scores[:, own], np.nan)
            better = suite.sign * (scores[:, :n] - base)
            part = better if name == "gain" else -better
            if name == "relative_forgetting":
                chance = (suite.info.chance or 0.0) if suite.sign > 0 else 0.0
                part = part / (base - chance)
                kept = np.array([suite_name not in near[c.model] for c in rows])
                counted += kept
                part = np.where(kept, part, 0.0)
        parts.append(part)
    if not parts:
        return np.full((next(iter(drawn.values())).shape[0], n), np.nan)
    if name == "max_forgetting":
        return np.asarray(np.fmax.reduce(parts))
    total = np.sum(parts, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(total / (counted if name == "relative_forgetting" else len(parts)))


def _near_chance(measures: Measures, split: Split, model: str) -> tuple[str, ...]:
    base = measures.base(model)
    if base is None or not base.has(split):
        return ()
    return objectives.near_chance(measures.table.suites[split], base.scores[split])
