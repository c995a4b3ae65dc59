"""A tokenizer with the facts that training and scoring must agree on.

Nothing here changes the tokenizer or resizes an embedding: padding uses an existing token, which
the attention mask and the labels hide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError

Message = dict[str, str]

_PROBE: list[Message] = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
]


@dataclass(frozen=True)
class Codec:
    """Text to token ids and back, as one model family does it."""

    tokenizer: Any
    name: str
    """For messages."""
    pad_id: int
    bos: tuple[int, ...]
    """What the tokenizer itself puts before a text: its BOS, or nothing."""
    end_id: int
    """Ends an answer: the chat template's end-of-turn token, else end-of-sequence."""
    eos_id: int
    """Ends a document: end-of-sequence, else `end_id`."""
    stop_ids: tuple[int, ...]
    """Any of these ends a generation."""
    has_template: bool
    marks_answers: bool
    """The template has generation markers, so it says itself what the assistant wrote."""
    appends_end: bool
    """The template writes no end-of-turn token, so `end_id` is added after the answer."""

    def ids(self, text: str) -> list[int]:
        """Token ids of `text`, no special token added."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def ids_of_many(self, texts: Sequence[str]) -> list[list[int]]:
        """As `ids`, for many texts in one call (several times faster)."""
        if not texts:
            return []
        return list(self.tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """(first, end) in characters of `text` for each token of `ids`."""
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return list(encoded["offset_mapping"])

    def text(self, ids: Sequence[int]) -> str:
        """The text of generated ids, special tokens left out."""
        decoded = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(decoded)

    def render(self, messages: Sequence[Message], *, generate: bool) -> str:
        """A chat as the template writes it; `generate` opens the assistant's turn.

        `enable_thinking=False` is what templates of reasoning models read; others ignore it.
        Answers are trained and scored without a thinking block.

        Raises:
            UserError: The template refuses these messages (for example a system turn).
        """
        from jinja2 import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=generate,
                enable_thinking=False,
            )
        except TemplateError as error:
            raise UserError(
                f"the chat template refuses these turns ({error}).", where=self.name
            ) from None
        return str(text)

    def gap(self) -> list[int]:
        """What stands between pieces of a plain prompt: a blank line, or end-of-sequence.

        Tokenizers over a small alphabet may have no line break.
        """
        ids = self.ids("\n\n")
        unknown = self.tokenizer.unk_token_id
        return ids if ids and unknown not in ids else [self.end_id]


def load_codec(
    folder: str, name: str, embedding_rows: int, trust_remote_code: bool = False
) -> Codec:
    """Reads the tokenizer of a model folder.

    Args:
        embedding_rows: Ids from here on have no embedding and cannot serve as padding.

    Raises:
        UserError: No tokenizer in the folder, or one without an end-of-sequence token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"no tokenizer can be read here ({_first_line(error)}).", where=folder
        ) from None
    if not tokenizer.is_fast:
        raise UserError(
            "the tokenizer has no tokenizer.json (a fast tokenizer is needed for byte offsets).",
            where=str(Path(folder)),
        )
    return codec_of(tokenizer, name, embedding_rows)


def codec_of(tokenizer: Any, name: str, embedding_rows: int) -> Codec:
    """The `Codec` of a loaded tokenizer; see `load_codec`."""
    eos = tokenizer.eos_token_id
    has_template = tokenizer.chat_template is not None
    end = _end_of_turn(tokenizer) if has_template else None
    if end is None and eos is None:
        raise UserError(
            "the tokenizer has neither an end-of-sequence token nor a chat template with an "
            "end-of-turn token, so an answer could never end.",
            where=name,
        )
    end_id = eos if end is None else end
    usable = [
        i
        for i in (tokenizer.pad_token_id, eos, tokenizer.unk_token_id, end_id)
        if i is not None and i < embedding_rows
    ]
    return Codec(
        tokenizer=tokenizer,
        name=name,
        pad_id=usable[0],
        bos=_own_bos(tokenizer),
        end_id=end_id,
        eos_id=end_id if eos is None else eos,
        stop_ids=tuple(sorted({end_id} if eos is None else {end_id, eos})),
        has_template=has_template,
        marks_answers=has_template and "endgeneration" in str(tokenizer.chat_template),
        appends_end=has_template and end is None,
    )


def _end_of_turn(tokenizer: Any) -> int | None:
    """The last special token after the probe's answer: `<|im_end|>`, `<|eot_id|>`, `</s>`, ..."""
    text = tokenizer.apply_chat_template(_PROBE, tokenize=False, enable_thinking=False)
    tail = text[text.rindex("b") + 1 :]
    special = set(tokenizer.all_special_ids)
    found = [i for i in tokenizer(tail, add_special_tokens=False)["input_ids"] if i in special]
    return int(found[-1]) if found else None


def _own_bos(tokenizer: Any) -> tuple[int, ...]:
    bos = tokenizer.bos_token_id
    if bos is None:
        return ()
    # Some tokenizers over words have no id for a letter: the empty text shows the same.
    return (bos,) if tokenizer("")["input_ids"][:1] == [bos] else ()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
