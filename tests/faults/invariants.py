"""What must hold after every fault (docs/reliability.md), read from what a sweep left behind.

`check_invariants(Left.of(swept), undisturbed=finished, processes=family)` checks all of it;
each function alone returns what is wrong, in words, so that one failure names every breach.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import TrialState

from keepgain.core.errors import UserError
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.names import TAG_ROLE, TAG_RUN_KEY, TAG_SWEEP, original_key
from keepgain.sweeps.search.ledger import read_events
from keepgain.sweeps.search.replay import RunState, replay
from tests.sweeps.e2e.world import Done, Swept, environment, item_scores, run, survivors

OBJECTIVES = ("final/", "validation/", "test/", "constraint/")
"""Beginnings of the metrics that decide something."""


@dataclass(frozen=True)
class Left:
    """A sweep as it lies there."""

    id: str
    folder: Path
    """With ledger, spool, Optuna's journal and the runs."""
    tracking_uri: str
    """Where its MLflow runs are: `sqlite:///...` or an MLflow server."""
    cwd: Path
    """Where commands run."""
    env: Mapping[str, str] = field(default_factory=environment)
    """Of commands; with KEEPGAIN_WORK where the store is a server."""
    store: str | None = None
    """What `--store` says; None: the tracking URI."""

    @classmethod
    def of(cls, swept: Swept) -> "Left":
        """Of a sweep in a local store."""
        uri = f"sqlite:///{swept.store / 'mlflow.db'}"
        return cls(swept.id, swept.folder, uri, swept.cwd, store=str(swept.store))

    @cached_property
    def runs(self) -> dict[str, RunState]:
        """Of the ledger, by run key."""
        return replay(read_events(self.folder / "ledger.jsonl")).runs

    @cached_property
    def mlflow_runs(self) -> list[Any]:
        """Of this sweep in MLflow, its own run left out."""
        client = self._client()
        experiments = [e.experiment_id for e in client.search_experiments()]
        found = client.search_runs(
            experiments, filter_string=f"tags.`{TAG_SWEEP}` = '{self.id}'", max_results=5000
        )
        return [r for r in found if r.data.tags.get(TAG_ROLE) != "sweep"]

    def history(self, run_id: str, key: str) -> list[Any]:
        """All points of a metric."""
        return list(self._client().get_metric_history(run_id, key))

    def analyze(self) -> Done:
        """`analyze ID --format json`."""
        words = ("analyze", self.id, "--format", "json", "--store", self.store or self.tracking_uri)
        return run(*words, cwd=self.cwd, env=dict(self.env))

    def _client(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.tracking_uri)


def check_invariants(
    left: Left,
    *,
    undisturbed: Path | None = None,
    processes: Iterable[psutil.Process] = (),
    seconds: float = 30.0,
    cluster: tuple[str, Mapping[str, str]] | None = None,
    ended: bool = True,
) -> None:
    """Fails with every breach of the promises I1 to I8.

    Args:
        undisturbed: Folder of the same sweep that nothing happened to; None: I8 is left out.
        processes: All that the sweep had started, its own Ray included.
        seconds: How long they have to be gone.
        cluster: Address and environment of a Ray that outlives the sweep.
        ended: False: the sweep is to be continued yet, and `analyze` may say that it is too early.
    """
    breaches = [
        *one_run_each(left),
        *nothing_seems_to_run(left),
        *nothing_seems_open(left),
        *one_value_a_step(left),
        *analyze_tells_the_truth(left, ended=ended),
        *no_process_is_left(processes, seconds),
        *(no_placement_group_is_left(*cluster) if cluster else ()),
        *no_half_checkpoint(left),
        *(the_same_scores(left, undisturbed) if undisturbed else ()),
    ]
    assert not breaches, "\n".join(breaches)


def one_run_each(left: Left) -> Iterator[str]:
    """I1: one MLflow run for every run of the sweep."""
    counts = Counter(r.data.tags.get(TAG_RUN_KEY) for r in left.mlflow_runs)
    for key, count in counts.items():
        if count > 1:
            yield f"I1: {count} MLflow runs of {key}"
    for key, one in left.runs.items():
        if one.asked.stage is not Stage.TEST and one.status.is_final and key not in counts:
            yield f"I1: no MLflow run of {key}, which is {one.status}"


def nothing_seems_to_run(left: Left) -> Iterator[str]:
    """I2: MLflow has no run RUNNING, and those that ended have ended alike in the ledger."""
    expected = {
        TrialStatus.COMPLETED: "FINISHED",
        TrialStatus.PRUNED: "FINISHED",
        TrialStatus.FAILED: "FAILED",
    }
    for one in left.mlflow_runs:
        key, status = one.data.tags.get(TAG_RUN_KEY), one.info.status
        if status == "RUNNING":
            yield f"I2: {key} is RUNNING in MLflow"
        known = left.runs.get(key or "")
        if known is not None and status != expected.get(known.status, status):
            yield f"I2: {key} is {known.status} in the ledger and {status} in MLflow"


def nothing_seems_open(left: Left) -> Iterator[str]:
    """I3: Optuna has no trial RUNNING in any study of the journal."""
    for study, states in optuna_states(left.folder).items():
        if count := states.count(TrialState.RUNNING):
            yield f"I3: {count} trials RUNNING in the study {study}"


