"""python examples/quickstart/record_example.py SWEEP_FOLDER: keeps a sweep as `analyze --example`.

SWEEP_FOLDER is what `sweep run` names as "files and logs". What names a machine or a path is left
out; everything that the analysis reads stays as it was recorded.
"""

import sys
from dataclasses import replace
from pathlib import Path

from keepgain.core.store.record_files import load_folder, save_folder

PRIVATE = ("host", "platform", "cluster", "commit", "tree", "ray_job")
EXAMPLE = Path(__file__).parents[2] / "analysis" / "example"


def main(folder: Path) -> None:
    evidence = load_folder(folder / "record")
    kept = {k: v for k, v in evidence.sweep.provenance.items() if k not in PRIVATE}
    sweep = evidence.sweep.model_copy(
        update={"store": "the example shipped with Keepgain", "provenance": kept}
    )
    EXAMPLE.mkdir(exist_ok=True)
    save_folder(EXAMPLE, replace(evidence, sweep=sweep))
    print(f"wrote {EXAMPLE}: {len(sweep.runs)} runs of {sweep.id}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
