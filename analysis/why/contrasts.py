"""Do settings work differently together? Contrasts that were declared before any data.

* method x size, share of a source x size: on larger base models, does it do more, or less?
* learning rate x method: does the learning rate move one method more than another?

Ordinary least squares over all trials, one observation each, with every main effect beside the
interactions, on two responses:

* the task score as log-odds where it is a share of items (an empirical logit,
  ``ln((n a + .5) / (n (1 - a) + .5))``, n items), so that a ceiling is no interaction; the base's
  own score is the same for all trials of a size and is taken up by the effect of the size. Scores
  in other units count as they are, turned so that up is good: `gain`.
* `forgetting`, in its own unit.

Size is a category as a main effect (each base has its own start) and the logarithm of its
parameters in interactions. Standard errors are HC3 (MacKinnon & White 1985), intervals t; Holm over
all declared contrasts of the sweep whose factors vary. With few trials HC3 is unstable, so there
must be `MIN_DF` more trials than coefficients, and no trial that alone fixes one (leverage).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis import words
from keepgain.analysis.measures import Measures
from keepgain.analysis.why.observations import Observation, settings, share, shares
from keepgain.core.items import Floats
from keepgain.core.multiplicity import holm
from keepgain.core.scorers import in_points

MIN_DF = 12
MAX_LEVERAGE = 0.95
LEARNING_RATE = "learning_rate"


@dataclass(frozen=True)
class Contrast:
    """One interaction on one response."""

    name: str
    """`lora x size`, `mixture.general x size`, `learning rate x lora`."""
    response: str
    """`gain` or `forgetting`."""
    unit: str
    trials: int
    per: str
    """What one unit of the interaction is, in words."""
    estimate: float | None = None
    low: float | None = None
    """95 %, not adjusted; so is `high`."""
    high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    """Holm's, over all contrasts that were assessed."""
    reason: str | None = None
    """Why it was not assessed."""

    @property
    def resolved(self) -> bool:
        """Shown to differ from 0 with all contrasts together."""
        return self.p_adjusted is not None and self.p_adjusted <= 0.05


@dataclass(frozen=True)
class _Interaction:
    name: str
    per: str
    column: Floats
    """Shape [n]: product of its centred factors."""


def contrasts(
    found: Sequence[Observation], measures: Measures, parameters: Mapping[str, int]
) -> tuple[Contrast, ...]:
    """All declared contrasts whose factors vary, gain first.

    Args:
        measures: Of the same trials: it knows the items and units.
        parameters: Base model → parameters.
    """
    results: list[Contrast] = []
    for response in ("gain", "forgetting"):
        used = [o for o in found if response in o.values and parameters.get(o.who.model)]
        unit, values = _response(used, measures, response)
        results += _assessed(used, response, unit, values, parameters)
    tested = [c.p for c in results if c.p is not None]
    adjusted = iter(holm(tested).tolist())
    return tuple(
        c if c.p is None else Contrast(**{**vars(c), "p_adjusted": next(adjusted)}) for c in results
    )


def _response(used: Sequence[Observation], measures: Measures, response: str) -> tuple[str, Floats]:
    unit = "points" if in_points(measures.scorer(response)) else "suite unit"
    if response == "gain" and unit == "points":
        suites = measures.table.suites["validation"].values()
        n = sum(len(s.item_ids) for s in suites if s.info.measures == "gain")
        score = np.array([o.values["task_score"] for o in used])
        return "log-odds", np.log((n * score + 0.5) / (n * (1 - score) + 0.5))
    scale = 100.0 if unit == "points" else 1.0
    return unit, scale * np.array([o.values[response] for o in used])


def _assessed(
    used: Sequence[Observation],
    response: str,
    unit: str,
    values: Floats,
    parameters: Mapping[str, int],
) -> list[Contrast]:
    if not used:
        return []
    main, interactions = _model(used, parameters)
    blank = [Contrast(i.name, response, unit, len(used), i.per) for i in interactions]
    if not interactions:
        return []
    columns = np.column_stack([main, *(i.column for i in interactions)])
    reason = _refused(columns, values)
    if reason is not None:
        return [Contrast(**{**vars(c), "reason": reason}) for c in blank]
    import statsmodels.api as sm

    fit = sm.OLS(values, columns).fit(cov_type="HC3", use_t=True)
    interval = fit.conf_int(0.05)
    first = main.shape[1]
    return [
        Contrast(
            **{
                **vars(c),
                "estimate": float(fit.params[first + k]),
                "low": float(interval[first + k][0]),
                "high": float(interval[first + k][1]),
                "p": float(fit.pvalues[first + k]),
            }
        )
        for k, c in enumerate(blank)
    ]


def _model(
    used: Sequence[Observation], parameters: Mapping[str, int]
) -> tuple[Floats, list[_Interaction]]:
    """Columns of the main effects with the constant, shape [n, columns], and the interactions."""
    sizes = sorted({o.who.model for o in used}, key=lambda m: (parameters[m], m))
    main = [np.array([float(o.who.model == m) for o in used]) for m in sizes]
    size = np.array([math.log10(parameters[o.who.model]) for o in used])
    size = size - size.mean()
    interactions: list[_Interaction] = []
    methods = next((s.levels for s in settings(used) if s.name == "method"), ())
    reference = "full" if "full" in methods else next(iter(methods), "")
    method_columns = {}
    for method in (m for m in methods if m != reference):
        column = np.array([float(o.params.get("method") == method) for o in used])
        column = column - column.mean()
        method_columns[f"{method} instead of {reference}"] = column
        main.append(column)
    # The largest share follows from the others.
    mixed = shares(used)
    for name in mixed[1:] if all(n.startswith("mixture.") for n in mixed) else mixed:
        column = np.array([share(o, name) for o in used])
        column = (column - column.mean()) * 10
        main.append(column)
        if np.ptp(size) > 0:
            per = "per 10 points of the tokens and tenfold parameters"
            interactions.append(_Interaction(f"{name} x size", per, column * size))
    for name, column in method_columns.items():
        if np.ptp(size) > 0:
            per = "per tenfold parameters"
            interactions.append(_Interaction(f"{name} x size", per, column * size))
    rates = [o.params.get(LEARNING_RATE) for o in used]
    if all(isinstance(r, int | float) and r > 0 for r in rates) and len(set(rates)) > 1:
        rate = np.log10(np.array(rates, dtype=np.float64))
        rate = rate - rate.mean()
        main.append(rate)
        if len(set(rates)) > 2:  # it has an optimum
            main.append(rate * rate - float(np.mean(rate * rate)))
        for name, column in method_columns.items():
            per = "per tenfold learning rate"
            interactions.append(_Interaction(f"learning rate x {name}", per, column * rate))
    return np.column_stack(main), interactions


def _refused(columns: Floats, values: Floats) -> str | None:
    n, coefficients = columns.shape
    if n < coefficients + MIN_DF:
        return f"{words.count(n, 'trial')}, {coefficients + MIN_DF} are needed"
    if np.linalg.matrix_rank(columns) < coefficients:
        return "the trials do not tell these factors apart (they vary together)"
    q, _ = np.linalg.qr(columns)
    if float(np.max(np.sum(q * q, axis=1))) > MAX_LEVERAGE:
        return "a single trial decides an effect"
    return None if np.ptp(values) > 0 else "all trials score the same"
