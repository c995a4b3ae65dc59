"""Results of a live test into the record of a sweep: who was shown which model, and what came of
it.

A file has one row a unit (a user, a case): `arm`, `unit`, and `success` (0 or 1) or `value` (a
number). What is kept is each arm's number of units, mean and variance, never the units.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from keepgain.analysis.behaviour.outcomes import KIND, ArmRecord, OutcomeRecord
from keepgain.core.errors import UserError
from keepgain.core.identity import file_digest
from keepgain.core.jsonl import read_records
from keepgain.core.later import read_later
from keepgain.core.metrics import Direction
from keepgain.core.record import SweepRecord
from keepgain.core.schema import parse
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.reader import open_reader
from keepgain.core.tables import read_csv
from keepgain.sweeps.iterate import BEST, decided_trial
from keepgain.sweeps.later_evidence import append
from keepgain.sweeps.overview import find_summary
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import driver_of, taken
from keepgain.sweeps.stages.decide import decide_again

CONTROLS = ("base", "control")
"""Arms that are the control where none is named."""
COLUMNS = ("arm", "unit")
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")
_LEAST_NAME = 4
"""Digits of a trial's id by which an arm may be called."""

Of = Literal["success", "value"]


@dataclass
class _Arm:
    values: list[float] = field(default_factory=list)

    def record(self, name: str, trial: str | None) -> ArmRecord:
        n = len(self.values)
        try:
            mean = math.fsum(self.values) / n
            variance = math.fsum((v - mean) ** 2 for v in self.values) / (n - 1)
        except OverflowError:
            raise UserError(
                f"the values of arm '{name}' are too large to take their variance.",
                hint="Give them in a larger unit.",
            ) from None
        return ArmRecord(arm=name, trial=trial, units=n, mean=mean, variance=variance)


@dataclass(frozen=True)
class Imported:
    """What was recorded."""

    record: OutcomeRecord
    decided: str | None
    """Status of the decision now; None: the sweep has none yet."""


def import_outcomes(
    location: StoreLocation,
    sweep: str,
    path: Path,
    *,
    metric: str,
    direction: Direction,
    control: str | None = None,
    trials: Mapping[str, str] | None = None,
) -> Imported:
    """Records the outcomes of a file with a sweep; an earlier import of the metric gives way.

    The sweep's decision is made anew.

    Args:
        location: The store.
        sweep: Id, or `last`.
        path: `.csv`, `.tsv` or `.jsonl`.
        metric: Its name, as `question.outcome.metric` has it.
        direction: Of the metric.
        control: Name of the control's arm; None: `base`, else `control`.
        trials: Arm → first digits of the id of the trial that was live in it, or `best`; arms that
            are called so need none, nor does the only arm beside the control: that is the trial of
            the decision.

    Raises:
        UserError: No such sweep, arm or trial, a driver at work on the sweep, or the first row that
            cannot be used, as `file:line`. Nothing was recorded.
    """
    sweep = find_summary(location, sweep).id
    of, arms = read_arms(path)
    named = _control(arms, control, path)
    record = open_reader(location).load(sweep).sweep
    folder = location.sweep_folder(sweep)
    if (driver := driver_of(folder / LEDGER_NAME)) is not None:
        raise taken(folder / LEDGER_NAME, driver)
    live = _trials(record, folder, [a for a in arms if a != named], trials)
    found = OutcomeRecord(
        metric=metric,
        direction=direction,
        of=of,
        control=named,
        arms=tuple(arm.record(name, live.get(name)) for name, arm in arms.items()),
        file=path.name,
        digest=file_digest(path),
    )
    append(location, sweep, KIND, found.model_dump(mode="json"))
    again = decide_again(folder)
    return Imported(found, again.status if again else None)


