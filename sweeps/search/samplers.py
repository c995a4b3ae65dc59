"""Optuna's samplers as the search uses them: fresh for every draw, hence pure in seed and history.

A sampler holds nothing but its random state, so one that is made anew for each draw, with a seed
that follows from the draw's place, gives the same draw whether the sweep ran through or was
continued in the middle of a generation. (NSGA keeps generations in the study, which is rebuilt; GP
would start its fits from the last ones, and starts them from the prior here.)

Quasi-random draws, grids and lists are not here: their points are known beforehand (`points`).
"""

import warnings
from contextlib import AbstractContextManager, nullcontext

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from keepgain.sweeps.spec_search import SamplerName

GENETIC: tuple[SamplerName, ...] = ("nsga2", "nsga3")
"""Note a generation of theirs in every trial."""


def make_sampler(name: SamplerName, *, seed: int, parents: int) -> BaseSampler:
    """A sampler for one draw; a random one where the points are known beforehand.

    Args:
        name: TPE is multivariate, for several objectives too (Optuna's default there is not): on
            the grid of our comparison the univariate one drew three of four configurations twice,
            and was no better than random. With groups it got stuck (mean hypervolume 1.167, sd
            .106, against 1.236, after 100 trials, 15 seeds). GP models the parameters that all
            trials share, and draws conditional ones at random; it alone imports torch, at its
            first fit.
        seed: Of this draw.
        parents: How many results make it worth fitting: TPE and GP draw at random below this many
            finished trials, and NSGA breeds from a population of this size. It is half of the
            quasi-random draws (at least 2), so that the sampler is in charge from the first draw
            after them even if some of them failed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if name == "tpe":
            return TPESampler(
                seed=seed,
                n_startup_trials=parents,
                multivariate=True,
                constant_liar=True,  # keeps apart the draws of one generation
            )
        if name == "nsga2":
            return NSGAIISampler(seed=seed, population_size=parents)
        if name == "nsga3":
            return NSGAIIISampler(seed=seed, population_size=parents)
        if name == "gp":
            return GPSampler(seed=seed, n_startup_trials=parents, warn_independent_sampling=False)
        return RandomSampler(seed=seed)


def threads_for(name: SamplerName) -> AbstractContextManager[object]:
    """One thread for the fits of GP: with more, those of numpy and torch wait for each other (on
    two cores an ask took 3.8 s with and 1.9 s without them)."""
    if name != "gp":
        return nullcontext()
    import scipy.optimize
    import torch
    from threadpoolctl import threadpool_limits  # of the libraries that are loaded by now

    assert scipy.optimize and torch, "what GP computes with"
    return threadpool_limits(1)
