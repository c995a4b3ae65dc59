"""Every figure of a sweep, with its uncertainty: one place that pairs items and pools seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from keepgain.analysis import objectives, stats
from keepgain.analysis.behaviour.outcomes import OutcomeFound, outcomes_found
from keepgain.analysis.quantities import Quantity, better, item_terms
from keepgain.analysis.stats import Block, Estimate, SeedVariance, Uncertain
from keepgain.analysis.table import Configuration, SuiteItems, Table, build_table
from keepgain.core.config import Split
from keepgain.core.items import Floats
from keepgain.core.record import Evidence

_TOGETHER = 500
"""Configurations whose item terms are in memory at once."""


@dataclass(frozen=True)
class Drop:
    """Forgetting on one suite."""

    suite: SuiteItems
    uncertain: Uncertain

    @property
    def value(self) -> float:
        """Base minus tuned; positive is worse."""
        return self.uncertain.value


def measures_of(evidence: Evidence) -> "Measures":
    """Of a sweep: what decides, and its behaviours beside that."""
    behaviour = any(s.measures == "behaviour" for s in evidence.sweep.suites)
    beside = Measures(build_table(evidence, ("behaviour",))) if behaviour else None
    return Measures(build_table(evidence), beside, outcomes_found(evidence.later))


class Measures:
    """Estimates and paired comparisons of a table's configurations.

    Holds pooled seed variances, which many estimates share; everything else is computed anew.
    """

    def __init__(
        self,
        table: Table,
        behaviours: "Measures | None" = None,
        outcomes: tuple[OutcomeFound, ...] = (),
    ) -> None:
        self.table = table
        self.behaviours = behaviours
        """The same of the suites that decide nothing by themselves; None: there are none."""
        self.outcomes = outcomes
        """Of live tests, as recorded with the sweep."""
        self._by_id = {c.trial_id: c for c in reversed(table.configurations)}
        self._bases = {
            c.model: c for c in reversed(table.configurations) if c.kind == "base" and c.scores
        }
        self._previous = {
            c.model: c for c in table.configurations if c.arm == "previous_round" and c.scores
        }
        self._pools: dict[tuple[str, Split, Quantity], SeedVariance | None] = {}
        self._covariances: dict[tuple[str, Split], tuple[Floats, int] | None] = {}
        self._memo: dict[tuple[Quantity, ...], Uncertain | None] = {}
        self._alike: dict[tuple[str, Split], list[Configuration]] = {}

    def configuration(self, trial: str) -> Configuration | None:
        """The configuration of that id in this table."""
        return self._by_id.get(trial)

    def base(self, model: str) -> Configuration | None:
        """The untouched base of a size, if it was scored."""
        return self._bases.get(model)

    def blocks(
        self, who: Configuration, split: Split, quantity: Quantity
    ) -> tuple[Block, ...] | None:
        """See `item_terms`; None too if `who` was not scored on this split."""
        if not who.has(split):
            return None
        base = self._bases.get(who.model)
        base_scores = base.scores.get(split) if base else None
        return item_terms(quantity, self.table.suites[split], who.scores[split], base_scores)

    # -- seeds ------------------------------------------------------------------------------

    def seed_variance(self, model: str, split: Split, quantity: Quantity) -> SeedVariance | None:
        """Pooled over the replicated trials of a size."""
        place = (model, split, quantity)
        if place not in self._pools:
            found = [self.blocks(c, split, quantity) for c in self._replicated(model, split)]
            self._pools[place] = stats.pool_seeds([b for b in found if b is not None])
        return self._pools[place]

    def seed_covariance(self, model: str, split: Split) -> tuple[Floats, int] | None:
        """Covariance between suites (in the split's order) of one run's seed effect, and its df.

        The pooled covariance of the seeds' means, less the items' share on its diagonal (suites
        are different items), made positive semi-definite; None without a replicate.
        """
        place = (model, split)
        if place not in self._covariances:
            self._covariances[place] = self._pool_covariance(model, split)
        return self._covariances[place]

    def _pool_covariance(self, model: str, split: Split) -> tuple[Floats, int] | None:
        suites = list(self.table.suites.get(split, {}).values())
        cross = np.zeros((len(suites), len(suites)))
        df = 0
        for who in self._replicated(model, split):
            per_suite = [
                Block(who.scores[split][s.info.name], s.weights, s.clusters) for s in suites
            ]
            means = np.array([b.means() for b in per_suite])
            centred = means - means.mean(axis=1, keepdims=True)
            cross += centred @ centred.T
            for k, block in enumerate(per_suite):
                pooled = stats.pool_seeds([[block]])
                cross[k, k] -= pooled.interaction * pooled.df if pooled else 0.0
            df += means.shape[1] - 1
        if not df:
            return None
        values, vectors = np.linalg.eigh(cross / df)
        return vectors @ np.diag(np.maximum(values, 0.0)) @ vectors.T, df

    def _replicated(self, model: str, split: Split) -> list[Configuration]:
        return [c for c in self.table.trials(model, split) if c.seeds(split) >= 2]

    def _seed_terms(
        self, parts: Sequence[tuple[Configuration, Split]], quantity: Quantity
    ) -> list[tuple[SeedVariance | None, float]]:
        """(pooled variance, sum of 1/S) for each size among the trials of `parts`."""
        shares: dict[str, float] = {}
        for who, split in parts:
            if who.kind == "trial":
                shares[who.model] = shares.get(who.model, 0.0) + 1.0 / who.seeds(split)
        split = parts[0][1]
        return [(self.seed_variance(m, split, quantity), s) for m, s in shares.items()]

    # -- figures ----------------------------------------------------------------------------

    def uncertain(self, who: Configuration, split: Split, objective: str) -> Uncertain | None:
        """One objective of one configuration; None where it cannot be computed."""
        return self.measure(who, split, objective)

    def point(self, who: Configuration, split: Split, objective: str) -> float | None:
        """The value of one objective alone."""
        if who.has(split) and who.seeds(split) == 1:  # with one seed the same to the last bit
            found = self.measure(who, split, objective)
            return None if found is None else found.value
        terms = self.blocks(who, split, objective)
        if terms is None:
            return None
        return math.fsum(float(b.means().mean()) for b in terms)

    def sign(self, objective: str) -> float:
        """+1 if more of the objective is better with this sweep's suites, -1 if less is."""
        return better(objective, {}, self.table.sweep.suites)

    def scorer(self, measures: str) -> str:
        """Scorer of the suites that measure `gain` or `forgetting`; empty if they differ."""
        return objectives.shared_scorer(self.table.sweep.suites, measures) or ""

    def drop(self, who: Configuration, split: Split, suite: str) -> Uncertain | None:
        """Forgetting on one suite against the configuration's own base."""
        return self.measure(who, split, f"drop:{suite}")

    def drops(self, who: Configuration, split: Split) -> tuple[Drop, ...]:
        """Forgetting on every forgetting suite that can be compared with the base."""
        found = []
        for name, suite in self.table.suites.get(split, {}).items():
            if suite.info.measures == "forgetting":
                uncertain = self.drop(who, split, name)
                if uncertain is not None:
                    found.append(Drop(suite, uncertain))
        return tuple(found)

    def worst_drop(self, who: Configuration, split: Split) -> float | None:
        """The largest drop of any forgetting suite, as a point estimate."""
        return max((d.value for d in self.drops(who, split)), default=None)

    def measure(self, who: Configuration, split: Split, quantity: Quantity) -> Uncertain | None:
        """Any quantity of one configuration; None where it cannot be computed."""
        place = (who.trial_id, split, quantity)
        if place not in self._memo:
            self._measure_alike(who, split, quantity)
        if place not in self._memo:
            terms = self.blocks(who, split, quantity)
            self._memo[place] = (
                None
                if terms is None
                else stats.combine(
                    [b.averaged() for b in terms],
                    self._seed_terms([(who, split)], quantity),
                    who.seeds(split),
                )
            )
        return self._memo[place]

    def _measure_alike(self, who: Configuration, split: Split, quantity: Quantity) -> None:
        """Measures all trials of a size that have one seed together, as a search has thousands.

        Their scores stand side by side where those of one configuration have its seeds; item terms
        are made column by column.
        """
        if who.kind != "trial":
            return
        trials = self._alike.get((who.model, split))
        if trials is None:
            every = self.table.trials(who.model, split)
            trials = [c for c in every if c.seeds(split) == 1]
            self._alike[who.model, split] = trials
        if len(trials) < 2 or who.seeds(split) != 1:
            return
        for at in range(0, len(trials), _TOGETHER):
            chunk = trials[at : at + _TOGETHER]
            names = chunk[0].scores[split]
            if any(c.scores[split].keys() != names.keys() for c in chunk):
                continue
            side = {n: np.column_stack([c.scores[split][n] for c in chunk]) for n in names}
            terms = self.blocks(replace(chunk[0], scores={split: side}), split, quantity)
            if terms is None:
                continue
            seeds = self._seed_terms([(chunk[0], split)], quantity)
            for c, found in zip(chunk, stats.combine_columns(terms, seeds, 1), strict=True):
                self._memo[c.trial_id, split, quantity] = found

    def estimates(self, who: Configuration, split: Split) -> dict[str, Estimate]:
        """All objectives of one configuration; values None where they cannot be computed.

        Of a trial that starts from an earlier sweep also `objectives.SINCE_PREVIOUS`.
        """
        found: dict[str, Estimate] = {}
        for name in objectives.NAMES:
            if name == "max_forgetting":
                found[name] = self._description(who, split)
                continue
            uncertain = self.uncertain(who, split, name)
            found[name] = uncertain.estimate() if uncertain else Estimate()
        previous = self._previous.get(who.model)
        if previous is not None and who.kind == "trial":
            # Scores of the base cancel out: what is left is the previous round minus the trial.
            lost = self.difference(previous, who, split, "forgetting")
            found[objectives.SINCE_PREVIOUS] = lost.estimate() if lost else Estimate()
        return found

    def _description(self, who: Configuration, split: Split) -> Estimate:
        drops = self.drops(who, split)
        if not drops:
            return Estimate()
        worst = max(drops, key=lambda d: d.value).uncertain
        return Estimate(
            worst.value,
            n_items=worst.n_items,
            n_seeds=worst.n_seeds,
            interval_method=stats.DESCRIPTION,
        )

    def difference(
        self, a: Configuration, b: Configuration, split: Split, quantity: Quantity
    ) -> Uncertain | None:
        """Paired difference a - b of one objective, `score:SUITE` or level on a slice, positive if
        a's figure is the better one.

        Items are paired, seeds independent. For `forgetting`, both must be of one base model: its
        scores then cancel.
        """
        place = (a.trial_id, b.trial_id, split, quantity)
        if place not in self._memo:
            self._memo[place] = self._difference(a, b, split, quantity)
        return self._memo[place]

    def _difference(
        self, a: Configuration, b: Configuration, split: Split, quantity: Quantity
    ) -> Uncertain | None:
        terms_a, terms_b = (self.blocks(who, split, quantity) for who in (a, b))
        if terms_a is None or terms_b is None:
            return None
        sign = better(quantity, self.table.suites[split], self.table.sweep.suites)
        paired = [
            Block(sign * (x.averaged().values - y.averaged().values), x.weights, x.clusters)
            for x, y in zip(terms_a, terms_b, strict=True)
        ]
        seeds = self._seed_terms([(a, split), (b, split)], quantity)
        return stats.combine(paired, seeds, min(a.seeds(split), b.seeds(split)))
