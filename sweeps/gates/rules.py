"""What rows must be like, as the user states it, and the checks that this stands for."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from keepgain.core.schema import StrictModel
from keepgain.sweeps.gates.findings import Severity
from keepgain.sweeps.gates.patterns import PatternText
from keepgain.sweeps.gates.values import Decimal, as_text, iso_date, plain_number, truth

NotNegativeCount = Annotated[int, Field(ge=0)]
Scalar = str | bool | int | float
_NAMED = 5


class LengthRule(StrictModel):
    """How long a text may be."""

    min_characters: NotNegativeCount | None = None
    max_characters: NotNegativeCount | None = None
    min_words: NotNegativeCount | None = None
    """Words are what white space separates."""
    max_words: NotNegativeCount | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for of in ("characters", "words"):
            least, most = getattr(self, f"min_{of}"), getattr(self, f"max_{of}")
            if least is not None and most is not None and least > most:
                raise ValueError(f"`min_{of}` is above `max_{of}`")
        return self


class ValueRule(LengthRule):
    """What a value may be."""

    pattern: PatternText | None = None
    """The whole value matches it."""
    allowed: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    decimal: Decimal = "."
    """Of numbers: what stands before the decimals."""
    formats: tuple[str, ...] = ()
    """Of dates: how they may be written besides ISO 8601, e.g. `%d.%m.%Y`."""
    min: float | None = None
    """Of numbers."""
    max: float | None = None

    @field_validator("formats")
    @classmethod
    def _dates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        day = datetime(2001, 2, 3)
        for given in value:
            if iso_date(day.strftime(given), [given]) is None or "%" not in given:
                raise ValueError(f"'{given}' is no format of dates, such as %d.%m.%Y")
        return value

    @property
    def kind(self) -> str | None:
        """What the value is to be."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _fits_type(self) -> Self:
        if self.kind != "number" and (self.min is not None or self.max is not None):
            raise ValueError("`min` and `max` are of numbers: add `type: number`")
        if self.kind != "date" and self.formats:
            raise ValueError("`formats` are of dates: add `type: date`")
        return self


class FieldRule(ValueRule):
    """A field of the file, under the name that it has there."""

    type: Literal["text", "number", "date", "bool"] | None = None
    """number, date, bool: as such, or as text that reads so."""
    required: bool = False
    """No row lacks it, or has null or blank text there."""

    @property
    def kind(self) -> str | None:
        """As `type`."""
        return self.type


class AnswerRule(ValueRule):
    """What the model is to write: the answer; of plain text, the text."""

    type: Literal["text", "number", "date", "json"] = "text"

    @property
    def kind(self) -> str | None:
        """As `type`."""
        return self.type


class StyleRule(StrictModel):
    """Patterns by name that are found somewhere in each answer, and that are found in none."""

    must_match: dict[str, PatternText] = {}
    must_not_match: dict[str, PatternText] = {}


Part = Literal["question", "answer", "field"]


@dataclass(frozen=True)
class Check:
    """One rule that each row keeps or breaks; it can be sent to other processes."""

    key: str
    """Of the spec."""
    code: str
    severity: Severity
    part: Part
    broken: Callable[[Any], bool]
    """Of the part's text; of a field, of its value as the file has it, None where it has none."""
    says: str
    """After "12 of 100 rows"."""
    field: str = ""
    """Part field: its name in the file."""


def field_checks(fields: Mapping[str, FieldRule]) -> Iterator[Check]:
    """Of the fields of a file."""
    for name, rule in fields.items():
        key = f"data_spec.fields.{name}"
        if rule.required:
            says = f"lack the field '{name}', or have nothing there"
            yield Check(f"{key}.required", "field_missing", "error", "field", _absent, says, name)
        broken: Callable[[Any], bool]
        if rule.type is not None:
            broken = partial(_other_type, rule.type, rule.decimal, rule.formats)
            says = f"have a '{name}' that is no {_called(rule)}"
            yield Check(f"{key}.type", "field_type", "error", "field", broken, says, name)
        for end, code, severity, test, said in _value_checks(rule):
            broken = test if end in ("min", "max") else partial(_of_text, test)
            says = f"have a '{name}' that {said}"
            yield Check(f"{key}.{end}", f"field_{code}", severity, "field", broken, says, name)


def answer_checks(rule: AnswerRule) -> Iterator[Check]:
    """Of what the model is to write."""
    key = "data_spec.answer"
    if rule.type != "text":
        broken = partial(_unlike, rule.type, rule.decimal, rule.formats)
        says = f"have an answer that is no {_called(rule)}"
        yield Check(f"{key}.type", "answer_type", "error", "answer", broken, says)
    for end, code, severity, test, said in _value_checks(rule):
        says = f"have an answer that {said}"
        yield Check(f"{key}.{end}", f"answer_{code}", severity, "answer", test, says)


def question_checks(rule: LengthRule) -> Iterator[Check]:
    """Of all that comes before the answer."""
    for end, code, severity, test, said in _length_checks(rule):
        says = f"have a question that {said}"
        key = f"data_spec.question.{end}"
        yield Check(key, f"question_{code}", severity, "question", test, says)


