"""One model of a base and its adapter.

    python -m keepgain.trainers.merge BASE ADAPTER TARGET [--trust-remote-code]

In float32, whatever the base's dtype: rounding the sum would take away what the adapter adds. So an
adapter that was trained on weights in 4 bits comes onto the weights before they were quantised.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.publish import publish

COPIED = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt")
TRUST = "--trust-remote-code"
COPIED_MORE = ("chat_template*", "generation_config.json")


def merge(base: Path, adapter: Path, target: Path, trust_remote_code: bool = False) -> None:
    """Writes the merged model, with the base's tokenizer, as a folder that is whole or absent.

    Raises:
        UserError: The base cannot be read, or this kind of adapter cannot be merged.
    """
    import torch

    from keepgain.trainers.methods import load_adapter, merge_adapter
    from keepgain.trainers.models import load_model

    plain = load_model(base, torch.float32, trust_remote_code=trust_remote_code)
    merged: Any = merge_adapter(load_adapter(plain, str(adapter)))

    def write(into: Path) -> None:
        merged.save_pretrained(into)
        for pattern in (*COPIED, *COPIED_MORE):
            for path in base.glob(pattern):
                shutil.copy(path, into / path.name)

    publish(target, write)


def main() -> None:
    """Merges as the arguments say."""
    *folders, last = sys.argv[1:]
    trust = last == TRUST
    base, adapter, target = map(Path, folders if trust else (*folders, last))
    try:
        merge(base, adapter, target, trust)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
