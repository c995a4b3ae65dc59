"""A `data_spec` drafted from files of rows: what holds for all of them, for a person to edit."""

import json
import random
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from keepgain.core.errors import UserError
from keepgain.core.formats import NEEDS, key_of
from keepgain.core.row_files import FoundRow, iterate_rows, records
from keepgain.core.rows import Row
from keepgain.core.yaml_io import parse_yaml
from keepgain.sweeps.gates.conformance import asked
from keepgain.sweeps.gates.labels import MAX_LABELS, MIN_ROWS_A_LABEL
from keepgain.sweeps.gates.language import OWN_SHARE, parts, probabilities
from keepgain.sweeps.gates.values import as_text, iso_date, plain_number, truth

FEW_VALUES = 20
"""A field with at most so many values, each in `MIN_ROWS_A_LABEL` rows on average, is a set."""
LANGUAGE_ROWS = 300
"""Rows drawn to see what languages there are."""
_DATE_FORMATS = ("%d.%m.%Y", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y")
_COLUMNS = {
    "annotator": ("annotator", "annotated_by", "labeler", "labeller", "rater"),
    "date": ("date", "created", "created_at", "timestamp", "updated_at"),
    "language": ("language", "lang"),
    "synthetic": ("synthetic", "is_synthetic", "generated"),
    "reviewed": ("reviewed", "is_reviewed"),
    "parent": ("parent", "parent_id", "derived_from"),
}
"""Our name of a column → the keys that are taken for it."""


_UNLIKE_YAML = re.compile(
    "[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What stands in YAML as an escape only."""


def _kinds() -> dict[str, Callable[[str], bool]]:
    tests: dict[str, Callable[[str], bool]] = {
        "type: bool": lambda text: truth(text) is not None,
        "type: number": lambda text: plain_number(text) is not None,
        "type: number, decimal: ','": lambda text: plain_number(text, ",") is not None,
        "type: date": lambda text: len(text) >= 10 and iso_date(text) is not None,
    }
    for given in _DATE_FORMATS:
        tests[f"type: date, formats: ['{given}']"] = lambda text, f=given: bool(  # type: ignore[misc]
            iso_date(text, [f])
        )
    return tests


_KINDS = _kinds()
"""What a draft says → whether a text is like that; the first that all values are is taken."""


@dataclass
class Seen:
    """Values of a field, or answers, so far."""

    rows: int = 0
    kinds: list[str] = field(default_factory=lambda: list(_KINDS))
    values: Counter[str] = field(default_factory=Counter)
    """Each value with its number, while there are few."""
    many: bool = False
    nested: bool = False

    def add(self, value: Any) -> None:
        """The value of one more row."""
        text = as_text(value)
        if text is None:
            return
        self.rows += 1
        self.nested |= isinstance(value, list | dict)
        self.kinds = [k for k in self.kinds if _KINDS[k](text)]
        if not self.many:
            self.values[text.strip()] += 1
            if len(self.values) > MAX_LABELS:
                self.many = True
                self.values.clear()

    def few(self, most: int) -> bool:
        """The values are a closed set, as far as the rows tell."""
        count = len(self.values)
        return not self.many and 2 <= count <= most and self.rows >= MIN_ROWS_A_LABEL * count

    @property
    def kind(self) -> str | None:
        """What all values are; None: nothing in particular, or `1/2/26`, of two orders."""
        first = self.kinds[0] if self.kinds and self.rows else None
        by_order = [f"type: date, formats: ['{f}']" for f in ("%d/%m/%Y", "%m/%d/%Y")]
        return None if first in by_order and set(by_order) <= set(self.kinds) else first


@dataclass
class Survey:
    """What was seen in files of rows."""

    rows: int = 0
    fields: dict[str, Seen] = field(default_factory=dict)
    answers: Seen = field(default_factory=Seen)
    json_answers: int = 0
    drawn: list[Row] = field(default_factory=list)
    """At most `LANGUAGE_ROWS`, each row with the same chance."""
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    lengths: dict[tuple[str, str], "array[int]"] = field(default_factory=dict)
    """(question or answer, characters or words) → length in each row."""

    def add(self, row: Row, record: Mapping[str, Any], content: set[str]) -> None:
        """One more row; `content` are the keys that are no fields beside it."""
        self.rows += 1
        if len(self.drawn) < LANGUAGE_ROWS:
            self.drawn.append(row)
        elif (place := self.draw.randrange(self.rows)) < LANGUAGE_ROWS:
            self.drawn[place] = row
        for key, value in record.items():
            if key and key not in content:  # a rule needs a name to stand under
                self.fields.setdefault(key, Seen()).add(value)
        answer = row.answer if row.kind != "text" else row.text
        self.answers.add(answer)
        self.json_answers += _is_json(answer)
        parts = {"answer": answer} | ({"question": asked(row)} if row.kind != "text" else {})
        for part, text in parts.items():
            for unit, size in (("characters", len(text)), ("words", len(text.split()))):
                self.lengths.setdefault((part, unit), array("q")).append(size)

    @property
    def labels(self) -> Counter[str]:
        """Answers that are a closed set; empty where they are not."""
        return self.answers.values if self.answers.few(MAX_LABELS) else Counter()


def survey(paths: Iterable[Path], choices: bool = False) -> Survey:
    """Reads the files once; in memory are lengths and the values of fields that have few.

    Args:
        paths: The files.
        choices: As of `core.row_files.iterate_rows`.

    Raises:
        UserError: As `core.row_files.iterate_rows`.
    """
    seen = Survey()
    for path in paths:
        content: set[str] = set()
        rows = iterate_rows(path, choices=choices)
        for found, (_, record) in zip(rows, records(path), strict=True):
            content = content or _content_keys(found, record)
            seen.add(found.row, record, content)
    return seen


def _content_keys(found: FoundRow, record: Mapping[str, Any]) -> set[str]:
    names = (*NEEDS[found.format], "context", "choices", "id")
    names += ("input",) if found.format == "alpaca" else ()
    return {key for name in names if (key := key_of(record, {}, name)) is not None}


def draft_rules(seen: Survey, sources: Mapping[str, Sequence[Path]]) -> str:
    """The block `data_spec:` of a spec, commented.

    Args:
        seen: Of the files.
        sources: Source → its files.
    """
    files = ", ".join(p.name for paths in sources.values() for p in paths)
    lines = [
        "# What rows are to be like; `sweep check` lists those that break it, by file and line.",
        f"# Drafted from the {seen.rows} rows of {_comment(files)}, for all of which it holds:",
        "# tighten what is meant, and delete what is chance.",
        "data_spec:",
        *_fields(seen),
        *_lengths(seen, "question"),
        *_answers(seen),
        *_columns(seen),
        *_languages(seen),
        "  # entities: {ticket number: 'T-[0-9]+'}   # what each answer must hold",
        "  # style: {must_not_match: {apology: '(?i)sorry'}, must_match: {full stop: '[.]$'}}",
        "  # groups: {gender: {words: {female: [she, her], male: [he, him]}}}   # or {field: KEY}",
        "  # sources:               # with this, a source without a licence is warned of",
        *(
            f"  #   {_comment(quoted(name))}: {{licence: ..., origin: ..., date: 2026-01-31, "
            "max_age_days: 365}"
            for name in sources
        ),
        "  # examples:              # pairs that a tuned model is to rank; two or more",
        "  #   - {prompt: ..., good: ..., bad: ...}",
    ]
    return "\n".join(lines) + "\n"


def _fields(seen: Survey) -> list[str]:
    lines = ["  fields:   # by their names in the file"] if seen.fields else []
    for name, values in seen.fields.items():
        given = ["required: true"] if values.rows == seen.rows else []
        note = "" if given else f"   # in {values.rows} of {seen.rows} rows"
        if values.kind is not None and not values.nested:
            given.append(values.kind)
        elif values.few(FEW_VALUES) and not values.nested:
            given.append(f"allowed: [{', '.join(map(quoted, sorted(values.values)))}]")
        lines.append(f"    {quoted(name)}: {{{', '.join(given)}}}{note}")
    return lines


def _lengths(seen: Survey, part: str) -> list[str]:
    if (part, "words") not in seen.lengths:
        return []
    sizes = np.frombuffer(seen.lengths[part, "words"], dtype=np.int64)
    half, most, longest = (int(q) for q in np.quantile(sizes, [0.5, 0.99, 1.0]))
    about = f"half have at most {half} words, 99 % at most {most}"
    return [f"  {part}: {{max_words: {_rounded_up(longest)}}}   # {about}"]


def _answers(seen: Survey) -> list[str]:
    if labels := seen.labels:
        rare = [f"{t:.30} ({n})" for t, n in labels.items() if n < MIN_ROWS_A_LABEL]
        note = f"   # rare, a slip? {_comment(', '.join(rare))}" if rare else ""
        return [f"  labels: [{', '.join(map(quoted, sorted(labels)))}]{note}"]
    if seen.rows and seen.json_answers == seen.rows:
        return ["  answer: {type: json}"]
    kind = seen.answers.kind
    if kind is not None and "bool" not in kind:
        return [f"  answer: {{{kind}}}"]
    return _lengths(seen, "answer")


def _languages(seen: Survey) -> list[str]:
    """Those that a good part of the prompts, answers or texts is in, where they can be told."""
    found: dict[str, Counter[str]] = {}
    for row in seen.drawn:
        for part, text in parts(row):
            if chances := probabilities(text):
                found.setdefault(part, Counter())[next(iter(chances))] += 1
    named = {n for c in found.values() for n, k in c.items() if k >= OWN_SHARE * c.total()}
    if not named:
        return ["  # languages: [en]"]
    about = f"# of {len(seen.drawn)} rows drawn; shares below {OWN_SHARE:.0%} are left out"
    return [f"  languages: [{', '.join(sorted(named))}]   {about}"]


def _columns(seen: Survey) -> list[str]:
    by_case = {name.casefold(): name for name in reversed(seen.fields)}
    found = {
        ours: by_case[key] for ours, keys in _COLUMNS.items() for key in keys if key in by_case
    }
    if not found:
        return ["  # columns: {annotator: KEY, date: KEY, label: KEY, synthetic: KEY, parent: KEY}"]
    pairs = ", ".join(f"{ours}: {quoted(name)}" for ours, name in found.items())
    return [f"  columns: {{{pairs}}}   # what these fields tell; also label"]


def quoted(text: str) -> str:
    """As YAML inside braces; quoted only where it would be read as something else."""
    if re.fullmatch(r"[A-Za-z0-9_./~-]+", text):
        try:
            if parse_yaml(f"value: {text}", "")[0]["value"] == text:
                return text
        except UserError:
            pass
    written = json.dumps(text, ensure_ascii=False)
    return _UNLIKE_YAML.sub(lambda found: f"\\U{ord(found[0]):08x}", written)


def _comment(text: str) -> str:
    """On one line."""
    return _UNLIKE_YAML.sub("?", " ".join(text.split()))


def _rounded_up(number: int) -> int:
    """To two digits: a limit, not a measurement."""
    step = 10 ** max(len(str(number)) - 2, 0)
    return -(-number // step) * step


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
