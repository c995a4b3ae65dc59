"""How a figure goes with model size, from at least four sizes.

Straight lines by least squares against log10(parameters): of the figure itself (`per_tenfold`: its
change with ten times the parameters), and, where all figures are above 0, of its logarithm, which
is a power law ``figure = a * parameters^exponent``. Of a task score in [0, 1] the power law is that
of the errors, 1 - score: errors are what shrinks as a power (Kaplan et al. 2020, arXiv 2001.08361).

The interval of a slope: Student's t with (sizes - 2) degrees of freedom, on the larger of two
variances: that of the residuals, which hold noise and misfit and may be small by chance among few
sizes, and that of the slope when the fit is repeated on joint draws of the figures (their own
error). Sizes may differ in more than parameters (families, training data): a slope describes these
models and is no forecast.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from keepgain.analysis.measures import Measures
from keepgain.analysis.points import of_measures
from keepgain.analysis.stats import t_quantile
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.items import Floats

MIN_SIZES = 4
FIGURES = ("task_score", "general_score", "forgetting", "relative_forgetting")
Form = Literal["per_tenfold", "power_law", "power_law_of_errors"]


@dataclass(frozen=True)
class Slope:
    """One fitted line."""

    figure: str
    form: Form
    sizes: int
    value: float
    """Change of the figure with ten times the parameters, or the exponent."""
    low: float
    """Two-sided 95 %, as `high`."""
    high: float
    explained: float | None
    """Share of the variance between sizes that the line explains; None: they do not differ."""


@dataclass(frozen=True)
class Scaling:
    """All fits, or why there are none."""

    slopes: tuple[Slope, ...]
    refusal: str | None


def fit(
    log_size: Floats, values: Floats, drawn: Floats | None = None
) -> tuple[float, float, float, float]:
    """Slope of a least-squares line with its interval.

    Args:
        log_size: Shape [n], n at least 3 and not all equal.
        values: Shape [n].
        drawn: Shape [draws, n], the values as they might have come out; None: unknown.

    Returns:
        slope, low, high, R squared (NaN if all values are equal).
    """
    centred = log_size - log_size.mean()
    room = float(centred @ centred)
    slope = float(centred @ values) / room
    residuals = values - values.mean() - slope * centred
    total = float(((values - values.mean()) ** 2).sum())
    df = len(values) - 2
    variance = float(residuals @ residuals) / df / room
    if drawn is not None:
        variance = max(variance, float(np.var(drawn @ centred / room)))
    reach = t_quantile(0.975, df) * variance**0.5
    explained = 1 - float(residuals @ residuals) / total if total > 0 else float("nan")
    return slope, slope - reach, slope + reach, explained


def scaling(measures: Measures, split: Split, candidates: Sequence[Configuration]) -> Scaling:
    """Fits over the sizes' candidates, one each."""
    parameters = {m.name: m.parameters for m in measures.table.sweep.models}
    who = [c for c in candidates if parameters.get(c.model)]
    sizes = len({parameters[c.model] for c in who})
    if sizes < MIN_SIZES:
        return Scaling((), f"a fit over sizes needs at least {MIN_SIZES} of them, here are {sizes}")
    log_size = np.log10([parameters[c.model] for c in who])
    slopes: list[Slope] = []
    for name in FIGURES:
        points = of_measures(measures, split, who, [name])
        if not points.complete.all():
            continue
        chunks = points.draws()
        drawn = None if chunks is None else np.concatenate([c[:, :, 0] for c in chunks])
        shares = points.objectives[0].unit.startswith("share") and name.endswith("score")
        for form, turn in _forms(points.values[:, 0], shares):
            value, low, high, explained = fit(
                log_size, turn(points.values[:, 0]), _usable(drawn, turn)
            )
            known = None if np.isnan(explained) else explained
            slopes.append(Slope(name, form, sizes, value, low, high, known))
    return Scaling(tuple(slopes), None)


def _forms(values: Floats, shares: bool) -> list[tuple[Form, Callable[[Floats], Floats]]]:
    found: list[tuple[Form, Callable[[Floats], Floats]]] = [("per_tenfold", lambda v: v)]
    if shares and (values < 1).all():
        found.append(("power_law_of_errors", lambda v: np.log10(1 - v)))
    elif not shares and (values > 0).all():
        found.append(("power_law", np.log10))
    return found


def _usable(drawn: Floats | None, turn: Callable[[Floats], Floats]) -> Floats | None:
    """Draws after the change; those with a figure that has no logarithm tell nothing of a slope."""
    if drawn is None:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        turned = turn(drawn)
    kept = turned[np.isfinite(turned).all(axis=1)]
    return kept if len(kept) > 1 else None
