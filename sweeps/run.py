"""`sweep run` from the spec to the recorded decision; run again, it continues."""

import shutil
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from keepgain.cluster import ray_cluster
from keepgain.core.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, UserError
from keepgain.core.launch import ResourceRequest
from keepgain.core.record import Evidence
from keepgain.core.status import Stage
from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.client import require_reachable
from keepgain.core.store.location import StoreLocation, require_durable, resolve_store, store_text
from keepgain.core.store.record_files import save_folder
from keepgain.core.store.runs import reap
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from keepgain.sweeps.base_models import local_folder
from keepgain.sweeps.check import check
from keepgain.sweeps.evidence import build_evidence
from keepgain.sweeps.gates.findings import MAX_EXAMPLES, Finding
from keepgain.sweeps.openings import count_openings, note_opening, opening
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.program import SweepProgram
from keepgain.sweeps.progress import Progress
from keepgain.sweeps.provenance import provenance
from keepgain.sweeps.recorder import DRIVER, Recorder
from keepgain.sweeps.reuse import LEDGER_NAME, finished_elsewhere
from keepgain.sweeps.search.ledger import Ledger
from keepgain.sweeps.search.objectives import constraint_names, directions
from keepgain.sweeps.search.replay import replay
from keepgain.sweeps.search.stratified import StratifiedSearch
from keepgain.sweeps.spec import LoadedSpec, load_spec, spec_space

DRAIN_SECONDS = 120.0
"""Longest wait for the store at the end; what it has not taken then is in the spool."""