def read_arms(path: Path) -> tuple[Of, dict[str, _Arm]]:
    """The values of each arm, in the order of the file.

    Raises:
        UserError: The first row that cannot be used, or fewer than two arms with two units.
    """
    arms: dict[str, _Arm] = {}
    seen: dict[str, int] = {}
    of: Of | None = None
    for number, row in _rows(path):
        where = f"{path}:{number}"
        arm, unit = (_text(row, name, where) for name in COLUMNS)
        if unit in seen:
            raise UserError(
                f"unit '{unit}' is on line {seen[unit]} too.",
                where=where,
                hint="Each unit counts once, in one arm: average its values before.",
            )
        seen[unit] = number
        of = of or _kind(row, where)
        arms.setdefault(arm, _Arm()).values.append(_value(row, of, where))
    few = [name for name, arm in arms.items() if len(arm.values) < 2]
    if of is None or len(arms) < 2 or few:
        said = f"arm '{few[0]}' has a single unit" if few else f"{len(arms)} arms"
        raise UserError(
            f"{said}: nothing can be compared.",
            where=str(path),
            hint="It needs a control and another arm, with two units or more in each.",
        )
    return of, arms


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        raise UserError("no such file.", where=str(path))
    ending = path.suffix.lower()
    if ending in (".csv", ".tsv"):
        return read_csv(path, "," if ending == ".csv" else "\t")
    if ending == ".jsonl":
        return read_records(path)
    raise UserError(
        f"'{path.name}' is of no known format.", where=str(path), hint="Known: .csv, .tsv, .jsonl."
    )


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    if name not in row:
        raise UserError(
            f"no `{name}`.", where=where, hint=f"Columns here: {', '.join(row) or 'none'}."
        )
    value = str(row[name]).strip() if row[name] is not None else ""
    if not value or isinstance(row[name], list | dict | bool):
        raise UserError(f"`{name}` is empty, or no name.", where=where)
    return value


def _kind(row: Mapping[str, Any], where: str) -> Of:
    given: list[Of] = [n for n in ("success", "value") if n in row]
    if len(given) != 1:
        raise UserError(
            f"{'both' if given else 'neither'} `success` {'and' if given else 'nor'} `value`.",
            where=where,
            hint="Give one of them: `success` is 0 or 1, `value` any number.",
        )
    return given[0]


def _value(row: Mapping[str, Any], of: Of, where: str) -> float:
    if of not in row:
        raise UserError(f"no `{of}`, which earlier rows have.", where=where)
    said = str(row[of]).strip().lower()
    if of == "success":
        if said not in (*_TRUE, *_FALSE):
            raise UserError(
                f"`success` is '{row[of]}'.", where=where, hint="0 or 1 (true or false)."
            )
        return float(said in _TRUE)
    try:
        number = math.nan if isinstance(row[of], bool) else float(said)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"`value` is '{row[of]}', no finite number.", where=where)
    return number


def _control(arms: Mapping[str, _Arm], given: str | None, path: Path) -> str:
    found = given if given is not None else next((c for c in CONTROLS if c in arms), None)
    if found is None or found not in arms:
        said = "no arm is called base or control" if found is None else f"no arm '{found}'"
        raise UserError(
            f"{said}.", where=str(path), hint=f"Name one with --control: {', '.join(arms)}."
        )
    return found


def _trials(
    sweep: SweepRecord, folder: Path, arms: list[str], given: Mapping[str, str] | None
) -> dict[str, str]:
    """Arm → id of the trial that was live in it, where there is one."""
    known = list(dict.fromkeys(r.trial_id for r in sweep.runs if r.kind == "trial"))
    wanted = dict(given or {})
    for arm in wanted:
        if arm not in arms:
            raise UserError(
                f"no arm '{arm}' beside the control.",
                where="--arm",
                hint=f"Arms: {', '.join(arms)}.",
            )
    found = {}
    for arm in arms:
        begun = [t for t in known if t.startswith(wanted.get(arm, arm))]
        if arm not in wanted and (len(arm) < _LEAST_NAME or len(begun) != 1):
            continue
        if wanted.get(arm) == BEST:
            begun = [decided_trial(folder, "--arm")]
        if len(begun) != 1:
            raise UserError(
                f"{len(begun) or 'no'} trials of {sweep.id} begin with '{wanted[arm]}'.",
                where="--arm",
                hint=f"Trials: {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}.",
            )
        found[arm] = begun[0]
    if not wanted and not found and len(arms) == 1:
        found[arms[0]] = _only_trial(folder, arms[0])
    return found


def _only_trial(folder: Path, arm: str) -> str:
    """The decision's, unless an earlier import has moved the decision from what was live."""
    records = [parse(OutcomeRecord, e.data, source=str(folder)) for e in read_later(folder, KIND)]
    before = [a.trial for r in records for a in r.arms if a.arm == arm and a.trial is not None]
    try:
        now = decided_trial(folder, "--arm")
    except UserError:
        if not before:
            raise
        now = None
    if now is None or (before and before[-1] != now):
        raise UserError(
            f"which trial was live in arm '{arm}'? Of an earlier import it was {before[-1]}, and "
            f"the decision is for {now or 'none'} now.",
            where="--arm",
            hint=f"Say it: `--arm {arm}={before[-1]}`.",
        )
    return now
