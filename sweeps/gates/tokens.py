"""Lengths of rows in tokens, from a model folder's own files: no torch, no AutoTokenizer."""

import hashlib
import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from tokenizers import Tokenizer

from keepgain.core.errors import UserError
from keepgain.core.identity import file_digest, fingerprint
from keepgain.core.rows import Row
from keepgain.sweeps.gates.chat_template import ChatTemplate

SPECIAL_TOKENS = tuple(
    f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
)
"""What templates may name."""
SAMPLE = 5_000
"""Rows counted of a longer file; the total is scaled up, and said to be."""


@dataclass(frozen=True)
class TokenStats:
    """Lengths of one file's rows under one tokenizer."""

    rows: int
    sampled: int
    """Rows counted; below `rows` the other figures but `longest` are scaled up from them."""
    tokens: int
    """Sum of row lengths, each cut at max_length: what one pass over the rows trains on."""
    over_length: int
    """Rows longer than max_length: their prompt is cut at the left."""
    cut_answers: int
    """Rows whose answer alone is longer than max_length: it is cut."""
    longest: int
    answer_tokens: int
    """Sum over answers (texts, where rows have none)."""
    long_rows: tuple[int, ...] = ()
    """Positions of the counted rows that are longer than max_length, though their answer is not."""
    cut_rows: tuple[int, ...] = ()
    """Positions of the counted rows whose answer alone is longer."""
    unwritten: int = 0
    """Tokens that each answer may have that is not there yet: the other figures are of the most."""

    @property
    def is_sample(self) -> bool:
        """True if the figures are scaled up."""
        return self.sampled < self.rows


class FolderTokenizer:
    """tokenizer.json and the chat template of one model folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "tokenizer.json"
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises a bare Exception
            raise UserError(f"not readable as a tokenizer ({error}).", where=str(path)) from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.config = _read_optional(folder / "special_tokens_map.json")
        self.config |= _read_optional(folder / "tokenizer_config.json")
        self.special = {n: t for n in SPECIAL_TOKENS if (t := _content(self.config.get(n)))}
        """Name of a special token → its text, of those that the tokenizer has."""
        template = _template(folder, self.config)
        self.template = ChatTemplate(template, self.special, folder) if template else None
        self.key = fingerprint([file_digest(path), template])
        """Equal for model folders that give every row the same tokens."""
        self._bos = self._own_bos()

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, no special token added."""
        return [
            len(e.ids) for e in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ]

    def row_lengths(self, rows: Sequence[Row]) -> list[int]:
        """Tokens of each row as it is trained on (to a token or two: what templates write after
        the last turn is not trained on).

        Raises:
            UserError: The chat template refuses a row.
        """
        templated = self.template is not None
        rendered = [self._render(r) if templated and r.kind != "text" else None for r in rows]
        plain = [(r.text, "") if r.kind == "text" else _plain_pair(r) for r in rows]
        whole = self.lengths([text or "" for text in rendered])
        prompts, answers = (self.lengths([pair[i] for pair in plain]) for i in (0, 1))
        return [
            n if text is not None else self._bos + a + b + 1
            for text, n, a, b in zip(rendered, whole, prompts, answers, strict=True)
        ]

    def _render(self, row: Row) -> str:
        messages = list(row.messages) or [
            {"role": "user", "content": row.prompt},
            {"role": "assistant", "content": row.answer},
        ]
        assert self.template is not None
        try:
            return self.template.render(messages)[0]
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise UserError(
                f"the chat template of {self.folder} refuses the row {row.id!r}: {error}."
            ) from None

    def _own_bos(self) -> int:
        """1 if the tokenizer itself puts a BOS before a text."""
        first = self.tokenizer.encode("", add_special_tokens=True).tokens[:1]
        return int(bool(first) and first[0] == self.special.get("bos_token"))


def _plain_pair(row: Row) -> tuple[str, str]:
    """Prompt and answer where there is no chat template; a chat as lines of `role: content`."""
    if row.kind == "pair":
        return row.prompt, row.answer
    lines = [f"{m['role']}: {m['content']}" for m in row.messages[:-1]]
    return "\n".join([*lines, "assistant:"]), f" {row.answer}"


def token_stats(
    tokenizer: FolderTokenizer, rows: Sequence[Row], max_length: int, unwritten: int = 0
) -> TokenStats:
    """Counts the rows, or a fixed sample of them where there are more than `SAMPLE`.

    Args:
        unwritten: Tokens that an answer may have, of prompts without one.
    """
    positions = _sample(rows)
    chosen = [rows[i] for i in positions]
    lengths = [n + unwritten for n in tokenizer.row_lengths(chosen)]
    texts = [row.answer or row.text for row in chosen]
    answers = [n + unwritten for n in tokenizer.lengths(texts)]
    scale = len(rows) / len(chosen) if chosen else 0.0
    over = [k for k, n in enumerate(lengths) if n > max_length]
    cut = {k for k, n in enumerate(answers) if n > max_length}

    def scaled(value: int) -> int:
        return round(value * scale)

    return TokenStats(
        rows=len(rows),
        sampled=len(chosen),
        tokens=scaled(sum(min(n, max_length) for n in lengths)),
        over_length=scaled(len(over)),
        cut_answers=scaled(len(cut)),
        longest=max(lengths, default=0),
        answer_tokens=scaled(sum(answers)),
        long_rows=tuple(sorted(positions[k] for k in over if k not in cut)),
        cut_rows=tuple(sorted(positions[k] for k in cut)),
        unwritten=unwritten,
    )


def _sample(rows: Sequence[Row]) -> list[int]:
    """Positions, the same in every run: of the rows with the smallest hash of their id."""
    if len(rows) <= SAMPLE:
        return list(range(len(rows)))
    hashes = ((hashlib.sha256(row.id.encode()).digest(), i) for i, row in enumerate(rows))
    return [i for _, i in heapq.nsmallest(SAMPLE, hashes)]


def _read_optional(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"not readable as JSON ({error}).", where=str(path)) from None
    return value if isinstance(value, dict) else {}


def _content(token: Any) -> str:
    """A special token stands as text or as an object with its text."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _template(folder: Path, config: dict[str, Any]) -> str | None:
    """The default chat template; the file beside the tokenizer goes before its configuration."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    legacy = _read_optional(folder / "chat_template.json")
    template = legacy.get("chat_template") or config.get("chat_template")
    if isinstance(template, list):
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        template = named.get("default")
    return template if isinstance(template, str) and template else None
