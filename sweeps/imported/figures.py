"""Cells into figures, or into why they are none."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keepgain.analysis.given_question import SHARES, is_forgetting
from keepgain.core.jsonl import json_name
from keepgain.core.record import GivenObjective
from keepgain.sweeps.imported.options import Columns
from keepgain.sweeps.imported.paths import MISSING, find
from keepgain.sweeps.imported.read import TableRow

_ABSENT = {"", "-", "–", "—", "na", "n/a", "null", "none", "nan"}
"""What tables write where there is nothing; `nan` of a standard error alone."""
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_SCALED = re.compile(r"([0-9.eE+-]+)\s*([kKmMbBgGtT]?)")
LARGEST = 1e308
"""Some tools write the largest double for infinity."""


@dataclass(frozen=True)
class Figures:
    """What a row says in the named columns."""

    where: str
    label: str
    model: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Objective → value; those that are no figures are absent."""
    errors: Mapping[str, float] = field(default_factory=dict)
    n: int | None = None
    cost: float | None = None
    faults: tuple[str, ...] = ()
    """Why the row does not count; empty if it does."""
    time: float = 0.0


class NoFigure(Exception):  # noqa: N818 - an answer about a cell, not an error of the program
    """Why a cell holds no usable figure."""


def figures_of(row: TableRow, columns: Columns) -> Figures:
    """Reads the named columns of one row; every fault of it is kept."""
    faults = [row.fault] if row.fault else []
    label = _text(find(row.cells, columns.label))
    model = "" if columns.model is None else _text(find(row.cells, columns.model))
    if not row.fault:
        faults += [
            f"{column}: missing"
            for column, found in ((columns.label, label), (columns.model, model))
            if column is not None and not found
        ]
    metrics: dict[str, float] = {}
    errors: dict[str, float] = {}
    for objective in () if row.fault else columns.objectives:
        try:
            metrics[objective.name] = _objective(find(row.cells, objective.name), objective)
        except NoFigure as why:
            faults.append(f"{objective.name}: {why}")
        column = columns.errors.get(objective.name)
        if column is not None:
            _optional(row, column, faults, errors, objective.name, least=0.0)
    others: dict[str, float] = {}
    if columns.cost is not None:
        _optional(row, columns.cost, faults, others, "cost", scaled=True)
    if isinstance(columns.n, str):
        _optional(row, columns.n, faults, others, "n", least=2.0)
    n = columns.n if isinstance(columns.n, int) else others.get("n")
    if n is not None and n != int(n):
        faults.append(f"{columns.n}: {n:g} is no number of items")
        n = None
    return Figures(
        where=row.where,
        label=label or row.where,
        model=model,
        metrics=metrics,
        errors=errors,
        n=None if n is None else int(n),
        cost=others.get("cost"),
        faults=tuple(faults),
        time=row.time,
    )


def meets(row: TableRow, where: tuple[tuple[str, str], ...]) -> bool:
    """True if the row has all the values asked for; numbers are compared as numbers."""
    return all(_equal(find(row.cells, column), value) for column, value in where)


def number(value: Any, *, scaled: bool = False) -> float:
    """A finite number.

    Args:
        scaled: `2.7B` and `350M` are numbers too.

    Raises:
        NoFigure: With what the cell holds instead.
    """
    if value is MISSING or value is None:
        raise NoFigure("missing")
    if isinstance(value, str):
        value = _of_text(value, scaled)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise NoFigure(f"{json_name(value)} is not a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if math.isnan(found):
        raise NoFigure("NaN")
    if abs(found) >= LARGEST:
        raise NoFigure("infinite")
    return found


def _of_text(text: str, scaled: bool) -> float:
    given = text.strip()
    if given.lower() in _ABSENT - {"nan"}:
        raise NoFigure(f"missing ('{given}')" if given else "missing")
    scale = 1.0
    number_text = given
    if scaled and (match := _SCALED.fullmatch(given)):
        number_text, scale = match[1], _SCALES[match[2].lower()]
    try:
        if "_" in given or not given.isascii():  # Python takes 1_000 and other scripts' digits
            raise ValueError
        return scale * float(number_text)
    except ValueError:
        shown = given if len(given) <= 40 else f"{given[:37]}..."
        raise NoFigure(f"'{shown}' is not a number") from None


def _objective(value: Any, objective: GivenObjective) -> float:
    found = number(value)
    top = SHARES.get(objective.unit)
    if top is not None:
        # Forgetting is a difference: a model that got better has forgotten less than nothing.
        least = -top if is_forgetting(objective) else 0.0
        if not least <= found <= top:
            raise NoFigure(f"{found:g} is no {objective.unit} ({least:g} to {top:g})")
    return found


def _optional(
    row: TableRow,
    column: str,
    faults: list[str],
    into: dict[str, float],
    name: str,
    *,
    least: float | None = None,
    scaled: bool = False,
) -> None:
    """Figures that a row may lack; what is there must be one."""
    value = None if row.fault else find(row.cells, column)
    absent = value is None or value is MISSING
    absent = absent or (isinstance(value, str) and value.strip().lower() in _ABSENT)
    if absent or (isinstance(value, float) and math.isnan(value)):
        return
    try:
        found = number(value, scaled=scaled)
        if least is not None and found < least:
            raise NoFigure(f"{found:g} is below {least:g}")
        into[name] = found
    except NoFigure as why:
        faults.append(f"{column}: {why}")


def _text(value: Any) -> str:
    """A label; empty where there is none."""
    if value is MISSING or value is None or isinstance(value, dict | list):
        return ""
    return " ".join(str(value).split())


def _equal(value: Any, wanted: str) -> bool:
    if value is MISSING:
        return False
    if value is None:
        return wanted.strip().lower() in ("", "null", "none")
    if isinstance(value, bool):
        return str(value).lower() == wanted.strip().lower()
    if _text(value) == " ".join(wanted.split()):
        return True
    try:
        return number(value) == number(wanted)
    except NoFigure:
        return False
