"""Rows as users have them turned into `core.rows.Row`, or refused with their line.

The kind of a file follows from its name: CSV, TSV, Parquet, a folder saved by `datasets`, else
JSON Lines. The format of its rows is detected from the first one unless declared; all rows of a
file have the same one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, NoReturn

from keepgain.core.errors import UserError
from keepgain.core.identity import fingerprint
from keepgain.core.jsonl import COMPRESSIONS, json_name, parse_json, read_records
from keepgain.core.rows import Row, facts_of

FormatName = Literal["auto", "prompt_answer", "messages", "alpaca", "sharegpt", "text"]

ROLES = ("system", "user", "assistant")
SHAREGPT_ROLES = {"system": "system", "human": "user", "user": "user", "gpt": "assistant"}
SHAREGPT_ROLES |= {"assistant": "assistant", "chatgpt": "assistant"}

ALIASES: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "query", "input"),
    "answer": ("answer", "completion", "response", "output", "label"),
    "messages": ("messages",),
    "conversations": ("conversations",),
    "instruction": ("instruction",),
    "input": ("input",),
    "output": ("output",),
    "text": ("text",),
    "context": ("context",),
    "choices": ("choices", "options"),
    "group": ("group",),
    "cluster": ("cluster",),
    "id": ("id",),
}
"""Our name of a field → the keys it is looked for under, unless `fields` names another."""
FIELD_NAMES: tuple[str, ...] = tuple(ALIASES)

NEEDS: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_answer": ("prompt", "answer"),
    "text": ("text",),
}
"""Format → fields that a row must have; in the order of detection."""
_ANSWERS = ("answer", "output")
"""Fields that prompts do without."""
_CONTENT = ("prompt", "answer", "instruction", "input", "output", "text", "context", "id")
"""Fields that are the row itself, or its name."""
MAX_BESIDE_CHARACTERS = 200
_BESIDE = ("id", "context", "choices", "group", "cluster")
"""Fields of any format, which tell nothing about it."""


@dataclass(frozen=True)
class RowFile:
    """The rows of one file and where they stand in it."""

    path: Path
    format: str
    rows: tuple[Row, ...]
    lines: tuple[int, ...]
    """Line that each row begins on, from 1; of Parquet and saved datasets, the row's number."""


@dataclass(frozen=True)
class FoundRow:
    """A row and where it stands."""

    row: Row
    line: int
    """As in `RowFile.lines`."""
    format: str
    """Of the file."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Keys of the file whose values are short texts, numbers or booleans and are neither content
    nor id, with their values as text: annotator, date, label, ..."""


def read_row_file(
    path: Path,
    *,
    format: FormatName = "auto",
    fields: Mapping[str, str] | None = None,
    limit: int | None = None,
    slices: Sequence[str] = (),
    choices: bool = False,
    facts: Sequence[str] = (),
) -> RowFile:
    """All rows of a file in memory; arguments and errors as of `iterate_rows`."""
    found = list(
        iterate_rows(
            path,
            format=format,
            fields=fields,
            limit=limit,
            slices=slices,
            choices=choices,
            facts=facts,
        )
    )
    return RowFile(
        path=path,
        format=found[0].format,
        rows=tuple(f.row for f in found),
        lines=tuple(f.line for f in found),
    )


