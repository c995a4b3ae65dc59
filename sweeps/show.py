"""`sweep check --show`: rows as a model is trained on them, the tokens that carry loss marked."""

import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from keepgain.core.config import Loss
from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.sweeps.base_models import BaseModel
from keepgain.sweeps.folder_codec import folder_codec
from keepgain.sweeps.gates.tokens import FolderTokenizer
from keepgain.sweeps.sources import Source
from keepgain.trainers.encode import encode_rows
from keepgain.trainers.tokens import Codec

WITH_LOSS, MASKED = "bold green", "dim"
BRACKETS = "⟦", "⟧"
_NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class ShownRow:
    """A row as it is trained on, or why it cannot be."""

    place: str
    id: str
    ids: tuple[int, ...] = ()
    tokens: tuple[str, ...] = ()
    """As the vocabulary writes them."""
    loss: tuple[bool, ...] = ()
    """True where the token is predicted and the loss is on it."""
    parts: tuple[tuple[str, bool], ...] = ()
    """The text in runs with equal `loss`; special tokens are in it."""
    cut_left: int = 0
    """Tokens that the prompt lost to `max_length`."""
    cut_right: int = 0
    """Tokens that the answer or text lost."""
    answered_by_base: bool = False
    """The row is a prompt; its answer does not exist yet."""
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "place": self.place,
            "id": self.id,
            "ids": list(self.ids),
            "tokens": list(self.tokens),
            "loss": list(self.loss),
            "cut_left": self.cut_left,
            "cut_right": self.cut_right,
            "answered_by_base": self.answered_by_base,
            "refused": self.refused,
        }


def shown_rows(
    source: Source, model: BaseModel, max_length: int, loss: Loss, count: int
) -> list[ShownRow]:
    """The first training rows of a source under one model's tokenizer and chat template."""
    tokenizer = FolderTokenizer(model.folder)
    codec = folder_codec(tokenizer, model.ref.name)
    rows, places = source.train.rows[:count], source.train.places
    if source.answers:
        rows = [row.answered("x") for row in rows]
    shown = [
        _shown(codec, tokenizer, row, place, max_length, loss)
        for row, place in zip(rows, places, strict=False)
    ]
    return [_prompt_of(row) for row in shown] if source.answers else shown


def _prompt_of(row: ShownRow) -> ShownRow:
    """What stands before the last run of tokens with loss: an answer that nobody has written."""
    masked = len(row.loss) - row.loss[::-1].index(False) if False in row.loss else 0
    return replace(
        row,
        ids=row.ids[:masked],
        tokens=row.tokens[:masked],
        loss=row.loss[:masked],
        parts=row.parts[:-1],
        answered_by_base=True,
    )


def _shown(
    codec: Codec,
    tokenizer: FolderTokenizer,
    row: Row,
    place: str,
    max_length: int,
    on: Loss = "last_turn",
) -> ShownRow:
    try:
        (trained,) = encode_rows(codec, [row], max_length, on)
        # Of the same ids: where prompt and answer meet.
        (item,) = encode_rows(codec, [row], max_length)
        (whole,) = encode_rows(codec, [row], _NO_LIMIT)
    except UserError as error:
        return ShownRow(place, row.id, refused=str(error))
    ids = tuple(int(i) for i in item.ids)
    loss = tuple(bool(x) for x in trained.loss_mask)
    return ShownRow(
        place,
        row.id,
        ids,
        tuple(str(tokenizer.tokenizer.id_to_token(i)) for i in ids),
        loss,
        tuple(_parts(tokenizer, ids, loss)),
        cut_left=whole.start - item.start,
        cut_right=(len(whole.ids) - whole.start) - (len(item.ids) - item.start),
    )


def _parts(
    tokenizer: FolderTokenizer, ids: tuple[int, ...], loss: tuple[bool, ...]
) -> Iterator[tuple[str, bool]]:
    """Runs of equal loss as text. A run is what its end adds to the text before it: some tokenizers
    write the first word of a text without the space that it has elsewhere."""
    before, at = "", 0
    for carries, run in groupby(loss):
        at += len(list(run))
        text = _decoded(tokenizer, ids[:at])
        yield text[len(before) :], carries
        before = text


def _decoded(tokenizer: FolderTokenizer, ids: tuple[int, ...]) -> str:
    core = tokenizer.tokenizer
    if core.decoder is None:  # tokens would be joined with spaces
        return "".join(str(core.id_to_token(i)) for i in ids)
    return str(core.decode(list(ids), skip_special_tokens=False))


# -- for people -------------------------------------------------------------------------------


def render_rows(title: str, rows: list[ShownRow], colour: bool, width: int = 100) -> str:
    """Rows of one source, as text.

    Args:
        title: Of the source.
        colour: Colours say where the loss is; without, brackets do.
        width: Columns; longer lines are folded.
    """
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False
    )
    legend = "in green" if colour else f"in {''.join(BRACKETS)}"
    console.print(Text(f"{title}; tokens with loss {legend}:"), soft_wrap=True)
    for row in rows:
        console.print(Text(f"  {row.place}: {_counts(row)}"), soft_wrap=True)
        console.print(_text(row, colour))
    return out.getvalue().rstrip("\n")


def _counts(row: ShownRow) -> str:
    if row.refused is not None:
        return f"cannot be trained on: {_visible(row.refused)}"
    cut = f", {row.cut_left} cut off at its left" if row.cut_left else ""
    cut += f", {row.cut_right} cut off at its end" if row.cut_right else ""
    if row.answered_by_base:
        return f"a prompt of {len(row.ids)} tokens, answered by the base{cut}"
    return f"{len(row.ids)} tokens, {sum(row.loss)} with loss{cut}"


def _text(row: ShownRow, colour: bool) -> Text:
    text = Text("    ")
    if row.cut_left:
        text.append("…✂ ", style="red")
    for part, carries in row.parts:
        said = _visible(part)
        if carries and not colour:
            said = said.join(BRACKETS)
        text.append(said, style=WITH_LOSS if carries else MASKED)
    if row.cut_right:
        text.append(" ✂…", style="red")
    return text


def _visible(text: str) -> str:
    """Line ends are seen and kept; other control characters cannot reach the terminal."""
    return "".join(
        "↵\n    " if c == "\n" else f"\\u{ord(c):04x}" if unicodedata.category(c) in _HIDDEN else c
        for c in text
    )


_HIDDEN = ("Cc", "Cf", "Zl", "Zp")
