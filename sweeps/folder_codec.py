"""The codec that trainers encode rows with, from the files of a model folder: no torch.

Encoding itself is `trainers.encode`; only the tokenizer that it asks is another one. What
transformers' tokenizer answers is followed here as far as `trainers` ask, and tests compare both.
Importing transformers brings in torch: about 10 s on two idle cores, to show three rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from keepgain.sweeps.gates.tokens import FolderTokenizer
from keepgain.trainers.tokens import Codec, codec_of


def folder_codec(tokenizer: FolderTokenizer, name: str) -> Codec:
    """As `trainers.tokens.load_codec`.

    Raises:
        UserError: The tokenizer has no token that could end an answer.
    """
    return codec_of(_Tokenizer(tokenizer), name, tokenizer.tokenizer.get_vocab_size())


class _Tokenizer:
    """What `Codec` and `trainers.encode` use of transformers' `PreTrainedTokenizerFast`."""

    def __init__(self, folder: FolderTokenizer) -> None:
        self._core = folder.tokenizer
        self._template = folder.template
        self.chat_template = folder.template.text if folder.template else None
        special = folder.special
        self.bos_token_id = self._id(special.get("bos_token"))
        self.eos_token_id = self._id(special.get("eos_token"))
        self.pad_token_id = self._id(special.get("pad_token"))
        self.unk_token_id = self._id(special.get("unk_token"))
        texts = [*special.values(), *_extra_special(folder.config)]
        ids = (self._id(text) for text in texts)
        self.all_special_ids = [i for i in dict.fromkeys(ids) if i is not None]

    def _id(self, text: str | None) -> int | None:
        found = None if text is None else self._core.token_to_id(text)
        return None if found is None else int(found)

    def __call__(
        self,
        text: str | list[str],
        add_special_tokens: bool = True,
        return_offsets_mapping: bool = False,
    ) -> dict[str, Any]:
        """`input_ids` of one text, or of each; of one, `offset_mapping` too."""
        if isinstance(text, str):
            one = self._core.encode(text, add_special_tokens=add_special_tokens)
            return {"input_ids": one.ids, "offset_mapping": one.offsets}
        encoded = self._core.encode_batch(text, add_special_tokens=add_special_tokens)
        return {"input_ids": [e.ids for e in encoded]}

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool = False,
        **options: Any,
    ) -> str | dict[str, list[int]]:
        """The text; with `tokenize`, `input_ids` and the `assistant_masks` of the markers."""
        assert self._template is not None, "asked of tokenizers with a template only"
        text, marked = self._template.render(messages, add_generation_prompt)
        if not tokenize:
            return text
        encoding = self._core.encode(text, add_special_tokens=False)
        mask = [0] * len(encoding.ids)
        for start, end in marked:
            first, last = encoding.char_to_token(start), encoding.char_to_token(end - 1)
            if first is None:
                break
            for token in range(first, last + 1 if last else len(mask)):
                mask[token] = 1
        return {"input_ids": encoding.ids, "assistant_masks": mask}


def _extra_special(config: Mapping[str, Any]) -> list[str]:
    """Special tokens beside the named ones; older folders call them additional."""
    found = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    entries = found.values() if isinstance(found, dict) else found
    return [str(e.get("content", "")) if isinstance(e, dict) else str(e) for e in entries]
