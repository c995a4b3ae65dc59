"""A worker that answers training and scoring requests at once, with figures that follow from
configuration, seed and rung alone. Imported, or run as a process in place of the real worker."""

import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np

from keepgain.core.config import run_key
from keepgain.core.items import ItemScores, write_items
from keepgain.core.record import Candidate, RungReport
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.sweeps.trial import parse_request

SECONDS = "KEEPGAIN_TEST_SECONDS"
"""Environment variable: how long a rung takes in the process."""


def pseudo_random(*key: object) -> float:
    """In [0, 1)."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def answer(request: TrainRequest | ScoreRequest, folder: Path) -> RungReport:
    """Does the job; files go below `folder`, the sweep's."""
    key = request.run_key
    train = isinstance(request, TrainRequest)
    rung = request.rung if isinstance(request, TrainRequest) else 0
    rungs = request.config.rungs if isinstance(request, TrainRequest) else (0,)
    final = rung == len(rungs) - 1
    out = folder / "runs" / key
    out.mkdir(parents=True, exist_ok=True)
    if isinstance(request, TrainRequest) and rung:
        assert request.resume_from == f"runs/{key}/checkpoint-r{rung - 1}"
        assert (folder / request.resume_from).is_dir(), "its checkpoint is kept while it waits"
    metrics, scores = {}, []
    for suite in request.config.suites:
        seed = request.seed if isinstance(request, TrainRequest) else 0
        value = round(pseudo_random(request.config.trial_id, seed, rung, suite.name), 3)
        metrics[f"{suite.split}/{suite.name}"] = value
        scores.append((key, item_scores(suite.name, suite.split, value, rungs[rung], suite.scorer)))
    write_items(out / f"items-r{rung}.parquet", scores)
    if train:
        losses = item_scores("loss/gain", "validation", 1.0, rungs[rung], "answer_loss")
        write_items(out / f"losses-r{rung}.parquet", [(key, losses)])
    shares = request.interpolate if isinstance(request, TrainRequest) and final else ()
    if train and final:
        (out / "model").mkdir(exist_ok=True)
        (out / "model" / "weights").write_text(key)
    if train and not final:
        (out / f"checkpoint-r{rung}").mkdir(exist_ok=True)
    return RungReport(
        run_key=key,
        rung=rung,
        tokens=rungs[rung],
        examples=rungs[rung],
        final=final,
        metrics=metrics,
        items_path=f"runs/{key}/items-r{rung}.parquet",
        losses_path=f"runs/{key}/losses-r{rung}.parquet" if train else None,
        checkpoint=None if final else f"runs/{key}/checkpoint-r{rung}",
        model_folder=f"runs/{key}/model" if train and final else None,
        cost={"train_seconds": 1.0},
        candidates=tuple(candidate(request, folder, share) for share in shares),
    )


def candidate(request: TrainRequest | ScoreRequest, folder: Path, share: float) -> Candidate:
    """Scores at a share of the way from the base."""
    assert isinstance(request, TrainRequest)
    config = request.config.model_copy(update={"interpolation": share})
    key, tokens = run_key(config.trial_id, request.seed), config.rungs[-1]
    path = f"runs/{request.run_key}/items-interpolated-{share:g}.parquet"
    values = {s: round(pseudo_random(key, s.name), 3) for s in config.suites}
    scores = [(key, item_scores(s.name, s.split, v, tokens, s.scorer)) for s, v in values.items()]
    write_items(folder / path, scores)
    return Candidate(
        interpolation=share,
        metrics={f"{s.split}/{s.name}": v for s, v in values.items()},
        items_path=path,
        cost={"train_seconds": 1.0},
    )


def item_scores(suite: str, split: str, value: float, tokens: int, scorer: str) -> ItemScores:
    """Two items with the same score."""
    ids = np.array(["a", "b"], dtype=np.str_)
    return ItemScores(suite, split, scorer, ids, np.full(2, value), np.ones(2), tokens)


def main() -> None:
    """Serves requests as `trainers.worker` does."""
    replies = os.fdopen(int(os.environ["KEEPGAIN_REPLY_FD"]), "w", encoding="utf-8")
    for line in sys.stdin:
        request = parse_request(line)
        time.sleep(float(os.environ.get(SECONDS, "0")))
        report = answer(request, Path(request.sweep_folder))
        replies.write(WorkReply(report=report).model_dump_json() + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
