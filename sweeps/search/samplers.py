"""Optuna's samplers as the search uses them: fresh for every draw, hence pure in seed and history.

A sampler holds nothing but its random state, so one that is made anew for each draw, with a seed
that follows from the draw's place, gives the same draw whether the sweep ran through or was
continued in the middle of a generation. (NSGA-II keeps generations in the study, which is rebuilt.)
"""

import warnings
from typing import Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler

from keepgain.sweeps.search.space import Space

SamplerName = Literal["tpe", "random", "quasi_random", "nsga2"]


def make_sampler(name: SamplerName, *, seed: int, objectives: int, parents: int) -> BaseSampler:
    """A sampler for one draw.

    Args:
        name: TPE is univariate where there are several objectives, which is Optuna's default;
            with groups it got stuck in our comparison (mean hypervolume 1.167, sd .106, against
            1.236, after 100 trials, 15 seeds).
        seed: Of this draw.
        objectives: Number of objectives.
        parents: How many results make it worth fitting: TPE draws at random below this many
            finished trials, and NSGA-II breeds from a population of this size. It is half of the
            quasi-random draws (at least 2), so that the sampler is in charge from the first draw
            after them even if some of them failed.
    """
    if name == "tpe":
        return TPESampler(
            seed=seed,
            n_startup_trials=parents,
            multivariate=objectives == 1,
            constant_liar=True,  # keeps apart the draws of one generation
        )
    if name == "nsga2":
        return NSGAIISampler(seed=seed, population_size=parents)
    return RandomSampler(seed=seed)


class QuasiRandomPoints:
    """A scrambled Sobol sequence over all raw parameters of a space, conditional ones included.

    Optuna's QMC sampler fixes its space by the first trial and leaves other parameters to chance,
    which conditions would often do; asked for points of the whole box it has no such gap.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        self._points: list[dict[str, Any]] = []
        self._study: optuna.Study | None = None
        self._sampler: QMCSampler | None = None

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Raw values of the `position`-th point, those of inactive parameters left out."""
        while len(self._points) <= position:
            self._points.append(self._space.active_raw(self._next()))
        return self._points[position]

    def _next(self) -> dict[str, Any]:
        box = self._space.raw_distributions()
        if not box:
            return {}
        if self._study is None or self._sampler is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self._sampler = QMCSampler(qmc_type="sobol", scramble=True, seed=self._seed)
            self._study = optuna.create_study(sampler=self._sampler)
        # The sampler reads nothing of the trial; its position in the sequence is in the study.
        trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
        return self._sampler.sample_relative(self._study, trial, box)
