"""Time and memory of `analyze` on a synthetic sweep of many trials.

`python benchmarks/analysis/scale.py` makes the sweep below a temporary folder and runs `analyze` on
it in fresh processes, once to warm the disk cache and then `--repeats` times:

* `local`: from the sweep's folder, as on the machine that ran it.
* `MLflow`: the folder is gone, and the sweep is in a SQLite store with one MLflow run per training;
  *cold* without a copy beside the store, *second* with the one that the cold read left.

The sweep: three base models, each searched with a third of the trials (one seed, 1 task suite that
measures gain, 2 general suites that measure forgetting, validation items), its best three confirmed
with three fresh seeds on both splits. Scores are 0 or 1, items differ in difficulty. `--items` is
the number of items of a trial on a split, shared by the three suites as 2 : 1 : 1; with
`--per-suite` every suite has so many.

MLflow's client takes some 10 ms for a call, so the child runs are put into the store's tables in
bulk, by the store's own SQLAlchemy models; the parent run and its artifacts go through the client.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from keepgain.core.items import Floats, ItemScores, Strings
from keepgain.core.record import Evidence, ModelInfo, Question, RunRecord, SuiteInfo, SweepRecord
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.reader import CACHE_NAME
from keepgain.core.store.record_files import ITEMS_NAME, RECORD_NAME, load_record, save_folder

SWEEP = "scale-000000"
MODELS = {"s": 500_000_000, "m": 1_500_000_000, "l": 7_000_000_000}
SUITES = {"tickets": "gain", "facts": "forgetting", "sums": "forgetting"}
TOKENS = 1_000_000
FINALISTS, SEEDS = 3, 3


@dataclass(frozen=True)
class Suite:
    """The items of a suite on one split."""

    name: str
    split: str
    ids: Strings
    difficulty: Floats
    weights: Floats


def synthetic(trials: int, items: Sequence[int], seed: int = 1) -> Evidence:
    """A finished sweep; see the module's text.

    Args:
        trials: Of the search, all base models together.
        items: Of each suite, on either split.
    """
    rng = np.random.default_rng(seed)
    suites = [
        Suite(
            name,
            split,
            np.array([f"{name}-{split}-{i:06d}" for i in range(n)]),
            rng.uniform(0, 1, n),
            np.ones(n),
        )
        for name, n in zip(SUITES, items, strict=True)
        for split in ("validation", "test")
    ]
    runs: list[RunRecord] = []
    scored: list[tuple[str, ItemScores]] = []

    def add(run: RunRecord, task: float, general: float, splits: Sequence[str]) -> None:
        runs.append(run)
        for s in suites:
            if s.split in splits:
                level = task if SUITES[s.name] == "gain" else general
                values = (rng.random(len(s.ids)) * 0.6 + s.difficulty * 0.4 < level).astype(float)
                scores = ItemScores(
                    s.name, s.split, "exact_match", s.ids, values, s.weights, run.tokens
                )
                scored.append((run.run_key, scores))

    for k, (model, parameters) in enumerate(MODELS.items()):
        cost = {"parameters": float(parameters)}
        arm = RunRecord(
            run_key=f"base-{model}-s0",
            trial_id=f"base-{model}",
            seed=0,
            kind="base",
            arm="base",
            model=model,
            stage=Stage.BASE,
            status=TrialStatus.COMPLETED,
            cost=cost,
        )
        add(arm, 0.2 + 0.05 * k, 0.7, ("validation", "test"))
        mine = range(k, trials, len(MODELS))
        rate = 10 ** rng.uniform(-5, -3, len(mine))
        replay = rng.uniform(0, 0.5, len(mine))
        gain = 0.4 * np.exp(-((np.log10(rate) + 4) ** 2)) * (1 - 0.3 * replay)
        lost = 0.2 * (rate / 1e-3) ** 0.5 * (1 - replay)
        best = set(np.argsort(-(gain - lost))[:FINALISTS].tolist())
        for n, _ in enumerate(mine):
            trial = f"{k:x}{n:011x}"
            task, general = 0.2 + 0.05 * k + gain[n], 0.7 - lost[n]

            def run(stage: Stage, seed: int, trial: str = trial, n: int = n) -> RunRecord:
                return RunRecord(
                    run_key=f"{trial}-s{seed}",
                    trial_id=trial,
                    seed=seed,
                    kind="trial",
                    model=model,  # noqa: B023 - called in this turn of the loop
                    stage=stage,
                    status=TrialStatus.COMPLETED,
                    params={
                        "method": "lora",
                        "learning_rate": float(rate[n]),  # noqa: B023
                        "lora.rank": 16,
                        "mixture.general": float(replay[n]),  # noqa: B023
                    },
                    origin="quasi_random" if n % 5 == 0 else "sampler",
                    generation=n // 27,
                    number=n,
                    tokens=TOKENS,
                    budget=TOKENS,
                    metrics={f"validation/{s}": 0.5 for s in SUITES} | {"train/loss": 1.0},
                    cost={
                        **cost,  # noqa: B023
                        "train_seconds": 120.5,
                        "score_seconds": 8.25,
                        "peak_memory_bytes": 2.5e9,
                    },
                    numerics={"engine": "single", "dtype": "float32"},
                )

            add(run(Stage.SEARCH, 0), task, general, ("validation",))
            for seed in range(100, 100 + SEEDS if n in best else 100):
                effect = rng.normal(0, 0.01)
                both = ("validation", "test")
                add(run(Stage.CONFIRM, seed), task + effect, general + effect, both)
    sweep = SweepRecord(
        id=SWEEP,
        name="scale",
        stage=Stage.DECIDED,
        question=Question(delta=0.03, max_forgetting=0.05),
        suites=tuple(
            SuiteInfo.model_validate({"name": n, "measures": m, "scorer": "exact_match"})
            for n, m in SUITES.items()
        ),
        models=tuple(ModelInfo(name=n, digest=f"d-{n}", parameters=p) for n, p in MODELS.items()),
        runs=tuple(runs),
        test_opened=1,
    )
    return Evidence(sweep, tuple(scored))


@dataclass(frozen=True)
class Turn:
    """One fresh process."""

    seconds: float
    cpu: float
    """Seconds of all its threads: the steadier figure where others use the machine too."""
    peak_mib: float
    """Of its resident memory."""


_LAUNCH = """
import json, resource, subprocess, sys, time
begun = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - begun
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
"""In between, since a child's peak memory counts what its parent had when it was started."""


