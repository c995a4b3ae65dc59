"""Limits on how often rows are drawn, as caps on the shares of the training tokens."""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from keepgain.core.config import BudgetUnit
from keepgain.core.errors import UserError
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.search.given import raw_of
from keepgain.sweeps.search.mixture import MIXTURE, Mixture
from keepgain.sweeps.search.searchable import REPEAT_LIMIT
from keepgain.sweeps.search.space import Space
from keepgain.sweeps.space_fit import corners, described

UNITS = 1_000_000
"""Capped shares are whole millionths, as those of a mixture are: so they sum to 1 and keep their
caps exactly."""
SLACK = 1e-9
"""Of a cap: a budget of three passes draws no row more than three times."""


class Size(NamedTuple):
    """Of the rows of a source that a trial uses."""

    rows: int
    tokens: float


def limited_shares(
    shares: Mapping[str, float],
    limits: Mapping[str, float],
    sizes: Mapping[str, Size],
    budget: int,
    unit: BudgetUnit,
) -> dict[str, float]:
    """Shares with which no row is drawn more often than its limit, on average.

    Args:
        shares: Source → share of the training tokens; they sum to 1.
        limits: Source → how often a row of it may be drawn; others have no limit.
        sizes: Of each source with a share.
        budget: Of the trial, in `unit`.

    Raises:
        UserError: All sources with a share are at their limits before the budget is spent.
    """
    if unit == "tokens":
        return cap_shares(shares, {n: x * sizes[n].tokens / budget for n, x in _of(limits, shares)})
    # Shares are of tokens; of a budget in rows a source has its share over the length of its rows.
    length = {n: sizes[n].tokens / sizes[n].rows for n in shares}
    drawn = _normed({n: share / length[n] for n, share in shares.items()})
    capped = cap_shares(drawn, {n: x * sizes[n].rows / budget for n, x in _of(limits, shares)})
    if capped == drawn:
        return dict(shares)
    return _normed({n: share * length[n] for n, share in capped.items()})


def cap_shares(shares: Mapping[str, float], caps: Mapping[str, float]) -> dict[str, float]:
    """Shares at most as large as their caps; what is cut off goes to the others in proportion, and
    again where that lifts one of them above its own cap.

    Args:
        shares: They sum to 1; a share of 0 stays 0.
        caps: Source → its largest share; others have none.

    Returns:
        The shares as they are where no cap is below its share; else whole millionths that sum to 1.

    Raises:
        UserError: The caps sum to less than 1.
    """
    if all(share <= caps.get(name, 1.0) * (1 + SLACK) for name, share in shares.items()):
        return dict(shares)
    given = {name: share for name, share in shares.items() if share > 0}
    most = {name: min(UNITS, math.floor(caps.get(name, 1.0) * UNITS)) for name in given}
    if sum(most.values()) < UNITS:
        raise UserError(
            "every source with a share of the tokens is drawn as often as its limit allows, and "
            f"{sum(most.values()) / UNITS:.0%} of the budget is all that gives."
        )
    free, wanted = dict(given), dict.fromkeys(given, 0.0)
    while free:
        left = UNITS - sum(most[name] for name in given if name not in free)
        wanted |= {name: left * share / sum(free.values()) for name, share in free.items()}
        within = {name: share for name, share in free.items() if wanted[name] < most[name]}
        if len(within) == len(free):
            break
        free = within
    return {name: units / UNITS for name, units in _whole(wanted, most).items() if units}


def _whole(wanted: Mapping[str, float], most: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers near these that sum to `UNITS`: rounded down, then the largest fractions up."""
    units = {name: min(most[name], math.floor(number)) for name, number in wanted.items()}
    order = sorted(wanted, key=lambda name: math.floor(wanted[name]) - wanted[name])
    while missing := UNITS - sum(units.values()):
        for name in [n for n in order if units[n] < most[n]][:missing]:
            units[name] += 1
    return units


def _of(limits: Mapping[str, float], shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(name, limit) for name, limit in limits.items() if name in shares]


def _normed(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def refuse_impossible(
    loaded: LoadedSpec, space: Space, shares_of: Callable[[Mapping[str, Any]], object]
) -> None:
    """Refuses limits under which some trial could not spend its budget.

    Feasible is what the caps of the sources with a share allow, so what is tried are the corners of
    the other settings, each with every smallest set of sources that the mixture allows.

    Args:
        loaded: For places, and for the configurations that it lists.
        space: The search space.
        shares_of: Settings of a trial → its shares; raises where there are none.

    Raises:
        UserError: Naming the settings.
    """
    limits = [p.name for p in space.parameters if p.name.startswith(f"{REPEAT_LIMIT}.")]
    if not limits:
        return
    mixtures = [{}] if space.mixture is None else [*_least_supports(space.mixture)]
    listed = [space.resolve(raw_of(space, config)) for config in loaded.spec.search.configs or ()]
    for params in [*(p | m for p in corners(space) for m in mixtures), *listed]:
        try:
            shares_of(params)
        except UserError as error:
            told = {n: v for n, v in params.items() if not n.startswith(f"{MIXTURE}.")}
            alone = [n.removeprefix(f"{MIXTURE}.") for n in params if n not in told]
            only = f", tokens of {' and '.join(alone)} alone" if alone else ""
            raise UserError(
                f"with {described(told)}{only}: {error.problem}",
                where=loaded.where(f"space.{limits[0]}"),
                hint="Raise the limit or lower the budget; or see that a source without a limit "
                "always has a share, e.g. by a lower end above 0.",
            ) from None


def _least_supports(mixture: Mixture) -> Iterator[dict[str, float]]:
    """Settings with equal shares for each smallest set of sources that may have all tokens."""
    high = dict(zip(mixture.sources, mixture.high, strict=True))
    always = [n for n, low in zip(mixture.sources, mixture.low, strict=True) if low > 0]
    others = [n for n in mixture.sources if n not in always and high[n] > 0]
    missing = 1 - SLACK - sum(high[n] for n in always)
    for count in range(len(others) + 1):
        for more in combinations(others, count):
            sizes = [high[name] for name in more]
            if sum(sizes) >= missing and (not more or sum(sizes) - min(sizes) < missing):
                support = [*always, *more]
                yield {f"{MIXTURE}.{name}": 1 / len(support) for name in support}