@dataclass(frozen=True)
class RunOptions:
    """What the command line adds to the spec."""

    spec: Path
    profile: str | None = None
    store: str | None = None
    address: str | None = None
    slots: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run of `sweep run` ended."""

    exit_code: int
    sweep_id: str
    folder: Path
    store: StoreLocation
    trouble: str | None = None
    """Why the record in MLflow is incomplete."""


def run_sweep(options: RunOptions, say: Callable[[str], None]) -> Outcome:
    """Checks, runs or continues, records.

    Raises:
        UserError: The spec, the data, the store or the cluster cannot be used; nothing was written.
    """
    if ray_cluster.inside_ray_job():
        require_durable(options.store, Path.cwd())
    loaded = load_spec(options.spec, options.profile)
    if ray_cluster.inside_ray_job():
        _refuse_paths_outside(loaded, Path.cwd())
    prepared = prepare(loaded, None, say)
    warnings = _check(prepared, say)
    # What does not answer is found before the first folder is made.
    ray_cluster.require_listening(options.address)
    _require_server(options.store)
    store = resolve_store(options.store, create=True)
    prepare_store(store, loaded.spec.name)
    folder = store.sweep_folder(prepared.sweep_id)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(folder / LEDGER_NAME))
        prepared = prepare(loaded, folder)
        _keep_spec(loaded, folder)
        return _run_locked(options, prepared, store, folder, ledger, warnings, say, stack)


def _run_locked(
    options: RunOptions,
    prepared: Prepared,
    store: StoreLocation,
    folder: Path,
    ledger: Ledger,
    warnings: tuple[str, ...],
    say: Callable[[str], None],
    stack: ExitStack,
) -> Outcome:
    sweep_id = prepared.sweep_id
    known = replay(ledger.events())
    say(f"sweep {sweep_id}" + (" (continued)" if known.runs else ""))
    say(f"store: {store.described}")
    say(f"files and logs: {folder}")
    if known.runs:
        reap(store, sweep_id)
    if Stage.TEST in known.stages:
        say("every run is done already: nothing is started")
        crew = None
    else:
        # Ray takes seconds to start and the checks above are done: only now.
        crew = _Crew.start(options, prepared, stack, say)
    shipper = stack.enter_context(Shipper(store, sweep_id, prepared.spec.name, folder / "spool"))
    spool = Spool(folder / "spool", DRIVER)
    stack.callback(spool.close)
    recorder = Recorder(spool, folder)
    keeper = _Keeper(
        prepared, store, folder, ledger, recorder, warnings, crew.cluster if crew else None
    )
    progress = Progress(sweep_id, _totals(prepared))
    search = make_search(prepared, folder)
    program = SweepProgram(
        prepared=prepared,
        folder=folder,
        ledger=ledger,
        search=search,
        recorder=recorder,
        progress=progress,
        reusable=finished_elsewhere(store.work, sweep_id),
        on_test=keeper.open_test,
        on_stage=keeper.finished,
    )
    try:
        with progress:
            if crew is not None:
                crew.work(program, sweep_id, folder)
            else:
                assert program.next_job() is None, "the test stage is the last one with jobs"
        code = _ending(program, recorder, keeper, say)
    except BaseException as error:
        # A fault of ours or a second Ctrl-C: what ran is marked, so that nothing stays RUNNING.
        program.interrupt()
        recorder.parent_ended("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    finally:
        search.close(interrupted=not program.finished)
        recorder.flush()
        shipped = shipper.drain(DRAIN_SECONDS)
    shutil.rmtree(folder / "ray", ignore_errors=True)  # Tune's own files: never read again
    trouble = shipper.trouble or (None if shipped else "not everything is shipped yet")
    return Outcome(code, sweep_id, folder, store, trouble)


def _ending(
    program: SweepProgram, recorder: Recorder, keeper: "_Keeper", say: Callable[[str], None]
) -> int:
    """Saves what there is, ends the parent run, says how it went."""
    if program.reused:
        say(f"{program.reused} finished runs of other sweeps were reused")
    if program.finished and program.aborted is None:
        keeper.decide()
        recorder.parent_ended("FINISHED")
        return EXIT_OK
    open_runs = program.interrupt()
    keeper.save(keeper.stage)
    if program.aborted is not None:
        say(f"the sweep stopped: {program.aborted}")
        recorder.parent_tags({"keepgain.reason": program.aborted})
        recorder.parent_ended("FAILED")
        return EXIT_FAILED
    recorder.parent_ended("KILLED")
    say(f"interrupted: {open_runs} running jobs are marked so; the same command continues")
    return EXIT_INTERRUPTED


@dataclass(frozen=True)
class _Crew:
    """The Ray that carries the jobs out."""

    cluster: str
    resources: ResourceRequest
    slots: int

    @classmethod
    def start(
        cls,
        options: RunOptions,
        prepared: Prepared,
        stack: ExitStack,
        say: Callable[[str], None],
    ) -> "_Crew":
        """Connects to a Ray, or starts one that ends with `stack`."""
        cluster = ray_cluster.connect(options.address)
        stack.callback(ray_cluster.disconnect)
        resources = _resources(prepared)
        wanted = options.slots or prepared.spec.resources.slots
        slots = ray_cluster.slots(cluster, resources, wanted)
        say(f"Ray: {cluster.described}")
        say(f"slots: {slots.count} trials at a time ({slots.why})")
        return cls(cluster.described, resources, slots.count)

    def work(self, program: SweepProgram, sweep_id: str, folder: Path) -> None:
        """Runs the program until it has finished or is interrupted."""
        from keepgain.sweeps.tune_runner import run_program

        run_program(
            program,
            sweep_id=sweep_id,
            folder=folder,
            resources=self.resources,
            slots=self.slots,
            env=_worker_env(self.resources),
        )


@dataclass
class _Keeper:
    """Saves the record beside the ledger and on the MLflow parent run."""

    prepared: Prepared
    store: StoreLocation
    folder: Path
    ledger: Ledger
    recorder: Recorder
    warnings: tuple[str, ...]
    cluster: str | None
    """None: nothing was left to run."""
    stage: Stage = Stage.BASE
    """The last one that finished."""

    def __post_init__(self) -> None:
        self._provenance = provenance(self.prepared.loaded.folder, self.cluster)
        self.stage = max(
            replay(self.ledger.events()).stages, key=list(Stage).index, default=Stage.BASE
        )
        self.recorder.parent_tags({f"keepgain.{k}": v for k, v in self._provenance.items()})
        self.recorder.parent_file(self.folder / "sweep.yaml")

    def save(self, stage: Stage) -> Evidence:
        """Writes the record as of now; called at the end of every stage."""
        self.stage = stage
        suites = self.prepared.score_suites("test")
        evidence = build_evidence(
            self.prepared,
            replay(self.ledger.events()),
            self.folder,
            stage=stage,
            store=self.store.display,
            test_opened=count_openings(self.store.work, suites),
            warnings=self.warnings,
            provenance=self._provenance,
        )
        record = self.folder / "record"
        save_folder(record, evidence)
        for path in sorted(record.iterdir()):
            self.recorder.parent_file(path, "record")
        self.recorder.parent_tags({"keepgain.stage": str(stage)})
        return evidence

    def finished(self, stage: Stage) -> None:
        """A stage has finished."""
        self.save(stage)

    def open_test(self, candidates: list[str]) -> None:
        """Notes that the test items are looked at now, once a sweep."""
        known = replay(self.ledger.events()).openings
        opened = known[0] if known else opening(candidates, self.prepared.score_suites("test"))
        if not known:
            self.ledger.append(opened)
        note_opening(self.store.work, self.prepared.sweep_id, opened)

    def decide(self) -> None:
        """Keeps the decision as JSON and text, as `analyze` would print it."""
        from keepgain.sweeps.stages.decide import write_decision

        evidence = self.save(Stage.DECIDED)
        for path in write_decision(evidence, self.folder):
            self.recorder.parent_file(path, "decision")


def _require_server(text: str | None) -> None:
    asked, _ = store_text(text)
    if asked is not None and "://" in asked:
        require_reachable(resolve_store(text))


def _check(prepared: Prepared, say: Callable[[str], None]) -> tuple[str, ...]:
    findings: list[Finding] = check(prepared)
    errors = [f for f in findings if f.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: `sweep check`)" if len(errors) > 1 else ""
        first = errors[0]
        rows = f" (e.g. {'; '.join(first.rows[:MAX_EXAMPLES])})" if first.rows else ""
        where = _where(prepared.loaded, first)
        raise UserError(first.message + rows + more, where=where, hint=first.hint)
    warnings = tuple(f"{f.where}: {f.message}" for f in findings)
    for warning in warnings:
        say(f"warning: {warning}")
    return warnings


def _where(loaded: LoadedSpec, finding: Finding) -> str:
    """The file and key of a finding; one about rows (`SOURCE/SPLIT`) names its source or suite."""
    name = finding.where.partition("/")[0]
    groups: dict[str, Collection[str]] = {"data": loaded.spec.data, "suites": loaded.spec.suites}
    key = next((f"{g}.{name}" for g, entries in groups.items() if name in entries), finding.where)
    return loaded.where(key)


def _refuse_paths_outside(loaded: LoadedSpec, working_dir: Path) -> None:
    """A job's files must be in what was submitted, or be absolute paths that every node has."""
    root = working_dir.resolve()
    # A folder may also stand where a hub id may (`models: [../small]`).
    models = [(m, local_folder(m, loaded.folder)) for m in loaded.spec.models]
    named = [(f"models.{i}", m.path or (f and m.id)) for i, (m, f) in enumerate(models)]
    for kind, group in (("data", loaded.spec.data), ("suites", loaded.spec.suites)):
        for name, entry in group.items():
            for field in ("path", "train", "validation", "test"):
                named.append((f"{kind}.{name}.{field}", getattr(entry, field, None)))
    for key, text in named:
        if text is None or Path(text).is_absolute():
            continue
        if not (loaded.folder / text).resolve().is_relative_to(root):
            raise UserError(
                f"'{text}' lies outside the job's working directory, which alone is uploaded.",
                where=loaded.where(key),
                hint="Put it below --working-dir, or give an absolute path that all nodes have.",
            )


