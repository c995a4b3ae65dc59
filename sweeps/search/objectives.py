"""What the search optimises: gain and forgetting on validation, from the means of each suite.

All runs are scored on the same items, so the difference of means is the mean of the paired
differences. Signs as in science section 1: gain up is good, forgetting up is bad.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keepgain.core.config import SuiteRef
from keepgain.core.guards import Guard, watched
from keepgain.core.metrics import Direction
from keepgain.core.record import Question
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
    means: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Suite → raw mean scores of the run and of its base: what guards are about."""

    @property
    def values(self) -> tuple[float, ...]:
        """In the order of `directions`."""
        return (self.gain,) if self.forgetting is None else (self.gain, self.forgetting)


@dataclass(frozen=True)
class Limits:
    """What a trial has to keep to; only the decision asks for proof of it."""

    max_forgetting: float | None = None
    """Largest drop of any forgetting suite."""
    guards: Mapping[str, Guard] = field(default_factory=dict)
    """By suite: guards on slices and classes are left to the decision, since reports of rungs have
    the means of whole suites."""


def limits_of(question: Question) -> Limits:
    """Of the question, as the search can keep to them."""
    parts = {name: watched(name) for name in question.guards}
    whole = {
        suite: question.guards[name]
        for name, part in parts.items()
        if part.field is None and (suite := part.suite) is not None
    }
    return Limits(question.max_forgetting, whole)


def directions(suites: Sequence[SuiteRef]) -> dict[str, Direction]:
    """Name → direction of the objectives that these suites can measure."""
    gain: dict[str, Direction] = {"gain": "maximize"}
    return gain | {"forgetting": "minimize"} if _measures_forgetting(suites) else gain


def constraint_names(suites: Sequence[SuiteRef], limits: Limits) -> tuple[str, ...]:
    """Of the constraints that every completed trial has; see `constraints`."""
    limited = limits.max_forgetting is not None and _measures_forgetting(suites)
    names = (FORGETTING_OVER_LIMIT,) if limited else ()
    return (*names, *(guard_name(s.name) for s in suites if s.name in limits.guards))


def guard_name(suite: str) -> str:
    """Of the constraint that a guard on a suite is."""
    return f"guard/{suite}"


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
    means: dict[str, tuple[float, float]] = {}
    for suite in suites:
        key = f"{suite.split}/{suite.name}"
        means[suite.name] = (tuned[key], base[key])
        better = metric_of(suite.scorer).sign * (tuned[key] - base[key])
        if suite.measures == "gain":
            gains.append(better)
        elif suite.measures == "forgetting":
            drops[suite.name] = -better
    forgetting = sum(drops.values()) / len(drops) if drops else None
    return Objectives(sum(gains) / len(gains), forgetting, drops, means)


def constraints(found: Objectives, limits: Limits) -> dict[str, float]:
    """Optuna constraints: feasible at 0 or below; empty where the question sets no limit.

    Point estimates, each in its suite's own unit.
    """
    over: dict[str, float] = {}
    if limits.max_forgetting is not None and found.drops:
        over[FORGETTING_OVER_LIMIT] = max(found.drops.values()) - limits.max_forgetting
    for suite, guard in limits.guards.items():
        if suite in found.means:
            over[guard_name(suite)] = _over(guard, *found.means[suite])
    return over


def excess(found: Objectives, limits: Limits) -> float:
    """By how much it is beyond the limit that it breaks most; 0 within all."""
    return max((0.0, *constraints(found, limits).values()))


def _over(guard: Guard, tuned: float, base: float) -> float:
    """By how much a mean is beyond the guard's limit that it is nearest to, or breaks most."""
    beyond = {
        "max_increase": lambda limit: tuned - base - limit,
        "max_decrease": lambda limit: base - tuned - limit,
        "min": lambda limit: limit - tuned,
        "max": lambda limit: tuned - limit,
    }
    return max(beyond[name](limit) for name, limit in guard.limits.items())
