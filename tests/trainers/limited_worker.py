"""A worker that may take only so many bytes more while it trains; see `test_trial`."""

import os
import resource
from pathlib import Path
from typing import Any

from keepgain.trainers import run, worker

LIMIT = "KEEPGAIN_TEST_BYTES"

unlimited = run.train_to


def train_within_limit(*args: Any) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + int(os.environ[LIMIT])
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        unlimited(*args)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


if __name__ == "__main__":
    run.train_to = train_within_limit
    worker.main()
