"""One record of a file turned into a `Row`, or refused in words that name its line and key."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NoReturn

from keepgain.core.errors import UserError
from keepgain.core.formats import ALIASES, key_of
from keepgain.core.identity import fingerprint
from keepgain.core.jsonl import json_name, parse_json
from keepgain.core.rows import Row, facts_of

ROLES = ("system", "user", "assistant")
SHAREGPT_ROLES = {"system": "system", "human": "user", "user": "user", "gpt": "assistant"}
SHAREGPT_ROLES |= {"assistant": "assistant", "chatgpt": "assistant"}
MAX_BESIDE_CHARACTERS = 200
_CONTENT = ("prompt", "answer", "instruction", "input", "output", "text", "context", "id")
"""Fields that are the row itself, or its name."""


@dataclass(frozen=True)
class RecordReader:
    """One record, with what its messages need."""

    record: Mapping[str, Any]
    fields: Mapping[str, str]
    """Our name of a field → its key in the file."""
    where: str
    """`file:line`, for messages."""
    slices: Sequence[str]
    """As of `row_files.iterate_rows`, like all that follow."""
    wants_choices: bool
    only_prompts: bool
    facts: Sequence[str]

    def row(self, kind: str, given_id: str | None) -> Row:
        """The record in one of the formats; without an id, it gets a hash of its content.

        Raises:
            UserError: The first fault.
        """
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
        read: list[tuple[str, str]] = []
        for name in (n for n in self.facts if n in self.record):
            value = self.record[name]
            try:
                read += facts_of({name: value})
            except TypeError:  # of a table: a date, bytes
                self._fail(
                    f"'{name}' is {json_name(value)}, which the scorer cannot be given.",
                    "Write it as text, a number or a list.",
                )
        return tuple(read)

    def beside(self, kind: str) -> dict[str, str]:
        """Values of `FoundRow.beside`; a `label` is the answer of a prompt, and beside all else."""
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
        """The row's own id; numbers are taken as their digits. Raises as `row` does."""
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
