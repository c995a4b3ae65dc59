"""`loss: all_turns` against the data: refused at once where a template hides the earlier turns."""

from collections.abc import Mapping
from itertools import islice

from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.sweeps.folder_codec import folder_codec
from keepgain.sweeps.gates.tokens import FolderTokenizer
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.sources import Source
from keepgain.trainers.earlier_turns import earlier_spans

TRIED = 100
"""Chats of each source; templates treat all alike."""


def refuse_hidden_turns(
    loaded: LoadedSpec, tokenizers: Mapping[str, FolderTokenizer], sources: Mapping[str, Source]
) -> None:
    """Locates the earlier assistant turns of some chats of each source under each tokenizer.

    Raises:
        UserError: The first that cannot be located, where the loss may be on all turns.
    """
    if loaded.spec.training.loss != "all_turns" and "loss" not in loaded.spec.space:
        return
    where = loaded.where("space.loss" if "loss" in loaded.spec.space else "training.loss")
    codecs = {t.key: folder_codec(t, name) for name, t in tokenizers.items()}
    for source in sources.values():
        chats = list(islice((p for p in source.train.placed() if _has_earlier(p[0])), TRIED))
        for codec in codecs.values():
            for row, place in chats:
                try:
                    earlier_spans(codec, row)
                except UserError as error:
                    problem = f"{place}: {error.problem.rstrip('.')} ({codec.name})."
                    raise UserError(problem, where=where, hint=error.hint) from None


def _has_earlier(row: Row) -> bool:
    return any(m["role"] == "assistant" for m in row.messages[:-1])
