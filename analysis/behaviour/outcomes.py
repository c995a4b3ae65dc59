"""Results of a live test: a business metric of a sweep's arms, as recorded with the sweep.

Each unit (a user, a case) was in one arm and counts once. A share of successes has Wilson's
interval, and its difference from the control Newcombe's (Statistics in Medicine 17, 1998, method
10); a mean of values has Student's, and its difference Welch's (Biometrika 34, 1947).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

from keepgain.analysis.behaviour.verdict import SAYS, Answer, verdict
from keepgain.analysis.stats import CONFIDENCE, Estimate, t_quantile
from keepgain.core.later import LaterEvidence
from keepgain.core.metrics import Direction
from keepgain.core.proportions import difference_interval, wilson
from keepgain.core.record import OutcomeLimit
from keepgain.core.schema import StrictModel, parse

KIND = "outcomes"
WILSON, NEWCOMBE, WELCH, STUDENT = "wilson", "newcombe", "welch_t", "units_t"


class ArmRecord(StrictModel):
    """One arm of a live test."""

    arm: str
    """As the file names it."""
    trial: str | None = None
    """The sweep's trial that was live; None: the control, or none of this sweep."""
    units: int
    mean: float
    variance: float
    """Of the units' values, over n - 1; of successes mean * (1 - mean) * n / (n - 1)."""


class OutcomeRecord(StrictModel):
    """What `sweep outcomes import` keeps."""

    metric: str
    direction: Direction
    of: Literal["success", "value"]
    """success: every unit is 0 or 1."""
    control: str
    arms: tuple[ArmRecord, ...]
    file: str = ""
    """Name of the file, without its folder."""
    digest: str = ""
    """SHA-256 of the file."""


@dataclass(frozen=True)
class ArmFound:
    """One arm with its interval, and how it stands against the control."""

    arm: str
    trial: str | None
    level: Estimate
    """n_items is the number of units."""
    improvement: Estimate | None
    """Arm minus control, turned so that up is good; None of the control."""
    standard_error: float
    """Of the improvement."""
    df: float
    """Of Welch; infinite for shares."""
    record: OutcomeRecord

    def bound(self, confidence: float = CONFIDENCE, *, upper: bool = False) -> float | None:
        """One-sided bound of the improvement; None of the control."""
        found = _improvement(self.record, self.arm, 2 * confidence - 1)
        return None if found is None else found.high if upper else found.low


@dataclass(frozen=True)
class OutcomeFound:
    """A metric as it was imported last."""

    record: OutcomeRecord
    time: str
    arms: tuple[ArmFound, ...]

    def of_trial(self, trial: str) -> ArmFound | None:
        """The arm in which a trial was live."""
        return next((a for a in self.arms if a.trial == trial), None)


def outcomes_found(later: Sequence[LaterEvidence]) -> tuple[OutcomeFound, ...]:
    """Every metric, in the order of first imports; a later import takes an earlier one's place.

    Raises:
        UserError: An entry was changed by hand.
    """
    latest: dict[str, OutcomeFound] = {}
    for entry in later:
        if entry.kind == KIND:
            record = parse(OutcomeRecord, entry.data, source=f"outcomes of {entry.time}")
            latest[record.metric] = found_of(record, entry.time)
    return tuple(latest.values())


def found_of(record: OutcomeRecord, time: str = "") -> OutcomeFound:
    """A record with its intervals."""
    return OutcomeFound(record, time, tuple(_arm(record, a) for a in record.arms))


def outcome_judged(
    found: ArmFound, limit: OutcomeLimit, confidence: float = CONFIDENCE
) -> tuple[Answer, float | None]:
    """Whether a trial improves enough, and the one-sided lower bound of its improvement."""
    low, high = found.bound(confidence), found.bound(confidence, upper=True)
    return verdict(low, high, limit.min_improvement, side=-1), low


def outcome_told(found: ArmFound, limit: OutcomeLimit, answer: Answer) -> str:
    """What the limit on an outcome says of a trial, with its numbers."""
    return (
        f"the limit on the live outcome {limit.metric} (min_improvement "
        f"{limit.min_improvement:g}) {SAYS[answer]}: {told(found)}"
    )


def told(found: ArmFound) -> str:
    """`0.412 against 0.380 of the control: +0.032 [0.010, 0.054], 2,000 units`."""
    control = next(a for a in found.record.arms if a.arm == found.record.control)
    assert found.level.value is not None
    said = f"{found.level.value:.3f} against {control.mean:.3f} of {control.arm}"
    e = found.improvement
    if e is not None and e.value is not None:
        interval = "interval unknown"
        if e.low is not None and e.high is not None:
            interval = f"{e.low:+.3f}, {e.high:+.3f}"
        said += f", an improvement of {e.value:+.3f} [{interval}]"
    return f"{said}, on {found.level.n_items:,} and {control.units:,} units"


def _arm(record: OutcomeRecord, arm: ArmRecord) -> ArmFound:
    control = next(a for a in record.arms if a.arm == record.control)
    error, df = _welch(arm, control)
    return ArmFound(
        arm=arm.arm,
        trial=arm.trial,
        level=_level(record, arm),
        improvement=_improvement(record, arm.arm, CONFIDENCE),
        standard_error=error,
        df=math.inf if record.of == "success" else df,
        record=record,
    )


def _level(record: OutcomeRecord, arm: ArmRecord) -> Estimate:
    if record.of == "success":
        low, high = wilson(arm.mean * arm.units, arm.units, _z(CONFIDENCE))
        return Estimate(arm.mean, low, high, arm.units, 0, WILSON)
    if arm.units < 2 or not arm.variance:
        return Estimate(arm.mean, n_items=arm.units)
    reach = t_quantile((1 + CONFIDENCE) / 2, arm.units - 1) * math.sqrt(arm.variance / arm.units)
    return Estimate(arm.mean, arm.mean - reach, arm.mean + reach, arm.units, 0, STUDENT)


def _improvement(record: OutcomeRecord, name: str, confidence: float) -> Estimate | None:
    """Two-sided, of an arm over the control."""
    if name == record.control:
        return None
    arm, control = (next(a for a in record.arms if a.arm == n) for n in (name, record.control))
    sign = 1.0 if record.direction == "maximize" else -1.0
    value = sign * (arm.mean - control.mean) + 0.0  # no -0
    if record.of == "success":
        hits = (arm.mean * arm.units, arm.units, control.mean * control.units, control.units)
        ends = [sign * e for e in difference_interval(*hits, _z(confidence))]
        return Estimate(value, min(ends), max(ends), arm.units + control.units, 0, NEWCOMBE)
    error, df = _welch(arm, control)
    if not error or not math.isfinite(error):
        return Estimate(value, n_items=arm.units + control.units)
    reach = t_quantile((1 + confidence) / 2, df) * error
    return Estimate(value, value - reach, value + reach, arm.units + control.units, 0, WELCH)


def _welch(arm: ArmRecord, control: ArmRecord) -> tuple[float, float]:
    """Standard error of the difference of means, and its degrees of freedom."""
    parts = [(a.variance / a.units, a.units - 1) for a in (arm, control)]
    if any(df < 1 for _, df in parts):
        return math.inf, 0.0
    total = math.fsum(v for v, _ in parts)
    spread = math.fsum(v * v / df for v, df in parts)
    return math.sqrt(total), (total * total / spread if spread else math.inf)


def _z(confidence: float) -> float:
    return float(special.ndtri((1 + confidence) / 2))