def timed(arguments: Sequence[str]) -> Turn:
    """Runs `analyze` with its output thrown away.

    Raises:
        RuntimeError: It failed.
    """
    command = [sys.executable, "-m", "keepgain.analysis.cli", *arguments]
    done = subprocess.run(
        [sys.executable, "-S", "-c", _LAUNCH, *command], stdout=subprocess.PIPE, check=True
    )
    code, seconds, cpu, peak = json.loads(done.stdout)
    if code != 0:
        raise RuntimeError(f"analyze {' '.join(arguments)} ended with {code}")
    return Turn(seconds, cpu, peak)


def report(name: str, turns: Sequence[Turn]) -> None:
    """One line: median and range of the seconds, the highest peak."""
    seconds = [t.seconds for t in turns]
    print(
        f"{name:<24} {statistics.median(seconds):7.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
        f"   CPU {statistics.median(t.cpu for t in turns):6.2f} s"
        f"   peak {max(t.peak_mib for t in turns):,.0f} MiB",
        flush=True,
    )


def machine() -> str:
    """What the figures were measured on."""
    names = ("numpy", "scipy", "pyarrow", "pydantic", "moocore", "mlflow")
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores; Python {platform.python_version()}, " + ", ".join(
        f"{n} {version(n)}" for n in names
    )


def local(store: Path, repeats: int) -> None:
    """`analyze` of the sweep's folder."""
    where = [SWEEP, "--store", str(store)]
    timed([*where, "--format", "json"])
    for form in ("text", "json"):
        report(f"local, {form}", [timed([*where, "--format", form]) for _ in range(repeats)])
    report("--help", [timed(["--help"]) for _ in range(repeats)])
    report("--example", [timed(["--example"]) for _ in range(repeats)])


