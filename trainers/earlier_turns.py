"""Where a chat's assistant turns before the last stand in its prompt: what `loss: all_turns` adds.

The ids of a row are those of `loss: last_turn`, so both train on the same sequences.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.trainers.tokens import Codec, Message

Span = tuple[int, int]
"""[first, end)."""


def earlier_spans(codec: Codec, row: Row) -> list[Span]:
    """Spans of the assistant turns before the last, in tokens of the row's prompt, ascending.

    With generation markers they are what the template marks. Without, the turns that answer a user
    are found as the last one is: the chat up to a turn, with and without it, must be a prefix of
    the chat as it is trained on. A turn ends with its end-of-turn token, marked or not.

    Raises:
        UserError: The template writes an earlier turn differently once turns follow it.
    """
    if row.kind != "chat" or all(m["role"] != "assistant" for m in row.messages[:-1]):
        return []
    if codec.marks_answers and codec.has_template:
        return _marked(codec, row)
    if codec.has_template:
        before = 0
        prompt, turns = _rendered(codec, row)
    else:
        before = len(codec.bos)
        prompt, turns = _plain(row)
    ids = codec.ids(prompt)
    # A token that begins before its turn is not what the model would generate there: no loss.
    begins = np.array([begin for begin, _ in codec.offsets(prompt)])
    spans = []
    for opened, closed in turns:
        first, end = (int(i) for i in np.searchsorted(begins, [opened, closed]))
        ends = [i for i in range(first, end) if ids[i] == codec.end_id]
        end = ends[-1] + 1 if ends else end
        if first < end:
            spans.append((before + first, before + end))
    return spans


def marked_ids(
    codec: Codec, messages: Sequence[Message], row_id: str
) -> tuple[list[int], npt.NDArray[Any]]:
    """Ids of a whole chat, and 1 where the template's generation markers stand around them.

    Raises:
        UserError: They mark nothing.
    """
    rendered = codec.tokenizer.apply_chat_template(
        list(messages),
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        enable_thinking=False,
    )
    ids, mask = list(rendered["input_ids"]), np.asarray(rendered["assistant_masks"])
    if not mask.any():
        raise UserError(
            f"the chat template's generation markers mark nothing in row '{row_id}'.",
            where=codec.name,
        )
    return ids, mask


def _marked(codec: Codec, row: Row) -> list[Span]:
    ids, mask = marked_ids(codec, row.messages, row.id)
    edges = np.flatnonzero(np.diff(mask, prepend=0, append=0))
    runs = [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
    return [(first, end + (ids[end] == codec.end_id)) for first, end in runs[:-1]]


def _rendered(codec: Codec, row: Row) -> tuple[str, list[Span]]:
    """The prompt as the template writes it, and where assistant turns stand in it."""
    messages = list(row.messages)
    prompt = codec.render(messages[:-1], generate=True)
    turns = []
    for i in _answers(messages):
        opened = codec.render(messages[:i], generate=True)
        closed = codec.render(messages[: i + 1], generate=False)
        if not (closed.startswith(opened) and prompt.startswith(closed)):
            raise UserError(
                f"turn {i + 1} of row '{row.id}' cannot be located: the chat template writes an "
                "assistant turn differently once turns follow it (templates of reasoning models "
                "drop earlier thinking).",
                where=codec.name,
                hint="Use `loss: last_turn`, or put {% generation %} markers around the "
                "assistant's text in the template.",
            )
        turns.append((len(opened), len(closed)))
    return prompt, turns


def _answers(messages: Sequence[Message]) -> list[int]:
    """Places of the assistant turns that follow a user's, without the last turn of all."""
    roles = [m["role"] for m in messages]
    user = roles.index("user")
    return [i for i in range(user, len(messages) - 1) if roles[i] == "assistant"]


def plain_chat(messages: Sequence[Message]) -> str:
    """Turns as lines, and the opening of the assistant's: for tokenizers without a template."""
    lines = [f"{m['role']}: {m['content']}" for m in messages]
    return "\n".join([*lines, "assistant:"])


def _plain(row: Row) -> tuple[str, list[Span]]:
    """As `_rendered`, by `plain_chat`; a turn ends with its text, no token marks its end."""
    messages = row.messages
    turns = []
    for i in _answers(messages):
        opened = len(plain_chat(messages[:i]))
        turns.append((opened, opened + len(f" {messages[i]['content']}")))
    return plain_chat(messages[:-1]), turns