def optuna_states(folder: Path) -> dict[str, list[TrialState]]:
    """Study → states of its trials."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    return {
        name: [t.state for t in optuna.load_study(study_name=name, storage=storage).get_trials()]
        for name in optuna.get_all_study_names(storage)
    }


def one_value_a_step(left: Left) -> Iterator[str]:
    """I4: each objective has one value at each step of a run."""
    for one in left.mlflow_runs:
        for key in one.data.metrics:
            name = original_key(key, one.data.tags)
            if not name.startswith(OBJECTIVES):
                continue
            values: dict[int, set[float]] = {}
            for point in left.history(one.info.run_id, key):
                values.setdefault(point.step, set()).add(point.value)
            for step, found in values.items():
                if len(found) > 1:
                    yield f"I4: {one.data.tags.get(TAG_RUN_KEY)}: {name} at {step} is {found}"


def analyze_tells_the_truth(left: Left, *, ended: bool = True) -> Iterator[str]:
    """I5: it counts what completed and names what failed, or says in one line why not."""
    done = left.analyze()
    if done.code != 0:
        if ended or len(complaints(done)) != 1 or "Traceback" in done.err:
            yield f"I5: analyze ended with {done.code}: {done.err.strip()[-500:]}"
        return
    answer = json.loads(done.out)
    ids = {t["id"]: t for t in answer["trials"]}
    completed = {r.asked.trial_id for r in _trials(left) if r.status is TrialStatus.COMPLETED}
    for trial in sorted(completed - set(ids)):
        yield f"I5: analyze does not have the completed trial {trial}"
    shown = {t for t, one in ids.items() if one["kind"] == "trial" and one["status"] == "completed"}
    for trial in sorted(shown - completed):
        yield f"I5: analyze has {trial} as completed, which is not"
    excluded = {e["trial"] for e in answer["excluded"]}
    failed = {r.asked.trial_id for r in _trials(left) if r.status is TrialStatus.FAILED}
    for trial in sorted(failed - excluded):
        yield f"I5: analyze does not say that {trial} failed"


def complaints(done: Done) -> list[str]:
    """What `analyze` says on standard error beside its progress."""
    return [line for line in done.err.strip().splitlines() if not line.endswith(" ...")]


def no_process_is_left(processes: Iterable[psutil.Process], seconds: float) -> Iterator[str]:
    """I6: none of these is there after so many seconds."""
    for text in survivors(processes, seconds):
        yield f"I6: still running: {text}"


def no_placement_group_is_left(address: str, env: Mapping[str, str]) -> Iterator[str]:
    """I6: no placement group is held in a Ray that outlives the sweep."""
    for group in placement_groups(address, env):
        yield f"I6: placement group {group}"


def placement_groups(address: str, env: Mapping[str, str]) -> list[str]:
    """Those of a cluster that are not removed, as text; asked from a process of its own."""
    asked = subprocess.run(
        [sys.executable, "-c", _ASK_GROUPS, address],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr[-2000:]
    groups: list[str] = json.loads(asked.stdout.strip().splitlines()[-1])
    return groups


_ASK_GROUPS = """
import json, logging, sys
import ray
from ray.util import placement_group_table
ray.init(sys.argv[1], logging_level=logging.ERROR, log_to_driver=False)
held = [f"{i}: {g['state']} {g['bundles']}" for i, g in placement_group_table().items()
        if g["state"] != "REMOVED"]
print(json.dumps(held))
"""


def no_half_checkpoint(left: Left) -> Iterator[str]:
    """I7: what a run would go on from can be read to its end, or is refused."""
    from safetensors import safe_open

    from keepgain.core.publish import verify

    for folder in sorted((left.folder / "runs").glob("*/checkpoint-r*")):
        try:
            verify(folder)
        except UserError:
            continue  # it is refused: nobody goes on from there
        for path in folder.rglob("*.safetensors"):
            try:
                with safe_open(path, framework="pt") as tensors:
                    for name in tensors.keys():
                        tensors.get_tensor(name)
            except Exception as error:
                yield f"I7: {path} is accepted and cannot be read: {error}"
    for one in left.runs.values():
        last = one.last_report
        if last is None or one.status is not TrialStatus.COMPLETED:
            continue
        if not (left.folder / last.items_path).is_file():
            yield f"I7: the item scores of the completed {one.run_key} are not there"


def the_same_scores(left: Left, undisturbed: Path) -> Iterator[str]:
    """I8: trials that completed have the item scores of the undisturbed sweep."""
    ours, theirs = item_scores(left.folder), item_scores(undisturbed)
    searched = {r.run_key for r in _trials(left) if r.asked.stage is Stage.SEARCH}
    shared = set(ours) & set(theirs)
    for key in sorted((searched & set(ours)) - shared):
        yield f"I8: {key} is not in the undisturbed sweep"
    for key in sorted(shared):
        if ours[key] != theirs[key]:
            yield f"I8: {key} has other item scores"
    if not shared:
        yield "I8: no trial is in both sweeps"


def _trials(left: Left) -> list[RunState]:
    """Trained runs: neither bases nor what scores a run again."""
    kinds = (Stage.SEARCH, Stage.CONFIRM)
    return [r for r in left.runs.values() if r.asked.kind == "trial" and r.asked.stage in kinds]
