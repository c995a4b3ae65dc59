"""`python -m keepgain.trainers.worker`: trains and scores what it is asked to, one job at a time.

One JSON request a line comes on standard input (`core.work`); one JSON reply a line goes to the
descriptor named by `KEEPGAIN_REPLY_FD`, so that nothing a library prints can break the protocol.
Empty lines there are signs of life (`alive`).
The worker ends when its input closes, or when the process that started it is gone.
"""

import logging
import os
import sys
import threading
import time
from typing import IO

from keepgain.trainers.alive import give_signs_on, sign_of_life

REPLY_FD = "KEEPGAIN_REPLY_FD"


def main() -> None:
    """Serves requests until standard input closes."""
    # Before torch is imported: a second thread slows small models down when cores are shared.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if REPLY_FD not in os.environ:
        sys.exit(f"{REPLY_FD} is not set: it names the descriptor that replies are written to.")
    replies = os.fdopen(int(os.environ[REPLY_FD]), "w", encoding="utf-8")
    give_signs_on(replies)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    serve(sys.stdin, replies)


def serve(requests: IO[str], replies: IO[str]) -> None:
    """Answers each line of `requests` with one line on `replies`."""
    from keepgain.trainers.jobs import Jobs
    from keepgain.trainers.process import prepare_libraries

    prepare_libraries()
    sign_of_life()  # imports may have taken a minute
    jobs = Jobs()
    for line in requests:
        if line.strip():
            replies.write(jobs.answer(line).model_dump_json() + "\n")
            replies.flush()


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed would otherwise finish its job for nobody.

    Ending at any moment is safe: what it writes appears whole or not at all.
    """
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    main()
