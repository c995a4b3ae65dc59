"""Rows as token ids with the part that is trained on.

The loss is on the answer alone: of a chat, on the last assistant turn with its end-of-turn token
and not on what the template writes after it; of a pair, on answer and end; of a text, on every
token and the end. With `loss: all_turns` it is on the earlier assistant turns of a chat too (see
`earlier_turns`); the ids are the same. So it is on the tail of a row, but for gaps.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from keepgain.core.config import Loss
from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.trainers.earlier_turns import Span, earlier_spans, marked_ids, plain_chat
from keepgain.trainers.tokens import Codec, Message

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row ready for training."""

    ids: Ids
    """Shape [length]."""
    start: int
    """Index of the first token that is trained on; the first token of all is never predicted."""
    truncated: bool
    group: str | None = None
    answer_hash: int = 0
    """Equal of equal answers (of texts: of equal texts): the class of a row, where rows are
    balanced by their answers."""
    replay: bool = False
    """From a source of role replay."""
    gaps: tuple[Span, ...] = ()
    """[first, end) of the tokens after `start` that are not trained on, ascending."""

    @property
    def loss_tokens(self) -> int:
        """Number of predicted tokens that the loss is on."""
        return len(self.ids) - max(self.start, 1) - sum(end - first for first, end in self.gaps)

    @property
    def loss_mask(self) -> npt.NDArray[np.bool_]:
        """True where a token is predicted and the loss is on it; shape [length]."""
        mask = np.arange(len(self.ids)) >= max(self.start, 1)
        for first, end in self.gaps:
            mask[first:end] = False
        return mask


def encode_rows(
    codec: Codec, rows: Sequence[Row], max_length: int, loss: Loss = "last_turn"
) -> list[Encoded]:
    """Encodes rows of any kind, in order.

    Raises:
        UserError: A chat whose answer cannot be located, or a row with nothing to train on.
    """
    spans = spans_of(codec, rows)
    encoded = []
    for row, (prompt, answer) in zip(rows, spans, strict=True):
        earlier = earlier_spans(codec, row) if loss == "all_turns" else []
        item = cut(codec, prompt, answer, max_length, earlier)
        if item.loss_tokens < 1:
            raise UserError(f"row '{row.id}' has no token to train on.", hint="Remove it.")
        encoded.append(replace(item, group=row.group, answer_hash=_hash(row.answer or row.text)))
    return encoded


def _hash(text: str) -> int:
    return zlib.crc32(text.strip().encode())


def spans_of(codec: Codec, rows: Sequence[Row]) -> list[tuple[list[int], list[int]]]:
    """(prompt ids, answer ids with the end token) of each row; a text is all answer."""
    spans: list[tuple[list[int], list[int]]] = [([], [])] * len(rows)
    chats = [i for i, r in enumerate(rows) if r.kind != "text" and codec.has_template]
    plain = [i for i, r in enumerate(rows) if r.kind != "text" and not codec.has_template]
    texts = [i for i, r in enumerate(rows) if r.kind == "text"]
    for i in chats:
        spans[i] = chat_span(codec, turns(rows[i]), rows[i].id)
    bos, end = list(codec.bos), [codec.end_id]
    pairs = [plain_pair(rows[i]) for i in plain]
    prompts = codec.ids_of_many([p for p, _ in pairs])
    answers = codec.ids_of_many([a for _, a in pairs])
    for i, prompt, answer in zip(plain, prompts, answers, strict=True):
        spans[i] = (bos + prompt, answer + end)
    for i, ids in zip(texts, codec.ids_of_many([rows[i].text for i in texts]), strict=True):
        spans[i] = (bos, [*ids, codec.eos_id])
    return spans


def turns(row: Row) -> list[Message]:
    """A chat's messages, or a pair as one user and one assistant turn."""
    if row.kind == "chat":
        return list(row.messages)
    return [
        {"role": "user", "content": row.prompt},
        {"role": "assistant", "content": row.answer},
    ]


def plain_pair(row: Row) -> tuple[str, str]:
    """Prompt and answer for a tokenizer without a chat template.

    A pair is taken as it is. A chat becomes lines of `role: content`; the answer then begins with
    a space, which the comparison of answers ignores.
    """
    if row.kind == "pair":
        return row.prompt, row.answer
    return plain_chat(row.messages[:-1]), f" {row.answer}"


def chat_span(codec: Codec, messages: list[Message], row_id: str) -> tuple[list[int], list[int]]:
    """Locates the last assistant turn of a rendered chat.

    With generation markers the template says what the assistant wrote. Without, the rendering of
    the turns before it, with the assistant's turn opened, must be a prefix of the full rendering.

    Returns:
        (ids before the answer, ids of the answer up to and with its end-of-turn token).

    Raises:
        UserError: The prefix check fails, or markers mark nothing.
    """
    if codec.marks_answers:
        ids, mask = marked_ids(codec, messages, row_id)
        last = int(np.flatnonzero(mask)[-1])
        unmarked = np.flatnonzero(mask[:last] == 0)
        start = int(unmarked[-1]) + 1 if len(unmarked) else 0
        return ids[:start], _end_at_turn(codec, ids[start:])
    full = codec.render(messages, generate=False)
    prompt = codec.render(messages[:-1], generate=True)
    if not full.startswith(prompt):
        raise UserError(
            f"the answer of row '{row_id}' cannot be located: with the answer, the chat template "
            "writes the turns before it differently.",
            where=codec.name,
            hint="Put {% generation %} markers around the assistant's text in the template.",
        )
    prompt_ids, full_ids = codec.ids(prompt), codec.ids(full)
    if full_ids[: len(prompt_ids)] == prompt_ids:
        answer_ids = full_ids[len(prompt_ids) :]
    else:
        # A merge spans the border. At scoring time the prompt stands alone, hence so here.
        answer_ids = codec.ids(full[len(prompt) :])
    return prompt_ids, _end_at_turn(codec, answer_ids)


def _end_at_turn(codec: Codec, answer: list[int]) -> list[int]:
    """Drops what the template writes after the end-of-turn token; adds the token if it has none."""
    if codec.appends_end:
        return [*answer, codec.end_id]
    places = [i for i, token in enumerate(answer) if token == codec.end_id]
    return answer[: places[-1] + 1] if places else [*answer, codec.end_id]


def cut(
    codec: Codec,
    prompt: list[int],
    answer: list[int],
    max_length: int,
    earlier: Sequence[Span] = (),
) -> Encoded:
    """Joins prompt and answer in at most `max_length` tokens.

    The prompt loses tokens at its left (a leading BOS stays); an answer or text that is too long by
    itself loses its end.

    Args:
        earlier: [first, end) of the prompt's tokens that the loss is on too, ascending.
    """
    excess = len(prompt) + len(answer) - max_length
    if excess > 0:
        whole = len(prompt)
        lead = prompt[:1] if prompt and prompt[0] in codec.bos else []
        body = prompt[len(lead) :]
        kept = max(len(body) - excess, 1 if body else 0)
        prompt = lead + body[len(body) - kept :]
        answer = answer[: max_length - len(prompt)]
        lost = whole - len(prompt)
        moved = [(max(first - lost, len(lead)), end - lost) for first, end in earlier]
        earlier = [(first, end) for first, end in moved if first < end]
    ids = np.array(prompt + answer, dtype=np.int32)
    spans = [*earlier, (len(prompt), len(ids))]
    gaps = ((end, first) for (_, end), (first, _) in pairwise(spans))
    return Encoded(
        ids=ids,
        start=spans[0][0],
        truncated=excess > 0,
        gaps=tuple((first, end) for first, end in gaps if first < end),
    )
