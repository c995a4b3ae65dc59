"""`python -m tests.sweeps.tune_sweep SPEC FOLDER SLOTS`: a sweep through real Ray Tune, with
stand-in workers. Prints one JSON line; its times show what the scheduling itself costs."""

import json
import sys
import time
from pathlib import Path

from keepgain.cluster import ray_cluster
from keepgain.core.launch import ResourceRequest
from keepgain.sweeps.tune_runner import run_program
from tests.sweeps.test_program import Sweep

ROOT = Path(__file__).parents[2]


def main() -> None:
    spec, folder, slots = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    sweep = Sweep(spec, folder)
    ray_cluster.connect(None)
    began = time.monotonic()
    run_program(
        sweep.program,
        sweep_id="tiny",
        folder=folder,
        resources=ResourceRequest(cpus=1, gpus=0),
        slots=slots,
        env={"PYTHONPATH": str(ROOT)},
        entry_point="tests.sweeps.stand_in",
    )
    seconds = time.monotonic() - began
    sweep.search.close(interrupted=not sweep.program.finished)
    sweep.spool.close()
    reports = sum(len(r.reports) for r in sweep.state.runs.values())
    print(json.dumps({"seconds": seconds, "reports": reports, "stage": sweep.program.stage}))


if __name__ == "__main__":
    main()
