"""Records the tables: trains every configuration of the grid with every seed, and can be stopped.

Each run appends one line to `WORK/DOMAIN.jsonl` as soon as it is done; a second call goes on with
the runs that neither that file nor `tables/DOMAIN.parquet` has, so that a recording may be finished
on another machine. `--assemble` writes the tables from both.

    python benchmarks/search/record.py --work /tmp/grid --processes 2
    python benchmarks/search/record.py --work /tmp/grid --assemble
"""

import argparse
import base64
import fcntl
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from grid import DOMAINS, SEEDS, Cell, cells, prepared_grid, trial_config
from tables import TABLES, Bases, Runs, cpu_model, described, read_table, write_table

from keepgain.core.items import read_items
from keepgain.core.work import ScoreRequest, TrainRequest

Task = tuple[str, int, Cell]


def tasks(models: tuple[str, ...]) -> list[Task]:
    """All runs, in an order such that a recording stopped early is of use: the domain of the
    headline first, a seed of it before the next, and within that in a fixed random order."""
    found: list[Task] = []
    for domain in reversed(DOMAINS):
        for seed in SEEDS:
            order = cells(models)
            random.Random(f"{domain}-{seed}").shuffle(order)
            found += [(domain, seed, cell) for cell in order]
    return found


def train(jobs: Any, request: TrainRequest) -> list[dict[str, Any]]:
    """One run through all its rungs: what the table keeps of each."""
    folder = Path(request.sweep_folder) / "runs" / request.run_key
    rows = []
    for rung in range(len(request.config.rungs)):
        reply = jobs.do(request.model_copy(update={"rung": rung}))
        if reply.report is None:
            rows.append({"failed": str(reply.cause), "detail": reply.detail})
            break
        rows.append(kept(reply.report, Path(request.sweep_folder)))
    shutil.rmtree(folder)
    return rows


def kept(report: Any, folder: Path) -> dict[str, Any]:
    """Means, costs and item scores (as bits) of one report."""
    items = {
        s.suite: base64.b64encode(np.packbits(s.values.astype(bool)).tobytes()).decode()
        for _, s in read_items(folder / report.items_path)
        if s.metric == "exact_match"
    }
    return {
        "tokens": report.tokens,
        "metrics": {k: v for k, v in report.metrics.items() if "/" in k},
        "train_seconds": report.cost.get("train_seconds", 0.0),
        "score_seconds": report.cost.get("score_seconds", 0.0),
        "items": items,
    }


def work(number: int, folder: Path, queue: "multiprocessing.Queue[Task | None]") -> None:
    """A process that takes runs from the queue until it is empty."""
    import torch

    torch.set_num_threads(1)
    from keepgain.trainers.jobs import Jobs
    from keepgain.trainers.process import prepare_libraries

    prepare_libraries()
    own = folder / f"worker-{number}"
    prepared = {domain: prepared_grid(domain, own / domain) for domain in DOMAINS}
    jobs = Jobs()
    while (task := queue.get()) is not None:
        domain, seed, cell = task
        config = trial_config(prepared[domain], cell)
        request = TrainRequest(
            config=config,
            seed=seed,
            rung=0,
            sweep_folder=str((own / domain).absolute()),
            keep_checkpoint=False,
        )
        began = time.perf_counter()
        line = {
            "cell": vars(cell),
            "seed": seed,
            "trial_id": config.trial_id,
            "rungs": train(jobs, request),
            "seconds": round(time.perf_counter() - began, 2),
            "cpu": cpu_model(),
        }
        append(folder / f"{domain}.jsonl", line)


def append(path: Path, line: dict[str, Any]) -> None:
    """One whole line, also when two processes write."""
    with path.open("a", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.write(json.dumps(line) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def done(folder: Path, domain: str, tables: Path = TABLES) -> Runs:
    """What is recorded already, in the table of the repository or in the work folder; a line torn
    by a crash is left out, with a word."""
    path = folder / f"{domain}.jsonl"
    _, found = read_table(domain, tables)
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            print(f"{path}: a torn line is left out", file=sys.stderr)
            continue
        found[Cell(**entry["cell"]), entry["seed"]] = {"cpu": cpu_model()} | entry
    return found


def missing(folder: Path, models: tuple[str, ...], tables: Path = TABLES) -> list[Task]:
    """The runs that are neither in a table nor in the work folder."""
    known = {domain: done(folder, domain, tables) for domain in DOMAINS}
    return [t for t in tasks(models) if (t[2], t[1]) not in known[t[0]]]


def bases(folder: Path, domain: str) -> Bases:
    """Scores of the untrained models."""
    from keepgain.trainers.jobs import Jobs

    own = folder / "bases" / domain
    prepared = prepared_grid(domain, own)
    jobs = Jobs()
    found = {}
    for model in prepared.models:
        config = prepared.base_config(model.ref.name)
        request = ScoreRequest(
            config=config, report_as=f"base-{model.ref.name}", sweep_folder=str(own.absolute())
        )
        reply = jobs.do(request)
        assert reply.report is not None, reply.detail
        found[model.ref.name] = {
            "trial_id": config.trial_id,
            "cpu": cpu_model(),
        } | kept(reply.report, own)
    return found


def record(folder: Path, processes: int, limit: int | None) -> None:
    """Trains what is missing, with progress."""
    folder.mkdir(parents=True, exist_ok=True)
    models = tuple(m.ref.name for m in prepared_grid(DOMAINS[0], None).models)
    todo = missing(folder, models)[:limit]
    before = sum(len(done(folder, d)) for d in DOMAINS)
    print(f"{len(todo)} runs to go", flush=True)
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    for task in [*todo, *[None] * processes]:
        queue.put(task)
    started = time.monotonic()
    workers = [context.Process(target=work, args=(i, folder, queue)) for i in range(processes)]
    for process in workers:
        process.start()
    while any(p.is_alive() for p in workers):
        time.sleep(30 if limit is None else 1)
        count = sum(len(done(folder, d)) for d in DOMAINS) - before
        if count:
            left = (time.monotonic() - started) / count * (len(todo) - count)
            print(f"{count}/{len(todo)} runs, {left / 60:.0f} min left", flush=True)
    failed = [p.exitcode for p in workers if p.exitcode]
    if failed:
        sys.exit(f"{len(failed)} of {processes} processes ended with an error; run this again.")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of unfinished tables")
    parser.add_argument("--processes", type=int, default=2, help="runs side by side")
    parser.add_argument("--limit", type=int, help="at most so many runs")
    parser.add_argument("--assemble", action="store_true", help="write the tables, train nothing")
    options = parser.parse_args()
    if options.assemble:
        for domain in DOMAINS:
            write_table(domain, bases(options.work, domain), done(options.work, domain))
            print(described(domain))
        return
    record(options.work, options.processes, options.limit)


if __name__ == "__main__":
    main()
