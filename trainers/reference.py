"""Prompts of suite items: as trained, and as a team would prompt the base instead of tuning it.

Arms (see `core.config.ScoreConfig`): `base` asks the item as it stands; `system_prompt` puts an
instruction before it; `few_shot` puts worked examples before it; `context` puts the item's own
retrieved passage before it, where it has one. A text item has no question, so no arm changes it.
"""

from dataclasses import dataclass

from keepgain.core.config import Arm, ScoreConfig
from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.trainers.earlier_turns import plain_chat
from keepgain.trainers.encode import chat_span, plain_pair, turns
from keepgain.trainers.tokens import Codec, Message


@dataclass(frozen=True)
class Prompting:
    """What is put before an item's question."""

    arm: Arm = "base"
    system_prompt: str | None = None
    few_shot: tuple[dict[str, str], ...] = ()


def prompting_of(config: ScoreConfig) -> Prompting:
    """The prompting of a scoring job.

    Raises:
        UserError: The arm lacks what it is made of.
    """
    if config.arm == "system_prompt" and not config.system_prompt:
        raise UserError("the arm 'system_prompt' has no text.", where="system_prompt")
    if config.arm == "few_shot" and not config.few_shot:
        raise UserError("the arm 'few_shot' has no examples.", where="few_shot")
    return Prompting(config.arm, config.system_prompt, config.few_shot)


def prompt_ids(codec: Codec, row: Row, prompting: Prompting) -> list[int]:
    """Token ids from which the answer to a chat or pair item is generated.

    Raises:
        UserError: The template refuses the turns.
    """
    if codec.has_template:
        messages = arm_messages(turns(row)[:-1], row, prompting)
        if codec.marks_answers and messages == turns(row)[:-1]:
            # Where markers locate the answer, the prompt is what stood before it in training.
            return chat_span(codec, turns(row), row.id)[0]
        return codec.ids(codec.render(messages, generate=True))
    return _plain_ids(codec, row, prompting)


def arm_messages(question: list[Message], row: Row, prompting: Prompting) -> list[Message]:
    """The turns before the answer, with what the arm adds."""
    messages = [dict(m) for m in question]
    if prompting.arm == "context" and row.context is not None:
        last = messages[-1]
        last["content"] = f"{row.context}\n\n{last['content']}"
    if prompting.arm == "few_shot":
        shots: list[Message] = []
        for shot in prompting.few_shot:
            shots.append({"role": "user", "content": shot["prompt"]})
            shots.append({"role": "assistant", "content": shot["answer"]})
        first = 1 if messages[0]["role"] == "system" else 0
        messages[first:first] = shots
    if prompting.arm == "system_prompt":
        text = prompting.system_prompt or ""
        if messages[0]["role"] == "system":
            messages[0]["content"] = f"{text}\n\n{messages[0]['content']}"
        else:
            messages.insert(0, {"role": "system", "content": text})
    return messages


def _plain_ids(codec: Codec, row: Row, prompting: Prompting) -> list[int]:
    """Without a chat template: pieces of plain text with a gap between them."""
    pieces: list[list[int]] = []
    if prompting.arm == "system_prompt":
        pieces.append(codec.ids(prompting.system_prompt or ""))
    if prompting.arm == "few_shot":
        for shot in prompting.few_shot:
            if row.kind == "chat":
                opened = plain_chat([{"role": "user", "content": shot["prompt"]}])
                pieces.append(codec.ids(f"{opened} {shot['answer']}"))
            else:
                # As in training: tokens of the prompt, then tokens of the answer.
                pieces.append(codec.ids(shot["prompt"]) + codec.ids(shot["answer"]))
    if prompting.arm == "context" and row.context is not None:
        pieces.append(codec.ids(row.context))
    ids = list(codec.bos)
    gap = codec.gap() if pieces else []
    for piece in pieces:
        ids += piece + gap
    return ids + codec.ids(plain_pair(row)[0])
