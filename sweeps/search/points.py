"""Points that are known before any result: quasi-random ones, every point of a grid, a list."""

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import QMCSampler

from keepgain.core.errors import UserError
from keepgain.sweeps.search.given import raw_of
from keepgain.sweeps.search.mixture import MIXTURE
from keepgain.sweeps.search.space import Space
from keepgain.sweeps.spec_search import SamplerName

MAX_GRID = 100_000
"""Points of a grid that are still listed."""


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


def grid_points(space: Space, seed: int) -> list[dict[str, Any]]:
    """Raw values of every point, in a random order, so that a grid cut short is balanced.

    Optuna's GridSampler has no conditions: it would offer each point once for every value of the
    parameters that do not exist there.

    Returns:
        Nothing where the space is continuous or has more than `MAX_GRID` points.
    """
    size = space.grid_points()
    if size is None or size > MAX_GRID:
        return []
    points = list(space.grid())
    random.Random(seed).shuffle(points)
    return points


def check_points(
    space: Space,
    sampler: SamplerName,
    configs: Sequence[Mapping[str, Any]] | None,
    where: Callable[[str], str],
) -> None:
    """Refuses a grid without points, and a list with configurations that are not of the space.

    Args:
        where: Dotted key of the spec → place for a message.

    Raises:
        UserError: The parameter, what is wrong with it, what to write instead.
    """
    if (sampler == "list") != bool(configs):
        raise UserError(
            "`configs` and `sampler: list` belong together.",
            where=where("search.configs" if configs else "search.sampler"),
            hint="search: {sampler: list, configs: [{learning_rate: 1e-4}, ...]}",
        )
    for i, config in enumerate(configs or ()):
        _check_config(space, config, where, f"search.configs.{i}")
    if sampler != "grid":
        return
    if space.continuous:
        name = space.continuous[0]
        raise UserError(
            f"`sampler: grid` tries every value, and {name} is a continuous range.",
            where=where(f"space.{name}"),
            hint=_GRID_MIXTURE if name == MIXTURE else _GRID_RANGE.format(name=name),
        )
    if (size := space.grid_points() or 0) > MAX_GRID:
        raise UserError(
            f"the grid has {size} points; at most {MAX_GRID} are listed.",
            where=where("search.sampler"),
            hint="Give fewer values, or draw from it with `sampler: random`.",
        )


_GRID_RANGE = (
    "Give its values, e.g. `{name}: [A, B, C]`, or a `step:` with `uniform`; or take another "
    "sampler."
)
_GRID_MIXTURE = (
    "Give every source one share, or lists of `replay_share` and `synthetic_share` in its place; "
    "or take another sampler."
)


def _check_config(
    space: Space, config: Mapping[str, Any], where: Callable[[str], str], key: str
) -> None:
    try:
        raw_of(space, config)
    except UserError as error:
        # The message begins with the parameter's name, which may be missing in the list.
        name = error.problem.split()[0].rstrip(":") if error.problem else ""
        place = f"{key}.{name}" if name in config else key
        raise UserError(error.problem, where=where(place), hint=error.hint) from None
