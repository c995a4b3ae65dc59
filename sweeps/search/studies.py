"""The Optuna studies of one base model, one a rung, whose trials are asked in step.

`<sweep>/<model>` holds results at the full budget, `<sweep>/<model>@rungK` those of the K-th rung
below it. A sampler is fitted on the deepest rung with enough results, as in BOHB (Falkner et al.
2018, arXiv 1807.01774); what it draws there is given to the other studies. With one rung there is
one study.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from keepgain.core.identity import derive_seed
from keepgain.sweeps.search.design import Design
from keepgain.sweeps.search.draws import Result, RungResult, outcome, outcome_at
from keepgain.sweeps.search.ledger import Learned
from keepgain.sweeps.search.samplers import GENETIC, make_sampler, threads_for
from keepgain.sweeps.search.storage import DESIGN_KEY
from keepgain.sweeps.spec_search import SamplerName

ENOUGH_TO_FIT = 10
"""Results of a base model at a rung, for a sampler to be fitted there."""


class Studies:
    """Asks and tells the studies of one base model alike.

    Args:
        model: Name of the base model.
        design: Of the search.
        storage: Where the studies are kept; must not have them.
        prefix: The sweep's id.
    """

    def __init__(self, model: str, design: Design, storage: BaseStorage, prefix: str) -> None:
        self._model = model
        self._design = design
        self._parents = max(2, design.quasi_random(model) // 2)
        below = [f"@rung{k}" for k in range(design.rungs - 1)]
        self._studies = [
            _create(design, storage, f"{prefix}/{model}{rung}") for rung in [*below, ""]
        ]
        """By rung, the full budget last."""
        self._complete = [0] * design.rungs
        self._trials: list[list[optuna.Trial]] = []
        """Of each draw, one a study."""

    @property
    def full(self) -> optuna.Study:
        """Results at the full budget."""
        return self._studies[-1]

    @property
    def fitted_rung(self) -> int:
        """The deepest one with `ENOUGH_TO_FIT` results, else the lowest."""
        enough = [k for k, n in enumerate(self._complete) if n >= ENOUGH_TO_FIT]
        return max(enough, default=0)

    def learn(self, known: Learned, raw: Mapping[str, Any]) -> None:
        """Takes a finished trial of another sweep, at the full budget.

        Args:
            known: With every objective and constraint.
            raw: Its raw values.
        """
        # By asking, and not by `add_trial`: NSGA has no generation for a trial that was added.
        trial, _ = self._ask(self.full, derive_seed(self._design.seed, "learned"), raw, None)
        trial.set_user_attr("learned_from", known.source)
        for name in self._design.constraints:
            trial.set_constraint(name, known.constraints[name])
        self.full.tell(trial, known.values)
        self._complete[-1] += 1

    def ask(
        self, seed: int, raw: Mapping[str, Any] | None, sampler: SamplerName | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begins the next draw.

        Args:
            seed: Of this draw.
            raw: Its raw values; None: they are drawn.
            sampler: Who draws; None: the design's.

        Returns:
            Raw values and settings.
        """
        fitted = self.fitted_rung
        trials: dict[int, optuna.Trial] = {}
        params: dict[str, Any] = {}
        for rung in [fitted, *(k for k in range(len(self._studies)) if k != fitted)]:
            trials[rung], params = self._ask(self._studies[rung], seed, raw, sampler)
            raw = dict(trials[rung].params)
        self._trials.append([trials[k] for k in range(len(self._studies))])
        return dict(raw or {}), params

    def describe(self, number: int, draw: Mapping[str, Any]) -> None:
        """Notes at a trial what was drawn, for people."""
        for trial in self._trials[number]:
            trial.set_user_attr("draw", dict(draw))

    def tell(self, number: int, result: Result) -> None:
        """Ends a draw in every study."""
        names, limits = tuple(self._design.objectives), self._design.constraints
        *below, full = self._trials[number]
        for rung, trial in enumerate(below):
            self._tell(rung, trial, *outcome_at(result, rung, names, limits))
        last = RungResult(len(below), result.values or (), result.constraints)
        self._tell(len(below), full, outcome(result, names, limits), last)

    def abandon(self, number: int, why: str) -> None:
        """Ends a draw without a result: it is told FAIL and marked so."""
        for study, trial in zip(self._studies, self._trials[number], strict=True):
            trial.set_user_attr("unfinished", why)
            study.tell(trial, state=TrialState.FAIL)

    def _ask(
        self,
        study: optuna.Study,
        seed: int,
        raw: Mapping[str, Any] | None,
        sampler: SamplerName | None,
    ) -> tuple[optuna.Trial, dict[str, Any]]:
        name = sampler or self._design.sampler
        if raw is not None and name not in GENETIC:
            name = "random"  # nothing is left to draw: the cheapest of those that keep no state
        study.sampler = make_sampler(name, seed=seed, parents=self._parents)
        if raw is not None:
            study.enqueue_trial(dict(raw))
        with threads_for(name):
            trial = study.ask()
            if name in GENETIC:
                _ = trial.relative_params  # NSGA notes its generation here, for given values too
            return trial, self._design.space(trial)

    def _tell(
        self, rung: int, trial: optuna.Trial, state: TrialState, found: RungResult | None
    ) -> None:
        if state is not TrialState.COMPLETE or found is None:
            self._studies[rung].tell(trial, state=state)
            return
        for name in self._design.constraints:
            trial.set_constraint(name, found.constraints[name])
        self._studies[rung].tell(trial, found.values)
        self._complete[rung] += 1


def _create(design: Design, storage: BaseStorage, name: str) -> optuna.Study:
    directions = list(design.objectives.values())
    study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(design.objectives))
    study.set_user_attr(DESIGN_KEY, design.to_json())
    return study
