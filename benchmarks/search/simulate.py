"""Runs simulated sweeps, several at a time, and keeps what came out as JSON lines.

A second call goes on with what is missing. Lines of another table, of other constants or of other
code of ours are not taken for this one's.
"""

import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from arms import ARMS, Task
from domain import Domain, load_domain
from settings import HERE, Constants
from tables import table_path

from keepgain.sweeps.simulated.runner import Step

SWEEPS = HERE.parent.parent / "sweeps"


@dataclass(frozen=True)
class Finish:
    """A trial that reached its full budget."""

    ended: float
    """Virtual seconds since the start of the sweep."""
    tokens: int
    """Trained by then over all trials; a rung that has begun counts in full."""
    trial_id: str
    seed: int
    """Of the run: with the trial id it says which recorded run was seen."""


@dataclass(frozen=True)
class Outcome:
    """One simulated sweep."""

    task: Task
    finishes: tuple[Finish, ...]
    """In the order in which they ended."""
    tokens: int
    """Over the whole sweep."""
    ended: float
    trials: int
    """Begun, over all base models."""
    wall_seconds: float
    """That the simulation took."""


def run_tasks(
    tasks: Sequence[Task], constants: Constants, tables: Path, work: Path, jobs: int
) -> list[Outcome]:
    """Runs what `work` does not have yet, with progress, and returns all."""
    work.mkdir(parents=True, exist_ok=True)
    keys = {task: _key(task, constants, tables) for task in tasks}
    path = work / "outcomes.jsonl"
    known = _read(path, set(keys.values()))
    missing = [task for task in tasks if keys[task] not in known]
    began = time.monotonic()
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as handle:
        if torn:
            handle.write("\n")  # else the next line would be lost with it
        for count, (task, outcome) in enumerate(_outcomes(missing, constants, tables, jobs), 1):
            known[keys[task]] = outcome
            handle.write(json.dumps({"key": keys[task]} | asdict(outcome)) + "\n")
            handle.flush()
            if count % 20 == 0 or count == len(missing):
                left = (time.monotonic() - began) / count * (len(missing) - count)
                print(
                    f"{count}/{len(missing)} sweeps, {left / 60:.1f} min left",
                    file=sys.stderr,
                    flush=True,
                )
    return [known[keys[task]] for task in tasks]


def _outcomes(
    tasks: Sequence[Task], constants: Constants, tables: Path, jobs: int
) -> Iterable[tuple[Task, Outcome]]:
    arguments = [(task, constants, tables) for task in tasks]
    if jobs == 1 or len(tasks) < 2:
        yield from map(_simulated, arguments)
        return
    # A process of its own for each worker: Optuna and Ray hold state that a fork would share.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(jobs, len(tasks))) as pool:
        yield from pool.imap_unordered(_simulated, arguments)


def _simulated(arguments: tuple[Task, Constants, Path]) -> tuple[Task, Outcome]:
    task, constants, tables = arguments
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    domain = load_domain(task.domain, tables)
    began = time.perf_counter()
    steps = ARMS[task.arm].run(domain, task, constants)
    return task, outcome_of(domain, task, steps, time.perf_counter() - began)


def outcome_of(domain: Domain, task: Task, steps: Sequence[Step], wall_seconds: float) -> Outcome:
    """What the measures need of the steps of a sweep; those of the bases are no training."""
    trained = [s for s in steps if s.job.asked.trial_id in domain.cells]
    begun = sorted((s.began, s.tokens) for s in trained)
    finishes: list[Finish] = []
    position = spent = 0
    for step in sorted(trained, key=lambda s: s.ended):
        while position < len(begun) and begun[position][0] < step.ended:
            spent += begun[position][1]
            position += 1
        if step.report.final:
            asked = step.job.asked
            finishes.append(Finish(step.ended, spent, asked.trial_id, asked.seed))
    return Outcome(
        task=task,
        finishes=tuple(finishes),
        tokens=sum(s.tokens for s in trained),
        ended=max((s.ended for s in steps), default=0.0),
        trials=len({s.job.run_key for s in trained}),
        wall_seconds=wall_seconds,
    )


def _key(task: Task, constants: Constants, tables: Path) -> str:
    """Equal if the outcome must be."""
    ours = ARMS[task.arm].is_ours or task.arm == "tpe"
    settings = [constants.generation_size, constants.stopping.model_dump()] if ours else []
    told = [asdict(task), settings, table_digest(task.domain, tables), code_digest()]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:20]


_digests: dict[str, str] = {}


def table_digest(domain: str, tables: Path) -> str:
    """Of a recorded table."""
    path = table_path(domain, tables)
    name = str(path)
    if name not in _digests:
        _digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return _digests[name]


def code_digest() -> str:
    """Of the search, the simulation and the arms; notes on how it is drawn are not part of it."""
    if "code" not in _digests:
        digest = hashlib.sha256()
        files = [*SWEEPS.glob("search/*.py"), *SWEEPS.glob("simulated/*.py"), *SWEEPS.glob("*.py")]
        files += [HERE / f"{n}.py" for n in ("arms", "domain", "simulate", "syne_tune_server")]
        for path in sorted(files):
            digest.update(path.read_bytes())
        _digests["code"] = digest.hexdigest()[:12]
    return _digests["code"]


def _read(path: Path, wanted: set[str]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entry: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            continue  # torn by an interruption: it is run again
        key = entry.pop("key")
        if key in wanted:
            entry["task"] = Task(**entry["task"])
            entry["finishes"] = tuple(Finish(**f) for f in entry["finishes"])
            found[key] = Outcome(**entry)
    return found
