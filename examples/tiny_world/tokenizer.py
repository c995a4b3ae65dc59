"""The character tokenizer of the tiny world, as an ordinary Hugging Face fast tokenizer."""

from __future__ import annotations

import string

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
SPECIAL = (PAD, EOS, UNK)
# Everything the rows are written with, and a little punctuation for a user's own rows.
CHARACTERS = string.ascii_lowercase + string.digits + string.ascii_uppercase + " =:+-,.|?!/#_"


def build() -> PreTrainedTokenizerFast:
    """One token per character; nothing is added before or after a text."""
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *CHARACTERS))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    # Without a decoder the tokens would be joined with spaces.
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_max_length=64,
    )
