"""One observation a configuration: its settings and its figures on validation.

What mattered is asked of the search, so everything is on validation, where every trial has scores;
test items have few. Confirmed trials count with their fresh seeds, not with the run that got them
selected. Left out is what `table` leaves out (stopped, failed, cut short) and weights that were
mixed rather than trained (`interpolation`), which are no draws of the search.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keepgain.analysis.given_table import GivenTable
from keepgain.analysis.measures import Measures
from keepgain.analysis.table import Configuration
from keepgain.core.items import Floats
from keepgain.core.record import Origin, RunRecord, SpaceDimension

SHARE = "mixture."
"""Prefix of the settings that are shares of the training tokens; they sum to 1."""
SHARES = ("replay_share", "synthetic_share")
"""The same by role."""
_FIGURES = ("gain", "forgetting", "task_score", "general_score")
_NOT_SETTINGS = ("budget_unit", "interpolation")
_LOG_FROM = 20.0
"""Positive numbers over a wider range than this are compared by their logarithm, where the record
does not say how they were searched."""


@dataclass(frozen=True)
class Observation:
    """One configuration."""

    who: Configuration
    origin: Origin | None
    number: int | None
    values: Mapping[str, float]
    """`gain`, `forgetting`, `task_score`, `general_score`, as far as they are known."""
    suites: Mapping[str, float]
    """Suite → weighted mean score, in the suite's unit and direction."""

    @property
    def params(self) -> Mapping[str, object]:
        """Its settings."""
        return self.who.params


@dataclass(frozen=True)
class Setting:
    """A setting that differs between observations."""

    name: str
    kind: str
    """`number`, `log` (a number compared by its logarithm) or `category`."""
    levels: tuple[str, ...] = ()
    """Of a category, sorted; as text."""

    def of(self, params: Mapping[str, object]) -> float | str | None:
        """Its value as compared: a number, its logarithm to base 10, or text; None: not set."""
        value = params.get(self.name)
        if value is None:
            return None
        if self.kind == "category":
            return str(value)
        assert isinstance(value, int | float), "settings() checked it"
        return math.log10(value) if self.kind == "log" else float(value)


def observations(measures: Measures) -> tuple[Observation, ...]:
    """All trials with validation scores, in the order of the record."""
    first: dict[str, RunRecord] = {}
    made = set()
    for run in measures.table.sweep.runs:
        if run.made_from is not None:
            made.add(run.trial_id)
        if run.trial_id not in first or first[run.trial_id].number is None:
            first[run.trial_id] = run
    found = []
    for who in measures.table.configurations:
        if who.kind != "trial" or not who.has("validation") or who.trial_id in made:
            continue
        values = {n: v for n in _FIGURES if (v := measures.point(who, "validation", n)) is not None}
        run = first[who.trial_id]
        found.append(Observation(who, run.origin, run.number, values, _suites(measures, who)))
    return tuple(found)


def given_observations(table: GivenTable) -> tuple[Observation, ...]:
    """The rows of a table from elsewhere, by its own objectives; it has no suites."""
    return tuple(
        Observation(
            who, None, None, {n: f.value for n, f in table.figures[who.trial_id].items()}, {}
        )
        for who in table.configurations
    )


def _suites(measures: Measures, who: Configuration) -> dict[str, float]:
    suites = measures.table.suites["validation"]
    return {
        name: float(np.average(scores.mean(axis=1), weights=suites[name].weights))
        for name, scores in who.scores["validation"].items()
    }


def settings(
    found: Sequence[Observation], space: Sequence[SpaceDimension] = ()
) -> tuple[Setting, ...]:
    """What differs between these observations, in the order in which it appears.

    Text that differs in every one of them is a name, and no setting.
    """
    forms = {d.name: d.form for d in space}
    names = dict.fromkeys(n for o in found for n in o.params)
    kept = []
    for name in names:
        values = [v for o in found if (v := o.params.get(name)) is not None]
        if name in _NOT_SETTINGS or len({str(v) for v in values}) < 2:
            continue
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            levels = tuple(sorted({str(v) for v in values}))
            if len(levels) < len(values) or len(levels) == 2:
                kept.append(Setting(name, "category", levels))
            continue
        numbers = [float(v) for v in values if isinstance(v, int | float)]
        is_share = name.startswith(SHARE) or name in SHARES
        kept.append(Setting(name, _scale("share" if is_share else forms.get(name), numbers)))
    return tuple(kept)


def _scale(form: str | None, numbers: Sequence[float]) -> str:
    low, high = min(numbers), max(numbers)
    if form in ("log", "log_int"):
        return "log"
    known = form in ("uniform", "int", "share")
    return "log" if not known and low > 0 and high / low >= _LOG_FROM else "number"


def shares(found: Sequence[Observation]) -> tuple[str, ...]:
    """The settings that are shares of the training tokens and differ, the largest on average first.

    Returns:
        `mixture.SOURCE`, where a source left out has share 0; else `replay_share` and
        `synthetic_share`; empty where no mixture was searched.
    """
    names = dict.fromkeys(n for o in found for n in o.params if n.startswith(SHARE) or n in SHARES)
    means = {n: float(np.mean([share(o, n) for o in found])) for n in names}
    vary = [n for n in names if len({round(share(o, n), 6) for o in found}) > 1]
    return tuple(sorted(vary, key=lambda n: -means[n]))


def share(observation: Observation, name: str) -> float:
    """A share of the training tokens; 0 of a source that is not part of the mixture."""
    value = observation.params.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def design(found: Sequence[Observation], chosen: Sequence[Setting]) -> tuple[list[str], Floats]:
    """Columns for a regression: numbers centred and scaled to sd 1, categories as 0/1 but for the
    first level; a number that only some observations have is 0 (its mean) in the others.

    Returns:
        Names, and an array of shape [n, columns].
    """
    names: list[str] = []
    columns: list[Floats] = []
    for setting in chosen:
        values = [setting.of(o.params) for o in found]
        if setting.kind == "category":
            for level in setting.levels[1:]:
                names.append(f"{setting.name}={level}")
                columns.append(np.array([float(v == level) for v in values]))
            continue
        column = np.array([math.nan if v is None else float(v) for v in values])
        known = np.isfinite(column)
        spread = float(np.std(column[known])) or 1.0
        column = np.where(known, (column - np.mean(column[known])) / spread, 0.0)
        names.append(setting.name)
        columns.append(column)
    array = np.column_stack(columns) if columns else np.zeros((len(found), 0))
    return names, array


def independent(z: Floats) -> Floats:
    """Without columns that follow from those before them (`lora.rank` where all have one)."""
    kept: list[int] = []
    for j in range(z.shape[1]):
        if np.linalg.matrix_rank(z[:, [*kept, j]]) > len(kept):
            kept.append(j)
    return z[:, kept]
