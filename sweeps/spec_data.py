"""`data_spec` of a sweep: what its rows are to be like. It is no part of any identity.

The rules that a gate checks row by row are in `gates.rules`.
"""

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from keepgain.core.config import Count
from keepgain.core.errors import UserError
from keepgain.core.paths import expanded
from keepgain.core.schema import StrictModel, parse
from keepgain.core.yaml_io import load_yaml
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.patterns import PatternText
from keepgain.sweeps.gates.rules import (
    AnswerRule,
    Check,
    FieldRule,
    LengthRule,
    StyleRule,
    answer_checks,
    entity_checks,
    field_checks,
    label_checks,
    question_checks,
    style_checks,
)

KEY = "data_spec"
EXAMPLES_SUITE = "examples"
EXAMPLES_SCORER = "multiple_choice_normalised"
"""Good and bad answers differ in length, so they are ranked by their likelihood per byte."""
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]


class GroupRule(StrictModel):
    """A property that answers should not go by: the values of a field, or words in the text."""

    field: Text | None = None
    words: Annotated[dict[str, Texts], Field(min_length=2)] | None = None
    """Value → words that stand for it, e.g. `{female: [she, her], male: [he, him]}`."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.field is None) == (self.words is None):
            raise ValueError("give either `field` or `words`")
        return self


class SyntheticOrigin(StrictModel):
    """How synthetic rows came about."""

    generator: Text
    """Model or program, with its version."""
    reviewed: bool = False
    """People have looked at the rows."""


class SourceFacts(StrictModel):
    """Where a source comes from."""

    licence: Text | None = None
    origin: Text | None = None
    """A URL, or what the rows were taken from."""
    date: datetime.date | None = None
    """Of the newest row, or when the rows were collected."""
    max_age_days: Count | None = None
    """Older rows no longer tell how things are."""
    synthetic: SyntheticOrigin | None = None


class ColumnNames(StrictModel):
    """Fields of the file, under their names there, that are not content."""

    label: Text | None = None
    annotator: Text | None = None
    date: Text | None = None
    language: Text | None = None
    synthetic: Text | None = None
    """True of rows that a program wrote."""
    reviewed: Text | None = None
    """True of rows that a person has looked at."""
    parent: Text | None = None
    """Id of the row that this one was made from."""


class PairedAnswers(StrictModel):
    """A prompt with a better and a worse answer."""

    prompt: Text
    good: Text
    bad: Text

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.good.strip() == self.bad.strip():
            raise ValueError("`good` and `bad` are the same answer")
        return self


Entity = PatternText | Texts
"""A pattern that is found in the answer, or texts of which the answer holds one."""


class DataRules(StrictModel):
    """What the rows of the task are to be like."""

    applies_to: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Sources; default: those of role `task` and `synthetic`. Suites drawn from them, and suites
    with files of their own that measure gain, are held to the rules too."""
    fields: dict[Text, FieldRule] = {}
    """By their names in the file."""
    question: LengthRule = LengthRule()
    """All that comes before the answer."""
    answer: AnswerRule = AnswerRule()
    labels: tuple[Text, ...] = ()
    """The closed set that answers are out of, or the values of the field `columns.label`."""
    languages: tuple[str, ...] = ()
    """Of the rows, by codes such as `en` or `pt-BR`."""
    groups: dict[Text, GroupRule] = {}
    entities: dict[Text, Entity] = {}
    """What each answer must hold, by name."""
    style: StyleRule = StyleRule()
    sources: dict[str, SourceFacts] = {}
    columns: ColumnNames = ColumnNames()
    examples: Annotated[tuple[PairedAnswers, ...], Field(min_length=2)] | None = None
    """Pairs that a tuned model is to rank: the suite `examples` shows how many it does."""

    @field_validator("labels")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or len(value) == 1:
            raise ValueError("must be at least two different texts")
        return value

    @field_validator("languages")
    @classmethod
    def _codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for language in value:
            if not _LANGUAGE.fullmatch(language):
                raise ValueError(f"'{language}' is no code of ISO 639, such as en or de")
        return value

    @field_validator("examples")
    @classmethod
    def _once(cls, value: tuple[PairedAnswers, ...] | None) -> tuple[PairedAnswers, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("has the same pair twice")
        return value

    @property
    def checks(self) -> tuple[Check, ...]:
        """What the gate of conformance looks for."""
        return tuple(self._checks())

    def _checks(self) -> Iterator[Check]:
        yield from field_checks(self.fields)
        yield from question_checks(self.question)
        yield from answer_checks(self.answer)
        yield from label_checks(self.labels, self.columns.label)
        yield from entity_checks(self.entities)
        yield from style_checks(self.style)

    def ruled_sources(self, roles: Mapping[str, str]) -> tuple[str, ...]:
        """Sources whose rows are held to the rules.

        Args:
            roles: Source → role.
        """
        if self.applies_to is not None:
            return self.applies_to
        return tuple(name for name, role in roles.items() if role in ("task", "synthetic"))


class _Holder(StrictModel):
    data_spec: DataRules


def expand_data_spec(
    raw: Mapping[str, Any], lines: Mapping[str, int], path: Path
) -> tuple[dict[str, Any], dict[str, int]]:
    """The spec with the content of a file in the place of its name, and with the suite that
    `examples` stand for.

    Args:
        raw: The spec's mapping.
        lines: Line of each dotted key.
        path: Of the spec.

    Raises:
        UserError: The file is not there or has a fault, or a suite has the name of that of the
            examples.
    """
    given = raw.get(KEY)
    if isinstance(given, str):
        file = rules_file(given, path)
        given, of_file = load_yaml(file)
        parse(DataRules, given, source=str(file), lines=of_file)
    if not isinstance(given, dict):
        return dict(raw), dict(lines)
    expanded: dict[str, Any] = {**raw, KEY: given}
    suites, examples = raw.get("suites"), given.get("examples")
    if not isinstance(suites, dict) or not isinstance(examples, list):
        return expanded, dict(lines)
    parse(_Holder, {KEY: given}, source=str(path), lines=lines)
    if EXAMPLES_SUITE in suites:
        key = f"suites.{EXAMPLES_SUITE}"
        line = f" (line {lines[key]})" if key in lines else ""
        raise UserError(
            f"`{KEY}.examples` makes a suite '{EXAMPLES_SUITE}', and there is one.",
            where=f"{path}:{key}{line}",
            hint="Rename it.",
        )
    suite = {"pairs": examples, "scorer": EXAMPLES_SCORER, "measures": "behaviour"}
    return {**expanded, "suites": {**suites, EXAMPLES_SUITE: suite}}, dict(lines)


def ruled_sets(rules: DataRules, roles: Mapping[str, str], sets: Sequence[RowSet]) -> list[RowSet]:
    """Rows that are held to the rules: those of its sources, and items of suites that measure gain
    and have files of their own.

    Args:
        rules: Of the spec.
        roles: Source → role.
        sets: All rows.
    """
    sources = rules.ruled_sources(roles)
    return [
        s
        for s in sets
        if s.source in sources
        or (s.source is None and s.measures == "gain" and s.scorer != "lm_eval")
    ]


def rules_file(given: str, spec: Path) -> Path:
    """The file that `data_spec` names; relative paths start at the spec's folder."""
    return spec.resolve().parent / expanded(given, f"{spec}:data_spec")


def refuse_unknown_sources(
    rules: DataRules, roles: Mapping[str, str], of_base: Sequence[str]
) -> None:
    """Refuses names of sources that the sweep does not have.

    Args:
        rules: Of the spec.
        roles: Source → role.
        of_base: Sources whose answers the base writes.

    Raises:
        UserError: Its `where` is the key.
    """
    named = [(f"{KEY}.sources.{name}", name) for name in rules.sources]
    named += [(f"{KEY}.applies_to.{i}", n) for i, n in enumerate(rules.applies_to or ())]
    for key, name in named:
        if name not in roles:
            raise UserError(
                f"unknown source '{name}'.", where=key, hint=f"Known sources: {', '.join(roles)}."
            )
        if name in of_base and "applies_to" in key:
            raise UserError(
                f"the answers of '{name}' are not written yet: the base writes them.",
                where=key,
                hint="Leave it out.",
            )
