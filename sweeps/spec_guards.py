"""`question.guards`: their names against the spec, and the slices that they need in the items."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from keepgain.core.errors import UserError
from keepgain.core.guards import ANSWER, Guard, suite_of, watched
from keepgain.core.positive import IS_POSITIVE
from keepgain.core.rows import Row
from keepgain.core.scorers import in_points
from keepgain.sweeps.recovered_suites import remade

if TYPE_CHECKING:
    from keepgain.sweeps.spec_sweep import SweepSpec
    from keepgain.sweeps.suites import Suite


class _Asked(NamedTuple):
    key: str
    suite: str
    field: str | None
    value: str | None
    of_class: bool


def refuse_wrong_guards(spec: "SweepSpec", gains: Sequence[str]) -> None:
    """What guards say of the rest of the spec.

    Args:
        spec: The whole of it.
        gains: Names of the suites that measure gain.

    Raises:
        UserError: The first guard on an unknown suite or field, or with a limit that says nothing;
            `where` is its key.
    """
    for name, guard in spec.question.guards.items():
        key = f"question.guards.{name}"
        asked = _asked(spec, gains, name, guard)
        suite = spec.suites[asked.suite]
        _refuse_levels(guard, suite.metric_name, key)
        if asked.field is None:
            continue
        if suite.lm_eval is not None:
            raise UserError(
                f"the items of '{asked.suite}' are of a task of lm-evaluation-harness, which has "
                "no slices here.",
                where=key,
                hint=f"Guard the whole suite: `{asked.suite}`.",
            )
        known = ("group", *spec.slices, *suite.registered.records)
        known += (IS_POSITIVE,) if suite.positive is not None else ()
        if not asked.of_class and asked.field not in known:
            raise UserError(
                f"suite '{asked.suite}' has no slice '{asked.field}'.",
                where=key,
                hint=f"Known: {', '.join(dict.fromkeys(known))}. Fields of the rows become slices "
                "by `slices: [...]`.",
            )


def _asked(spec: "SweepSpec", gains: Sequence[str], name: str, guard: Guard) -> _Asked:
    key = f"question.guards.{name}"
    asked = watched(name)
    if guard.suite is not None and not asked.of_class:
        raise UserError(
            "`suite` belongs to recall[LABEL]; the name of this guard has its suite.",
            where=f"{key}.suite",
        )
    suite = suite_of(name, guard, tuple(gains))
    if suite is None:
        raise UserError(
            f"{len(gains)} suites measure gain, so it is not clear whose label that is.",
            where=key,
            hint=f"Add `suite:`, one of {', '.join(gains)}.",
        )
    if suite not in spec.suites:
        near = difflib.get_close_matches(suite, spec.suites, n=3, cutoff=0.5)
        said = f"Nearest: {', '.join(near)}." if near else f"Known: {', '.join(spec.suites)}."
        raise UserError(f"unknown suite '{suite}'.", where=key, hint=said)
    return _Asked(key, suite, asked.field, asked.value, asked.of_class)


def _refuse_levels(guard: Guard, scorer: str, key: str) -> None:
    """Shares lie in [0, 1]; a limit outside holds always or never."""
    if not in_points(scorer):
        return
    for name, value in guard.limits.items():
        if not 0 <= value <= 1:
            raise UserError(
                f"`{name}` must lie in [0, 1] for {scorer} (given: {value:g}).",
                where=f"{key}.{name}",
                hint="2 points are 0.02.",
            )


def with_guarded(
    spec: "SweepSpec", suites: Mapping[str, "Suite"], gains: Sequence[str]
) -> dict[str, "Suite"]:
    """The suites, with the answer as a slice of the items whose class a guard names.

    Only answers that a guard names are told in the record.

    Args:
        spec: The whole of it, which `refuse_wrong_guards` has passed.
        suites: Those that were read; a guard on another is not looked at.
        gains: As of `refuse_wrong_guards`.

    Raises:
        UserError: A guard on a value or label that no item has; `where` is its key.
    """
    found = dict(suites)
    asked = [_asked(spec, gains, n, g) for n, g in spec.question.guards.items()]
    for one in asked:
        if one.suite in suites and one.field is not None:
            _refuse_absent(one, list(_values(suites[one.suite], one)))
    for name in dict.fromkeys(one.suite for one in asked if one.of_class):
        if name in suites:
            labels = {str(one.value) for one in asked if one.of_class and one.suite == name}
            found[name] = _with_answers(suites[name], labels)
    return found


def _values(suite: "Suite", asked: _Asked) -> Iterator[str]:
    for located in (suite.validation, suite.test):
        for row in located.rows:
            if asked.of_class:
                yield row.answer.strip()
            elif asked.field == "group":
                yield row.group or ""
            else:
                assert asked.field is not None
                value = dict(row.slices).get(asked.field, row.fact(asked.field))
                # As `core.rows.slice_columns` writes what is no text.
                yield value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _refuse_absent(asked: _Asked, values: Sequence[str]) -> None:
    if asked.value in values:
        return
    what = "the answer" if asked.of_class else f"{asked.field} ="
    known = list(dict.fromkeys(v for v in values if v))
    near = difflib.get_close_matches(str(asked.value), known, n=3, cutoff=0.5)
    raise UserError(
        f"no item of suite '{asked.suite}' has {what} '{asked.value}'.",
        where=asked.key,
        hint=f"Nearest: {', '.join(near)}."
        if near
        else f"Known: {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}."
        if known
        else None,
    )


def _with_answers(suite: "Suite", labels: set[str]) -> "Suite":
    def told(row: Row) -> Row:
        answer = row.answer.strip()
        if answer not in labels or any(field == ANSWER for field, _ in row.slices):
            return row
        return replace(row, slices=(*row.slices, (ANSWER, answer)))

    validation, test = (remade(items, told) for items in (suite.validation, suite.test))
    return replace(suite, validation=validation, test=test)