def label_checks(labels: Sequence[str], column: str | None) -> Iterator[Check]:
    """Labels out of a closed set: the answer, or a field that holds them."""
    if labels:
        broken = partial(_none_of, frozenset(labels))
        held = "an answer" if column is None else f"a '{column}'"
        says = f"have {held} that is none of the {len(labels)} labels ({_some(labels)})"
        if column is None:
            yield Check("data_spec.labels", "unknown_label", "error", "answer", broken, says)
        else:
            broken = partial(_of_text, broken)
            yield Check("data_spec.labels", "unknown_label", "error", "field", broken, says, column)


def entity_checks(entities: Mapping[str, str | tuple[str, ...]]) -> Iterator[Check]:
    """What each answer must hold: a pattern, or one of several texts."""
    for name, given in entities.items():
        if isinstance(given, str):
            broken: Callable[[str], bool] = partial(_not_found, re.compile(given))
        else:
            broken = partial(_holds_none, given)
        key = f"data_spec.entities.{name}"
        says = f"have an answer without '{name}'"
        yield Check(key, "missing_entity", "error", "answer", broken, says)


def style_checks(style: StyleRule) -> Iterator[Check]:
    """Warnings: taste is not an error."""
    for name, pattern in style.must_match.items():
        key = f"data_spec.style.must_match.{name}"
        broken = partial(_not_found, re.compile(pattern))
        says = f"have an answer that is not in the style '{name}'"
        yield Check(key, "style", "warning", "answer", broken, says)
    for name, pattern in style.must_not_match.items():
        key = f"data_spec.style.must_not_match.{name}"
        broken = partial(_found, re.compile(pattern))
        says = f"have an answer in the style '{name}', which is to be avoided"
        yield Check(key, "style", "warning", "answer", broken, says)


_Test = tuple[str, str, Severity, Callable[[Any], bool], str]
"""(end of the key, end of the code, severity, what is broken, what it says)."""


def _value_checks(rule: ValueRule) -> Iterator[_Test]:
    if rule.pattern is not None:
        yield (
            "pattern",
            "format",
            "error",
            partial(_unmatched, re.compile(rule.pattern)),
            (f"does not match {rule.pattern!r}"),
        )
    if rule.allowed is not None:
        texts = [t for value in rule.allowed if (t := as_text(value)) is not None]
        yield (
            "allowed",
            "value",
            "error",
            partial(_none_of, frozenset(texts)),
            (f"is not allowed ({_some(texts)})"),
        )
    for end, bound in (("min", rule.min), ("max", rule.max)):
        if bound is not None:
            side = "below" if end == "min" else "above"
            test = partial(_outside, end == "min", bound, rule.decimal)
            yield end, "value", "error", test, f"is {side} {bound:g}"
    yield from _length_checks(rule)


def _length_checks(rule: LengthRule) -> Iterator[_Test]:
    for unit, count in (("characters", len), ("words", _words)):
        for side in ("min", "max"):
            bound = getattr(rule, f"{side}_{unit}")
            if bound is not None:
                test = partial(_too_long_or_short, count, bound, side == "min")
                says = f"has {'fewer' if side == 'min' else 'more'} than {bound} {unit}"
                yield f"{side}_{unit}", "length", "warning", test, says


def _called(rule: FieldRule | AnswerRule) -> str:
    names = {"bool": "`true` or `false`", "json": "JSON", "text": "text"}
    if rule.type == "number" and rule.decimal == ",":
        return "number with a decimal comma"
    if rule.type == "date":
        return f"date ({', '.join(('ISO 8601', *rule.formats))})"
    return names.get(str(rule.type), str(rule.type))


def _some(texts: Sequence[str]) -> str:
    more = ", ..." if len(texts) > _NAMED else ""
    return ", ".join(f"'{t:.30}'" for t in texts[:_NAMED]) + more


def _words(text: str) -> int:
    return len(text.split())


def _absent(value: Any) -> bool:
    return as_text(value) is None


def _of_text(test: Callable[[str], bool], value: Any) -> bool:
    """Of a field: one that is not there breaks no rule but `required`."""
    text = as_text(value)
    return text is not None and test(text)


def _other_type(kind: str, decimal: Decimal, formats: Sequence[str], value: Any) -> bool:
    if _absent(value):
        return False
    if isinstance(value, str):
        return kind != "text" and _unlike(kind, decimal, formats, value)
    if kind == "number":
        return isinstance(value, bool) or not isinstance(value, int | float)
    return not isinstance(value, {"bool": bool, "date": date}.get(kind, str))


def _unlike(kind: str, decimal: Decimal, formats: Sequence[str], text: str) -> bool:
    if kind == "number":
        return plain_number(text, decimal) is None
    if kind == "date":
        return iso_date(text, formats) is None
    if kind == "bool":
        return truth(text) is None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return True
    return False


def _unmatched(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.fullmatch(text.strip()) is None


def _not_found(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.search(text) is None


def _found(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.search(text) is not None


def _none_of(texts: Collection[str], text: str) -> bool:
    return text.strip() not in texts


def _holds_none(texts: Sequence[str], text: str) -> bool:
    return not any(t in text for t in texts)


def _outside(low: bool, bound: float, decimal: Decimal, value: Any) -> bool:
    """What is no number is `type`'s to find."""
    if isinstance(value, str):
        value = plain_number(value, decimal)
    if value is None or not isinstance(value, str | int | float):
        return False
    return float(value) < bound if low else float(value) > bound


def _too_long_or_short(count: Callable[[str], int], bound: int, shortest: bool, text: str) -> bool:
    found = count(text)
    return found < bound if shortest else found > bound
