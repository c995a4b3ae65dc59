"""`python -m keepgain.trainers.merge BASE ADAPTER TARGET`: one model of a base and its adapter.

In float32, whatever the base's dtype: rounding the sum would take away what the adapter adds.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from keepgain.trainers.checkpoint import publish

COPIED = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt")
COPIED_MORE = ("chat_template*", "generation_config.json")


def merge(base: Path, adapter: Path, target: Path) -> None:
    """Writes the merged model, with the base's tokenizer, as a folder that is whole or absent.

    Raises:
        UserError: The base cannot be read.
    """
    import torch

    from keepgain.trainers.methods import load_adapter
    from keepgain.trainers.models import load_model

    model: Any = load_adapter(load_model(base, torch.float32), str(adapter))
    merged: Any = model.merge_and_unload()

    def write(into: Path) -> None:
        merged.save_pretrained(into)
        for pattern in (*COPIED, *COPIED_MORE):
            for path in base.glob(pattern):
                shutil.copy(path, into / path.name)

    publish(target, write)


def main() -> None:
    """Merges as the arguments say."""
    base, adapter, target = map(Path, sys.argv[1:])
    merge(base, adapter, target)


if __name__ == "__main__":
    main()
