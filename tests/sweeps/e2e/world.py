"""Small real sweeps through the command line: specs, processes, and what they left behind."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from keepgain.core.items import ItemScores, read_items
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.search.ledger import Event, read_events
from keepgain.sweeps.search.replay import SweepState, replay

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "examples" / "quickstart"
BIN = Path(sys.executable).parent
NAME = "tiny"
PATIENCE = float(os.environ.get("KEEPGAIN_PATIENCE", "1"))
"""Every time limit here is multiplied by it: for a machine with much else to do."""
SECONDS = 240.0
"""Longest time of one command; more than ten times what a free machine takes."""

_OURS = ("KEEPGAIN_", "MLFLOW_", "RAY_", "TUNE_", "PYTEST_")

SPEC = """\
name: {name}
models: [{models}]
data:
  tickets: {{path: {data}/far_train.jsonl, role: task}}
  general: {{path: {data}/general_replay.jsonl, role: replay}}
suites:
  gain:
    {{validation: {data}/far_validation.jsonl, test: {data}/far_test.jsonl, limit: 60,
     scorer: exact_match}}
  forgetting_fact:
    {{validation: {data}/general_fact_validation.jsonl, test: {data}/general_fact_test.jsonl,
     limit: 60, scorer: exact_match}}
space:
  learning_rate: {learning_rate}
  mixture: {{tickets: [0.5, 1], general: [0, 0.5]}}
training: {{budget_tokens: {tokens}, batch_size: 32, max_length: 64, rungs: {rungs}}}
reference_arms: {arms}
search: {{trials_per_model: {trials}, generation_size: 2, max_failure_rate: {failure_rate}}}
confirm: {{finalists: 1, seeds: 2}}
question: {{delta: 0.05, max_forgetting: 0.5, cost: parameters}}
"""


def spec_text(
    *,
    name: str = NAME,
    models: Iterable[str] = ("xs",),
    root: str = str(QUICKSTART),
    learning_rate: str = "{log: [1e-3, 3e-3]}",
    tokens: int = 30_000,
    rungs: str = "[0.5, 1]",
    arms: str = "[]",
    trials: int = 3,
    failure_rate: float = 0.5,
) -> str:
    """A sweep of the quickstart's tickets; `root` holds `bases/` and `data/`."""
    prefix = f"{root}/" if root else ""
    return SPEC.format(
        name=name,
        models=", ".join(f"{{path: {prefix}bases/{m}}}" for m in models),
        data=f"{prefix}data",
        learning_rate=learning_rate,
        tokens=tokens,
        rungs=rungs,
        arms=arms,
        trials=trials,
        failure_rate=failure_rate,
    )


def write_spec(folder: Path, **changes: Any) -> Path:
    """`sweep.yaml` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sweep.yaml"
    path.write_text(spec_text(**changes), encoding="utf-8")
    return path


def plant_shadows(folder: Path) -> None:
    """Packages of the user's own whose names are those of our folders; importing one is a fault."""
    for name in ("core", "analysis", "trainers", "cluster", "sweeps"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "__init__.py").write_text(
            f"raise RuntimeError('the user\\'s own {name} was imported')\n"
        )


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what would steer our commands."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    # Ray's workers give way to everything else on the machine unless told not to.
    plain = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "RAY_worker_niceness": "0"}
    return {**kept, **plain, **changes}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    def expect(self, code: int = 0) -> "Done":
        """Itself if it ended so; else fails with the ends of its output."""
        tails = f"--- out\n{self.out[-3000:]}\n--- err\n{self.err[-3000:]}"
        assert self.code == code, f"exit code {self.code}, not {code}\n{tails}"
        return self


