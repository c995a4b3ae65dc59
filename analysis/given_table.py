"""Figures of a table from elsewhere, with what its numbers say about their uncertainty.

There are no item scores, so nothing can be paired and nothing is recomputed. Of a row's value

    Var = item variance + seed variance / S

* Item variance: the squared standard error that the table gives; else, of a share p of n items,
  p (1 - p) / n (binomial; at 0 and 1, where that is 0, with the share of Agresti & Coull 1998,
  (n p + 2) / (n + 4) of n + 4). Forgetting is a difference of two shares, and gets none so. Of
  several rows that are seeds of one configuration the mean of theirs: they were scored on the same
  items, so it does not shrink with the number of seeds.
* Seed variance: of such rows, pooled over the replicated configurations of a model, weighted by
  their degrees of freedom, and applied to its unreplicated ones too, as `stats` does it. It holds
  the items' share of the spread as well, so with both the interval is a little too wide.

Degrees of freedom by Satterthwaite (`stats.Uncertain`). Two rows are taken for independent, which
is too wide where both were scored on the same items. Where neither part is known, there is no
interval.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.given_question import SHARES, is_forgetting
from keepgain.analysis.objectives import Objective
from keepgain.analysis.points import Points, of_arrays
from keepgain.analysis.stats import UNKNOWN, SeedVariance, Uncertain
from keepgain.analysis.table import Configuration, Exclusion
from keepgain.core.errors import UserError
from keepgain.core.record import GivenObjective, RunRecord, SweepRecord
from keepgain.core.status import TrialStatus

GIVEN = "given_standard_errors"
"""Two-sided interval from the standard errors of a table, as they are."""
BINOMIAL = "binomial"
"""From the number of items behind a share."""
SEEDS = "pooled_seeds_t"
"""From rows that are seeds of one configuration; what the items contribute is not known."""


@dataclass(frozen=True)
class Figure:
    """One objective of one configuration."""

    value: float
    """Mean over its rows."""
    rows: int
    n: int
    """Items; 0: not known."""
    item_variance: float | None
    source: str
    """Of the item variance: `GIVEN` or `BINOMIAL`; empty if it is unknown."""


@dataclass(frozen=True)
class GivenTable:
    """A table from elsewhere, ready to compare."""

    sweep: SweepRecord
    configurations: tuple[Configuration, ...]
    """Those with all their figures."""
    left_out: tuple[Configuration, ...]
    excluded: tuple[Exclusion, ...]
    figures: Mapping[str, Mapping[str, Figure]]
    """Trial id → objective → figure."""
    seeds: Mapping[tuple[str, str], SeedVariance]
    """(model, objective) → pooled variance between seeds, where any configuration has two."""

    def uncertain(self, who: Configuration, name: str) -> Uncertain:
        """A figure with what is known of its variance."""
        figure = self.figures[who.trial_id][name]
        return self._sum([(who, figure)], name, figure.value)

    def difference(self, a: Configuration, b: Configuration, name: str) -> Uncertain:
        """a - b, the rows taken for independent."""
        first, second = self.figures[a.trial_id][name], self.figures[b.trial_id][name]
        return self._sum([(a, first), (b, second)], name, first.value - second.value)

    def _sum(
        self, parts: Sequence[tuple[Configuration, Figure]], name: str, value: float
    ) -> Uncertain:
        items = [(f.item_variance, f.n) for _, f in parts if f.item_variance is not None]
        terms = [(v, n - 1.0 if n else math.inf) for v, n in items if v is not None]
        shares: dict[str, float] = defaultdict(float)
        for who, f in parts:
            shares[who.model] += 1 / f.rows
        spread = {m: s for m in shares if (s := self.seeds.get((m, name))) is not None}
        terms += [(s.between * shares[m], float(s.df)) for m, s in spread.items()]
        sources = [f.source for _, f in parts if f.source]
        known = len(sources) == len(parts) or (not sources and len(spread) == len(shares))
        method = GIVEN if GIVEN in sources else BINOMIAL if sources else ""
        method = "_and_".join(m for m in (method, SEEDS if spread else "") if m)
        return Uncertain(
            value=value,
            n_items=min(f.n for _, f in parts),
            n_seeds=min(f.rows for _, f in parts),
            terms=tuple(terms),
            item_variance=math.fsum(v for v, _ in items if v is not None),
            method=method if known else UNKNOWN,
        )

    def points(self, names: Sequence[str]) -> Points:
        """The configurations that count in objective space; a cost is exact, and to be low."""
        declared = {o.name: o for o in describe(self.sweep)}
        columns = [declared.get(n, Objective(n, "minimize", "", 1)) for n in names]
        shape = (len(self.configurations), len(names))
        values, errors = np.full(shape, np.nan), np.full(shape, np.nan)
        for i, who in enumerate(self.configurations):
            for k, name in enumerate(names):
                if name not in declared:
                    values[i, k], errors[i, k] = who.cost.get(name, math.nan), 0.0
                    continue
                u = self.uncertain(who, name)
                values[i, k] = u.value
                if u.known:
                    errors[i, k] = math.sqrt(u.variance)
        return of_arrays(
            [c.label for c in self.configurations],
            columns,
            values,
            ids=[c.trial_id for c in self.configurations],
            standard_errors=errors,
        )


def describe(sweep: SweepRecord) -> tuple[Objective, ...]:
    """The declared objectives as every other reader of an analysis knows them."""
    return tuple(Objective(o.name, o.direction, o.unit, 1) for o in sweep.objectives)


def given_table(sweep: SweepRecord) -> GivenTable:
    """Rows into configurations with figures; rows with a fault leave with it.

    Raises:
        UserError: No row counts.
    """
    members: dict[str, list[RunRecord]] = defaultdict(list)
    for run in sweep.runs:
        members[run.trial_id].append(run)
    names = [o.name for o in sweep.objectives]
    counted: list[Configuration] = []
    left_out: list[Configuration] = []
    excluded: list[Exclusion] = []
    figures: dict[str, dict[str, Figure]] = {}
    spread: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for trial, runs in members.items():
        good = [r for r in runs if _why_not(r, names) is None]
        excluded += [Exclusion(trial, why) for r in runs if (why := _why_not(r, names)) is not None]
        (counted if good else left_out).append(_configuration(good or runs))
        if good:
            figures[trial] = {o.name: _figure(good, o) for o in sweep.objectives}
            for name in names:
                spread[good[0].model, name].append([r.metrics[name] for r in good])
    if not counted:
        raise UserError(f"sweep '{sweep.id}' has no row with all its objectives.")
    seeds = {key: pooled for key, rows in spread.items() if (pooled := _pooled(rows)) is not None}
    return GivenTable(sweep, tuple(counted), tuple(left_out), tuple(excluded), figures, seeds)


def _why_not(run: RunRecord, names: Sequence[str]) -> str | None:
    """Why a row does not count; None if it does."""
    if run.status is not TrialStatus.COMPLETED:
        return run.reason or run.status.value
    lacking = [n for n in names if not math.isfinite(run.metrics.get(n, math.nan))]
    return f"no {' and no '.join(lacking)}" if lacking else None


def _configuration(runs: Sequence[RunRecord]) -> Configuration:
    first = runs[0]
    costs = {name for r in runs for name in r.cost}
    return Configuration(
        trial_id=first.trial_id,
        label=first.label,
        model=first.model,
        kind=first.kind,
        arm=first.arm,
        params=dict(first.params),
        stage=first.stage,
        status=first.status,
        confirmed=False,
        tokens=first.tokens,
        cost={n: float(np.mean([r.cost[n] for r in runs if n in r.cost])) for n in sorted(costs)},
        scores={},
        lacks={},
        runs={},
    )


def _figure(runs: Sequence[RunRecord], objective: GivenObjective) -> Figure:
    name = objective.name
    value = math.fsum(r.metrics[name] for r in runs) / len(runs)
    counts = [r.n for r in runs if r.n]
    n = min(counts) if len(counts) == len(runs) else 0
    errors = [r.standard_errors[name] for r in runs if name in r.standard_errors]
    if len(errors) == len(runs):
        return Figure(value, len(runs), n, math.fsum(e * e for e in errors) / len(runs), GIVEN)
    if n and not is_forgetting(objective) and (top := SHARES.get(objective.unit)):
        return Figure(value, len(runs), n, _binomial(value / top, n) * top * top, BINOMIAL)
    return Figure(value, len(runs), n, None, "")


def _binomial(share: float, n: int) -> float:
    """Variance of a share of n items."""
    if share in (0.0, 1.0):
        share, n = (n * share + 2) / (n + 4), n + 4
    return share * (1 - share) / n


def _pooled(rows: Sequence[Sequence[float]]) -> SeedVariance | None:
    """Variance between the seeds of each configuration, pooled; None without any replicate."""
    df = sum(len(values) - 1 for values in rows)
    if not df:
        return None
    squares = math.fsum(float(np.sum((np.array(v) - np.mean(v)) ** 2)) for v in rows)
    return SeedVariance(squares / df, 0.0, df)
