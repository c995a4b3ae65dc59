"""One rank of a worker that answers as `stand_in` does, and notes where and when it was at work.

A line of `ranks.jsonl` in the sweep's folder for each rank and request: which run, which process,
which node of the local cluster. A file `hold` there makes every rank work until it is gone.
"""

import json
import os
import sys
import time
from pathlib import Path

from keepgain.cluster.marked import VARIABLE
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.sweeps.trial import parse_request
from tests.sweeps.stand_in import SECONDS, answer

NOTES = "ranks.jsonl"
HOLD = "hold"


def main() -> None:
    rank = os.environ.get("RANK", "0")
    replies = os.fdopen(int(os.environ["KEEPGAIN_REPLY_FD"]), "w", encoding="utf-8")
    for line in sys.stdin:
        request = parse_request(line)
        folder = Path(request.sweep_folder)
        note(folder, request, rank)
        until = time.monotonic() + float(os.environ.get(SECONDS, "0"))
        while time.monotonic() < until or trained_while_held(folder, request):
            time.sleep(0.1)
            replies.write("\n")
            replies.flush()
        report = answer(request, folder if rank == "0" else aside(folder, request, rank))
        replies.write(WorkReply(report=report).model_dump_json() + "\n")
        replies.flush()


def note(folder: Path, request: TrainRequest | ScoreRequest, rank: str) -> None:
    found = {
        "run_key": request.run_key,
        "op": request.op,
        "rank": int(rank),
        "local": int(os.environ.get("LOCAL_RANK", "0")),
        "world": int(os.environ.get("WORLD_SIZE", "1")),
        "pid": os.getpid(),
        "node": os.environ[VARIABLE],
        "master": os.environ.get("MASTER_ADDR"),
    }
    with (folder / NOTES).open("a") as file:
        file.write(json.dumps(found) + "\n")


def trained_while_held(folder: Path, request: TrainRequest | ScoreRequest) -> bool:
    return isinstance(request, TrainRequest) and (folder / HOLD).exists()


def aside(folder: Path, request: TrainRequest | ScoreRequest, rank: str) -> Path:
    """The files of rank 0 alone count."""
    own = folder / "other-ranks" / rank
    if isinstance(request, TrainRequest) and request.resume_from:
        (own / request.resume_from).mkdir(parents=True, exist_ok=True)
    return own


if __name__ == "__main__":
    main()