def _resources(prepared: Prepared) -> ResourceRequest:
    resources = prepared.spec.resources
    gpus = resources.gpus_per_trial
    if gpus is None:
        import ray

        gpus = 1.0 if ray.cluster_resources().get("GPU", 0) >= 1 else 0.0
    return ResourceRequest(cpus=resources.cpus_per_trial or 1.0, gpus=gpus)


def _worker_env(resources: ResourceRequest) -> dict[str, str]:
    """Threads as the trial's CPUs: more were 4 to 10 times slower when trials run side by side."""
    threads = str(max(1, int(resources.cpus)))
    env = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
    }
    return env if resources.gpus else {**env, "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}


def make_search(prepared: Prepared, folder: Path) -> StratifiedSearch:
    """The search of a spec; Optuna's journal goes to `folder`."""
    spec = prepared.spec
    suites = prepared.score_suites("validation")
    return StratifiedSearch(
        spec_space(prepared.loaded),
        models=[m.ref.name for m in prepared.models],
        trials_per_model=spec.search.trials_per_model,
        seed=spec.search.seed,
        objectives=directions(suites),
        constraints=constraint_names(suites, spec.question.max_forgetting),
        journal=folder / "optuna.journal",
        study_prefix=prepared.sweep_id,
        sampler=spec.search.sampler,
        generation_size=spec.search.generation_size,
    )


def _totals(prepared: Prepared) -> dict[str, int]:
    models, spec = len(prepared.models), prepared.spec
    confirmed = max(spec.confirm.finalists, models) * spec.confirm.seeds
    base = models * (1 + len(prepared.arms))
    return {
        Stage.BASE: base,
        Stage.SEARCH: models * spec.search.trials_per_model,
        Stage.CONFIRM: confirmed,
        Stage.TEST: base + confirmed,
    }


def _keep_spec(loaded: LoadedSpec, folder: Path) -> None:
    """The spec as it was, for people and for the record."""
    shutil.copyfile(loaded.path, folder / "sweep.yaml")
