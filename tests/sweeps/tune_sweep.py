"""`python -m tests.sweeps.tune_sweep SPEC FOLDER SLOTS [RANKED]`: a sweep through real Ray Tune,
with stand-in workers. Prints one JSON line; its times show what the scheduling itself costs.

RANKED: trials of the spec's `resources`, with several ranks, on the Ray of RAY_ADDRESS.
"""

import json
import sys
import time
from pathlib import Path

from keepgain.cluster import ray_cluster
from keepgain.core.launch import Footprint
from keepgain.sweeps.crew import footprint_of
from keepgain.sweeps.tune_runner import run_program
from tests.sweeps.test_program import Sweep

ROOT = Path(__file__).parents[2]


def main() -> None:
    spec, folder, slots = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    ranked = len(sys.argv) > 4
    sweep = Sweep(spec, folder)
    asked = sweep.prepared.spec.resources
    ray_cluster.connect(None)
    began = time.monotonic()
    run_program(
        sweep.program,
        sweep_id="tiny",
        folder=folder,
        footprint=footprint_of(asked, has_gpu=False) if ranked else Footprint(),
        slots=slots,
        env={"PYTHONPATH": str(ROOT)},
        entry_point="tests.sweeps.ranked_stand_in" if ranked else "tests.sweeps.stand_in",
        hang_seconds=asked.hang_seconds,
        say=print,
    )
    seconds = time.monotonic() - began
    sweep.search.close(interrupted=not sweep.program.finished)
    sweep.spool.close()
    reports = sum(len(r.reports) for r in sweep.state.runs.values())
    print(json.dumps({"seconds": seconds, "reports": reports, "stage": sweep.program.stage}))


if __name__ == "__main__":
    main()