def run(
    *command: str | Path, cwd: Path, seconds: float = SECONDS, env: dict[str, str] | None = None
) -> Done:
    """Runs `sweep ...` or `analyze ...` of this virtual environment to its end."""
    began = time.monotonic()
    done = subprocess.run(
        [str(BIN / str(command[0])), *map(str, command[1:])],
        cwd=cwd,
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=seconds * PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


@dataclass
class Running:
    """A command in the background, its output in a file."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def family(self) -> list[psutil.Process]:
        """The process and all below it, as they are now."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def until(self, what: str, true: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Waits for a condition; fails if the command ends before it, or time runs out."""
        deadline = time.monotonic() + seconds * PATIENCE
        while not true():
            assert self.process.poll() is None, f"ended before {what}\n{self.output[-3000:]}"
            assert time.monotonic() < deadline, f"never {what}\n{self.output[-3000:]}"
            time.sleep(0.05)

    def end(self, signal_number: int, seconds: float = 90.0) -> int:
        """Sends a signal to this process alone; returns its exit code."""
        self.process.send_signal(signal_number)
        return self.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Waits for its end; returns the exit code."""
        return self.process.wait(seconds * PATIENCE)


@contextlib.contextmanager
def background(
    *command: str | Path,
    cwd: Path,
    log: Path,
    env: dict[str, str] | None = None,
    new_group: bool = False,
) -> Iterator[Running]:
    """Starts a command; whatever of it is still there at the end is killed, by process id."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(BIN / str(command[0])), *map(str, command[1:])],
            cwd=cwd,
            env=env or environment(),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=new_group,
        )
    running = Running(process, log)
    try:
        yield running
    finally:
        if process.poll() is None:
            family = running.family()
            process.kill()
            process.wait(30)
            kill(family)


def kill(processes: Iterable[psutil.Process]) -> None:
    """Ends what is left of these processes."""
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def survivors(processes: Iterable[psutil.Process], seconds: float) -> list[str]:
    """Those that still run after a grace period, as text. Ids that were given anew do not count."""
    _, alive = psutil.wait_procs(list(processes), timeout=seconds)
    return [text for one in alive if (text := _described(one))]


def without_agents(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Without Ray's own two agents, which notice the death of their raylet up to a minute later."""
    return [p for p in processes if "Agent" not in _described(p)]


def _described(one: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        if one.status() != psutil.STATUS_ZOMBIE:
            return f"{one.pid} {' '.join(one.cmdline()).strip()[:150]}"
    return ""


@dataclass(frozen=True)
class Swept:
    """A store with a sweep in it."""

    cwd: Path
    """Where the commands run."""
    spec: Path
    store: Path
    cluster: tuple[str, dict[str, str]] | None = None
    """Address and environment of the Ray that it runs on; None: each driver starts its own."""

    @property
    def command(self) -> tuple[str | Path, ...]:
        """`sweep run ...`."""
        words = ("sweep", "run", self.spec, "--store", self.store)
        return words if self.cluster is None else (*words, "--address", self.cluster[0])

    @property
    def env(self) -> dict[str, str]:
        """Of `command`."""
        return environment() if self.cluster is None else self.cluster[1]

    @property
    def folder(self) -> Path:
        """The sweep's folder: the only one of the store."""
        (folder,) = [p for p in (self.store / "sweeps").glob(f"{NAME}-*") if p.is_dir()]
        return folder

    @property
    def id(self) -> str:
        return self.folder.name

    def sweep(self, *words: str | Path, seconds: float = SECONDS) -> Done:
        """`sweep WORDS --store STORE`."""
        return run("sweep", *words, "--store", self.store, cwd=self.cwd, seconds=seconds)

    def run(self, *, seconds: float = SECONDS) -> Done:
        return run(*self.command, cwd=self.cwd, seconds=seconds, env=self.env)

    def events(self) -> list[Event]:
        folders = [p for p in (self.store / "sweeps").glob(f"{NAME}-*") if p.is_dir()]
        return read_events(folders[0] / "ledger.jsonl") if folders else []

    def state(self) -> SweepState:
        return replay(self.events())


def item_scores(folder: Path) -> dict[str, Any]:
    """Run key → scores by suite, split and item, of all completed runs of a sweep's folder."""
    runs = replay(read_events(folder / "ledger.jsonl")).runs
    return {
        key: [_plain(scores) for _, scores in read_items(folder / run.last_report.items_path)]
        for key, run in runs.items()
        if run.status is TrialStatus.COMPLETED and run.last_report is not None
    }


def _plain(scores: ItemScores) -> tuple[Any, ...]:
    items = dict(zip(scores.item_ids.tolist(), scores.values.tolist(), strict=True))
    return (scores.suite, scores.split, scores.tokens, items)


def mlflow_runs(store: Path) -> list[Any]:
    """All MLflow runs of a local store."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{store / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    return list(client.search_runs(experiments, max_results=1000))


def searched(state: SweepState) -> list[Any]:
    """The search trials."""
    return [r for r in state.runs.values() if r.asked.stage is Stage.SEARCH]


def json_of(done: Done) -> Any:
    """Standard output as JSON."""
    return json.loads(done.expect().out)