def into_mlflow(source: Path, store: Path) -> None:
    """Records the sweep of a folder in a new SQLite store, without a folder of its own."""
    from keepgain.core.store.bootstrap import prepare_store
    from keepgain.core.store.client import new_client
    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.names import ROLE_RUN, TAG_ROLE, TAG_RUN_KEY, TAG_SWEEP
    from keepgain.core.store.runs import SweepRuns

    location = resolve_store(str(store), create=True)
    experiment = prepare_store(location, "scale")
    runs = SweepRuns(location, SWEEP, "scale")
    parent = runs.open()
    files = (source / ITEMS_NAME, source / RECORD_NAME)
    runs.apply(
        {"event": "artifact", "run_key": "parent", "path": str(f), "folder": "record"}
        for f in files
    )
    tables: dict[str, list[dict[str, object]]] = {n: [] for n in ("run", "tag", "param", "metric")}
    artifacts = new_client(location).get_experiment(experiment).artifact_location
    for n, run in enumerate(load_record(source).runs):
        key = {"run_uuid": f"{n:032x}"}
        row = {
            "name": run.run_key,
            "source_type": "LOCAL",
            "user_id": "scale",
            "status": "FINISHED",
            "start_time": 1_700_000_000_000 + n,
            "end_time": 1_700_000_120_000 + n,
            "lifecycle_stage": "active",
            "artifact_uri": f"{artifacts}/{n:032x}/artifacts",
            "experiment_id": int(experiment),
        }
        tables["run"].append({**key, **row})
        tags = {TAG_ROLE: ROLE_RUN, TAG_SWEEP: SWEEP, TAG_RUN_KEY: run.run_key}
        tags["mlflow.parentRunId"] = parent
        tables["tag"] += [{**key, "key": k, "value": v} for k, v in tags.items()]
        tables["param"] += [{**key, "key": k, "value": str(v)} for k, v in run.params.items()]
        at = {"timestamp": 1_700_000_120_000, "step": 0, "is_nan": False}
        tables["metric"] += [
            {**key, **at, "key": k, "value": v} for k, v in (run.metrics | run.cost).items()
        ]
    _insert(location.tracking_uri, tables)
    runs.open()
    runs.apply(
        [{"event": "end", "run_key": "parent", "status": "FINISHED", "time_ms": 1_800_000_000_000}]
    )


def _insert(uri: str, tables: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import create_engine, insert

    engine = create_engine(uri)
    with engine.begin() as connection:
        for model, rows in (
            (models.SqlRun, tables["run"]),
            (models.SqlTag, tables["tag"]),
            (models.SqlParam, tables["param"]),
            (models.SqlMetric, tables["metric"]),
            (models.SqlLatestMetric, tables["metric"]),
        ):
            connection.execute(insert(model), [dict(row) for row in rows])
    engine.dispose()


def from_mlflow(source: Path, repeats: int) -> None:
    """`analyze` of a store that has the sweep in MLflow alone."""
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(temporary) / ".keepgain"
        into_mlflow(source, store)
        where = [SWEEP, "--store", str(store)]
        cold = []
        for _ in range(repeats):
            shutil.rmtree(store / "sweeps" / CACHE_NAME, ignore_errors=True)
            cold.append(timed(where))
        report("MLflow, cold, text", cold)
        report("MLflow, second, text", [timed(where) for _ in range(repeats)])


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--per-suite", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="make the sweep here, or use the one that is")
    options = parser.parse_args()
    n = options.items
    items = [n] * 3 if options.per_suite else [n - 2 * (n // 4), n // 4, n // 4]
    print(machine())
    print(f"items of the three suites on a split: {items}")
    with tempfile.TemporaryDirectory() as temporary:
        store = (options.keep or Path(temporary)) / ".keepgain"
        folder = store / "sweeps" / SWEEP / "record"
        if not folder.is_dir():
            begun = time.perf_counter()
            evidence = synthetic(options.trials, items)
            made = time.perf_counter()
            save_folder(folder, evidence)
            written = time.perf_counter() - made
            print(f"made in {made - begun:.1f} s, written in {written:.1f} s")
        print(f"{len(load_record(folder).runs):,} runs")
        sizes = {p.name: p.stat().st_size / 2**20 for p in sorted(folder.iterdir())}
        print(", ".join(f"{name} {mib:.1f} MiB" for name, mib in sizes.items()))
        local(store, options.repeats)
        from_mlflow(folder, options.repeats)


if __name__ == "__main__":
    main()
