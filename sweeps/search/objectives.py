"""What the search optimises: gain and forgetting on validation, from the means of each suite.

All runs are scored on the same items, so the difference of means is the mean of the paired
differences. Signs as in science section 1: gain up is good, forgetting up is bad.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keepgain.core.config import SuiteRef
from keepgain.core.metrics import Direction
from keepgain.core.scorers import metric_of

FORGETTING_OVER_LIMIT = "forgetting_over_limit"


@dataclass(frozen=True)
class Objectives:
    """Point estimates of one run against its base."""

    gain: float
    forgetting: float | None
    """Mean over the forgetting suites; None if there is none."""
    drops: dict[str, float]
    """Forgetting suite → base minus tuned, in the suite's unit, up is worse."""

    @property
    def values(self) -> tuple[float, ...]:
        """In the order of `directions`."""
        return (self.gain,) if self.forgetting is None else (self.gain, self.forgetting)


def directions(suites: Sequence[SuiteRef]) -> dict[str, Direction]:
    """Name → direction of the objectives that these suites can measure."""
    gain: dict[str, Direction] = {"gain": "maximize"}
    return gain | {"forgetting": "minimize"} if _measures_forgetting(suites) else gain


def constraint_names(suites: Sequence[SuiteRef], max_forgetting: float | None) -> tuple[str, ...]:
    """Of the constraints that every completed trial has; see `constraints`."""
    limited = max_forgetting is not None and _measures_forgetting(suites)
    return (FORGETTING_OVER_LIMIT,) if limited else ()


def _measures_forgetting(suites: Sequence[SuiteRef]) -> bool:
    return any(s.measures == "forgetting" for s in suites)


def with_proxies(suites: Sequence[SuiteRef], proxies: Mapping[str, str]) -> list[SuiteRef]:
    """The suites as trials are ranked below the full budget.

    Args:
        suites: All that are scored.
        proxies: Suite that stands in → suite that it replaces, and whose meaning it takes over.
    """
    meant = {suite.name: suite.measures for suite in suites}
    return [
        suite.model_copy(update={"measures": meant[proxies[suite.name]]})
        if suite.name in proxies
        else suite
        for suite in suites
        if suite.name not in proxies.values()
    ]


def objectives(
    tuned: Mapping[str, float], base: Mapping[str, float], suites: Sequence[SuiteRef]
) -> Objectives:
    """Gain and forgetting of `tuned` over `base`.

    Args:
        tuned: `SPLIT/SUITE` → mean score, as in `RungReport.metrics`.
        base: The same of the run's base model.
        suites: The suites scored, all of one split.

    Raises:
        KeyError: A suite has no score (the worker refuses to report such a run).
    """
    gains: list[float] = []
    drops: dict[str, float] = {}
    for suite in suites:
        key = f"{suite.split}/{suite.name}"
        better = metric_of(suite.scorer).sign * (tuned[key] - base[key])
        if suite.measures == "gain":
            gains.append(better)
        elif suite.measures == "forgetting":
            drops[suite.name] = -better
    forgetting = sum(drops.values()) / len(drops) if drops else None
    return Objectives(sum(gains) / len(gains), forgetting, drops)


def constraints(found: Objectives, max_forgetting: float | None) -> dict[str, float]:
    """Optuna constraints: feasible at 0 or below; empty where the question sets no limit."""
    if max_forgetting is None or not found.drops:
        return {}
    return {FORGETTING_OVER_LIMIT: max(found.drops.values()) - max_forgetting}