def iterate_rows(
    path: Path,
    *,
    format: FormatName = "auto",
    fields: Mapping[str, str] | None = None,
    limit: int | None = None,
    slices: Sequence[str] = (),
    choices: bool = False,
    prompts: bool = False,
    facts: Sequence[str] = (),
) -> Iterator[FoundRow]:
    """Reads a file of any kind that `records` knows; keeps the ids in memory, not the rows.

    Row ids are the rows' own, else a hash of the content (equal rows get `-2`, `-3`, ...); slices
    are not in it, so that naming one leaves the ids alone.

    Args:
        fields: Our name of a field → its key in the file.
        limit: Read only so many rows.
        slices: Keys of the file whose values are kept; a row may lack them.
        choices: Each row must have choices, and its answer be one of them, as text or as index
            from 0. Without it choices are not read, and ids are those of rows without them.
        prompts: Answers are not read, and need not be there: those of the rows are empty.
        facts: Keys of the file whose values, of any kind, are kept for the scorer; a row may lack
            them. Like slices they are not in the ids.

    Raises:
        UserError: The first fault, as `file:line: given, allowed, what to do`; or no rows.
    """
    fields = fields or {}
    first_line: dict[str, int] = {}
    copies: dict[str, int] = {}
    kind: str | None = None if format == "auto" else format
    for count, (number, record) in enumerate(records(path), 1):
        where = f"{path}:{number}"
        kind = kind or _detect(record, fields, where, prompts)
        reader = _Reader(record, fields, where, slices, choices, prompts, facts)
        row = reader.row(kind, given_id := reader.identifier())
        if row.id in first_line:
            if given_id is not None:
                raise UserError(
                    f"the id {row.id!r} stands on line {first_line[row.id]} already.",
                    where=where,
                    hint="Ids must be unique within a file; leave them out to use content hashes.",
                )
            copies[row.id] = copies.get(row.id, 1) + 1
            row = reader.row(kind, f"{row.id}-{copies[row.id]}")
        first_line[row.id] = number
        yield FoundRow(row, number, kind, reader.beside(kind))
        if count == limit:
            break
    if not first_line:
        raise UserError("the file has no rows.", where=str(path))


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows as plain objects, with the number that messages name: a line, or a row from 1.

    Raises:
        UserError: The first fault, as `file:number: ...`.
    """
    name = path.name.lower()
    for end in COMPRESSIONS:
        name = name.removesuffix(end)
    delimiter = {".csv": ",", ".tsv": "\t"}.get(Path(name).suffix)
    if not (delimiter or path.suffix.lower() == ".parquet" or path.is_dir()):
        return read_records(path)
    from keepgain.core import tables  # pyarrow takes a second to import

    if path.is_dir():
        return tables.read_saved_dataset(path)
    return tables.read_csv(path, delimiter) if delimiter else tables.read_parquet(path)


def _detect(record: Mapping[str, Any], fields: Mapping[str, str], where: str, prompts: bool) -> str:
    """The first format whose fields the row has; mapped fields narrow the choice."""
    mapped = {name for name in fields if name not in _BESIDE}
    for name, needed in NEEDS.items():
        optional = {"input"} if name == "alpaca" else set()
        if not mapped <= set(needed) | optional:
            continue
        asked = [n for n in needed if not (prompts and n in _ANSWERS)]
        if all(key_of(record, fields, field) is not None for field in asked):
            return name
    if "prompt_answer" in NEEDS and mapped & {"prompt", "answer"}:
        return "prompt_answer"
    keys = ", ".join(f"'{k}'" for k in list(record)[:8]) or "none"
    raise UserError(
        f"no format fits a row with the keys {keys}.",
        where=where,
        hint="Needed: messages; conversations; instruction and output; prompt and answer; or text. "
        "Map other names with e.g. `fields: {prompt: question, answer: label}`.",
    )


def key_of(record: Mapping[str, Any], fields: Mapping[str, str], name: str) -> str | None:
    """The key of a row under which the field of `ALIASES` stands, if any.

    Args:
        fields: Our name of a field → its key in the file, where it is not one of the usual ones.
    """
    if name in fields:
        return fields[name] if fields[name] in record else None
    return next((key for key in ALIASES[name] if key in record), None)


@dataclass(frozen=True)
class _Reader:
    """One record, with what its messages need."""

    record: Mapping[str, Any]
    fields: Mapping[str, str]
    where: str
    slices: Sequence[str]
    wants_choices: bool
    only_prompts: bool
    facts: Sequence[str]

    def row(self, kind: str, given_id: str | None) -> Row:
        readers: dict[str, Callable[[], dict[str, Any]]] = {
            "messages": lambda: self._chat("messages", "role", "content", {r: r for r in ROLES}),
            "sharegpt": lambda: self._chat("conversations", "from", "value", SHAREGPT_ROLES),
            "alpaca": self._alpaca,
            "prompt_answer": lambda: {
                "kind": "pair",
                "prompt": self._required("prompt"),
                "answer": self._answer("answer"),
            },
            "text": self._plain,
        }
        content = readers[kind]()
        for name in ("context", "group", "cluster"):
            content[name] = self._optional(name)
        if self.wants_choices:
            content["choices"] = self._choices()
            self._one_of(content["choices"], content.get("answer"))
        row_id = given_id if given_id is not None else fingerprint(content)
        found = ((name, self._slice(name)) for name in self.slices)
        kept = tuple((name, value) for name, value in found if value is not None)
        return Row(id=row_id, **content, slices=kept, facts=self._facts())

    def _facts(self) -> tuple[tuple[str, str], ...]:
        read = {name: self.record[name] for name in self.facts if name in self.record}
        for name, value in read.items():
            try:
                facts_of({name: value})
            except TypeError:  # of a table: a date, bytes
                self._fail(
                    f"'{name}' is {json_name(value)}, which the scorer cannot be given.",
                    "Write it as text, a number or a list.",
                )
        return facts_of(read)

    def beside(self, kind: str) -> dict[str, str]:
        """As `FoundRow.beside`; a `label` is the answer of a prompt, and beside all else."""
        keys = (key_of(self.record, self.fields, name) for name in _CONTENT)
        content = {key for key in keys if key is not None}
        if kind != "prompt_answer" and "label" not in self.fields.values():
            content.discard("label")
        return {
            key: str(value)
            for key, value in self.record.items()
            if key not in content
            and isinstance(value, str | int | float | date)
            and len(str(value)) <= MAX_BESIDE_CHARACTERS
        }

    def identifier(self) -> str | None:
        """The row's own id; numbers are taken as their digits."""
        return self._label("id")

    def _plain(self) -> dict[str, Any]:
        if self.only_prompts:
            self._fail(
                "a plain text asks nothing that the base could answer.",
                "Give prompts or chats, or leave `answers: base` out.",
            )
        return {"kind": "text", "text": self._required("text")}

    def _alpaca(self) -> dict[str, Any]:
        prompt = self._required("instruction")
        extra = self._optional("input")
        prompt = f"{prompt}\n\n{extra}" if extra else prompt
        return {"kind": "pair", "prompt": prompt, "answer": self._answer("output")}

    def _chat(
        self, field: str, role_key: str, text_key: str, roles: Mapping[str, str]
    ) -> dict[str, Any]:
        key = key_of(self.record, self.fields, field)
        turns = self.record[key] if key is not None else self._missing(field)
        if isinstance(turns, str) and turns.lstrip().startswith("["):
            turns = self._unpacked(turns, key or field)
        if not isinstance(turns, list) or not turns:
            given = "an empty list" if turns == [] else json_name(turns)
            self._fail(f"'{key}' is {given}; it must be a list of turns.")
        messages = []
        for index, turn in enumerate(turns):
            at = f"{key}[{index}]"
            if not isinstance(turn, dict) or role_key not in turn or text_key not in turn:
                self._fail(f"'{at}' must be an object with '{role_key}' and '{text_key}'.")
            role = turn[role_key]
            if not isinstance(role, str) or role not in roles:
                self._fail(
                    f"'{at}' has the unknown {role_key} {role!r:.40}.",
                    f"Known: {', '.join(roles)}.",
                )
            text = self._text(turn[text_key], f"{at}.{text_key}")
            messages.append({"role": roles[role], "content": text})
        if self.only_prompts and len(messages) > 1 and messages[-1]["role"] == "assistant":
            messages.pop()
        order = [m["role"] for m in messages]
        if self.only_prompts:
            if order[-1] != "user":
                self._fail(
                    f"the last turn of '{key}' is {order[-1]}.",
                    "It must be the user's, with or without an answer.",
                )
            messages.append({"role": "assistant", "content": ""})
            return {"kind": "chat", "messages": tuple(messages), "answer": ""}
        if "assistant" not in order:
            self._fail(f"'{key}' has no assistant turn.", "The last turn is the answer.")
        if order[-1] != "assistant":
            self._fail(f"the last turn of '{key}' is {order[-1]}.", "It must be the assistant's.")
        if "user" not in order[:-1]:
            self._fail(f"'{key}' has no user turn before the answer.")
        return {"kind": "chat", "messages": tuple(messages), "answer": messages[-1]["content"]}

    def _answer(self, field: str) -> str:
        """The text of the answer, which may be given as the index of a choice."""
        if self.only_prompts:
            return ""
        key = key_of(self.record, self.fields, field)
        if not self.wants_choices or key is None:
            return self._required(field)
        choices, given = self._choices(), self.record[key]
        if isinstance(given, str) and given.strip() in choices:
            return given.strip()
        number = str(given) if isinstance(given, str | int) and given is not True else ""
        if number.isascii() and number.isdigit() and int(number) < len(choices):
            return choices[int(number)]
        return self._required(field) if isinstance(given, str) else self._one_of(choices, given)

    def _choices(self) -> tuple[str, ...]:
        """At least two different texts, stripped."""
        key = key_of(self.record, self.fields, "choices")
        given = self.record[key] if key is not None else self._missing("choices")
        if isinstance(given, str) and given.lstrip().startswith("["):
            given = self._unpacked(given, key or "choices")
        if not isinstance(given, list) or len(given) < 2:
            self._fail(f"'{key}' is {json_name(given)}; it must be a list of at least two texts.")
        texts = tuple(self._text(c, f"{key}[{i}]").strip() for i, c in enumerate(given))
        if len(set(texts)) < len(texts):
            self._fail(f"'{key}' has the same choice twice.")
        return texts

    def _one_of(self, choices: Sequence[str], answer: Any) -> Any:
        if answer not in choices:
            self._fail(
                f"the answer {answer!r:.60} is none of the {len(choices)} choices.",
                f"It must be the text of one, or its index from 0 to {len(choices) - 1}.",
            )
        return answer

    def _unpacked(self, text: str, at: str) -> Any:
        """Turns as JSON text: how tables without nested columns hold them."""
        try:
            return parse_json(text)
        except (ValueError, RecursionError) as error:
            self._fail(f"'{at}' is no list in JSON ({error}).")

    def _required(self, field: str) -> str:
        key = key_of(self.record, self.fields, field)
        if key is None:
            self._missing(field)
        return self._text(self.record[key], key)

    def _optional(self, field: str) -> str | None:
        if field in ("group", "cluster"):
            return self._label(field)
        key = key_of(self.record, self.fields, field)
        if key is None and field in self.fields:
            self._missing(field)
        if key is None or self.record[key] in (None, ""):
            return None
        return self._text(self.record[key], key)

    def _label(self, field: str) -> str | None:
        """A name rather than a text: numbers are taken as their digits."""
        key = key_of(self.record, self.fields, field)
        if key is None:
            if field in self.fields:
                self._missing(field)
            return None
        return self._named(self.record[key], key)

    def _slice(self, name: str) -> str | None:
        value = self.record.get(name)
        return str(value).lower() if isinstance(value, bool) else self._named(value, name)

    def _named(self, value: Any, key: str) -> str | None:
        if value is None or value == "":
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self._text(value, key)

    def _text(self, value: Any, at: str) -> str:
        if not isinstance(value, str):
            number = isinstance(value, int | float)
            hint = "Write it as text (in JSON: in quotes)." if number else ""
            self._fail(f"'{at}' is {json_name(value)}; it must be text.", hint)
        if not value.strip():
            self._fail(f"'{at}' is empty.", "Remove the row, or fill it in.")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            code = f"\\u{ord(value[error.start]):04x}"
            self._fail(f"'{at}' holds the lone surrogate {code}, half a character.")
        return str(value)

    def _missing(self, field: str) -> NoReturn:
        name = self.fields.get(field)
        wanted = f"'{name}' (mapped to {field})" if name else " or ".join(map(repr, ALIASES[field]))
        keys = ", ".join(f"'{k}'" for k in list(self.record)[:8]) or "none"
        hint = f"Keys of the row: {keys}."
        if not name:
            hint += f" Map another one with `fields: {{{field}: KEY}}`."
        self._fail(f"the row has no {wanted}.", hint)

    def _fail(self, problem: str, hint: str = "") -> NoReturn:
        raise UserError(problem, where=self.where, hint=hint or None)
