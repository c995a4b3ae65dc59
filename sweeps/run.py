"""`sweep run` from the spec to the recorded decision; run again, it continues."""

import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from keepgain.cluster.ray_cluster import submission_id
from keepgain.core.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from keepgain.core.redaction import redacted_lines
from keepgain.core.status import Stage
from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from keepgain.core.store.upkeep import reap
from keepgain.core.units import human_bytes
from keepgain.sweeps.checked import write_checked
from keepgain.sweeps.crew import Crew
from keepgain.sweeps.full_disk import said_of_full_disk
from keepgain.sweeps.keeper import Keeper
from keepgain.sweeps.kept_files import prune
from keepgain.sweeps.limits import spent_text
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.notify import Message, Status, notify
from keepgain.sweeps.preflight import preflight
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.prepare import store as store_rows
from keepgain.sweeps.program import SweepProgram
from keepgain.sweeps.progress import Progress
from keepgain.sweeps.provenance import person
from keepgain.sweeps.recorder import DRIVER, Recorder
from keepgain.sweeps.reuse import LEDGER_NAME, finished_elsewhere
from keepgain.sweeps.search.ledger import (
    DriverStarted,
    Learned,
    Ledger,
    driver_of,
    read_events,
    taken,
)
from keepgain.sweeps.search.objectives import constraint_names, directions, limits_of
from keepgain.sweeps.search.replay import SweepState, replay
from keepgain.sweeps.search.stratified import StratifiedSearch
from keepgain.sweeps.steering import Inbox
from keepgain.sweeps.warm_start import learned_trials

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
    retry_failed: bool = False
    """Ask again for the failed runs of the open sweep."""


_STATUS: dict[int, Status] = {
    EXIT_OK: "decided",
    EXIT_FAILED: "stopped",
    EXIT_INTERRUPTED: "interrupted",
}


@dataclass(frozen=True)
class Outcome:
    """How a run of `sweep run` ended."""

    exit_code: int
    sweep_id: str
    folder: Path
    store: StoreLocation
    message: str = ""
    """How it ended, in one line."""
    trouble: str | None = None
    """Why the record in MLflow is incomplete."""


def run_sweep(options: RunOptions, say: Callable[[str], None]) -> Outcome:
    """Checks, runs or continues, records.

    Raises:
        UserError: The spec, the data, the store or the cluster cannot be used; nothing was written.
    """
    ready = preflight(
        options.spec,
        say,
        profile=options.profile,
        store=options.store,
        address=options.address,
    )
    prepared = ready.prepared
    # Nothing is written before Ray has said that a trial fits.
    store = resolve_store(options.store, create=True, make=False)
    sweep_id, folder = prepared.sweep_id, store.sweep_folder(prepared.sweep_id)
    events = read_events(folder / LEDGER_NAME)
    known = replay(events)
    # A continued search knows from its ledger what it has learned.
    learned = {} if events else learned_trials(prepared, store.work, say)
    say(f"sweep {sweep_id}" + (" (continued)" if known.runs else ""))
    say(f"store: {store.described}")
    say(f"files and logs: {folder}")
    with said_of_full_disk(folder), ExitStack() as stack:
        crew = _crew(options, prepared, folder, known, say)
        if crew is not None:
            stack.callback(crew.dismiss)
        prepare_store(store, prepared.spec.name)
        ledger = stack.enter_context(Ledger.open(folder / LEDGER_NAME, time.time))
        if crew is not None:
            stack.callback(crew.dismiss)  # here too: the ledger is given free last
        inbox = Inbox(folder, say)
        prepared = store_rows(prepared, folder)
        _keep_spec(options.spec, folder)
        write_checked(folder, ready.checked)
        if known.runs:
            reap(store, sweep_id)
        try:
            outcome = _run_locked(
                options,
                prepared,
                store,
                folder,
                ledger,
                learned,
                inbox,
                crew,
                ready.warnings,
                say,
                stack,
            )
        except BaseException as error:
            _notify_of_fault(prepared, error, say)
            raise
    status = _STATUS[outcome.exit_code]
    notify(prepared.spec.notify, Message(sweep_id, status, outcome.message), say)
    return outcome


def _crew(
    options: RunOptions,
    prepared: Prepared,
    folder: Path,
    known: SweepState,
    say: Callable[[str], None],
) -> Crew | None:
    """The Ray that carries the sweep out; None if nothing is left to do.

    Raises:
        UserError: Another driver works on it, no Ray answers, or not even one trial fits.
    """
    driver = driver_of(folder / LEDGER_NAME)
    if driver is not None:
        raise taken(folder / LEDGER_NAME, driver)
    if Stage.TEST in known.stages:
        say("every run is done already: nothing is started")
        return None
    return Crew.start(prepared, say, address=options.address, slots=options.slots)


def _notify_of_fault(prepared: Prepared, error: BaseException, say: Callable[[str], None]) -> None:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    by_signal = isinstance(error, KeyboardInterrupt | SystemExit)
    status: Status = "interrupted" if by_signal else "failed"
    notify(prepared.spec.notify, Message(prepared.sweep_id, status, text), say)


def _run_locked(
    options: RunOptions,
    prepared: Prepared,
    store: StoreLocation,
    folder: Path,
    ledger: Ledger,
    learned: Mapping[str, Sequence[Learned]],
    inbox: Inbox,
    crew: Crew | None,
    warnings: tuple[str, ...],
    say: Callable[[str], None],
    stack: ExitStack,
) -> Outcome:
    sweep_id = prepared.sweep_id
    shipper = stack.enter_context(
        Shipper(store, sweep_id, prepared.spec.name, folder / "spool", _owner(ledger))
    )
    spool = Spool(folder / "spool", DRIVER)
    stack.callback(spool.close)
    recorder = Recorder(spool, folder)
    recorder.parent_started(sweep_id)
    keeper = Keeper(
        prepared, store, folder, ledger, recorder, warnings, crew.cluster if crew else None
    )
    progress = Progress(sweep_id, _totals(prepared))
    search = make_search(prepared, folder, learned)
    program = SweepProgram(
        prepared=prepared,
        folder=folder,
        ledger=ledger,
        search=search,
        recorder=recorder,
        progress=progress,
        reusable=finished_elsewhere(store.work, sweep_id, prepared.runtime, say),
        on_test=keeper.open_test,
        on_stage=keeper.save,
        inbox=inbox,
        retry_failed=options.retry_failed,
    )
    try:
        with progress:
            if crew is not None:
                _work(crew, program, sweep_id, folder, say)
            else:
                assert program.next_job() is None, "the test stage is the last one with jobs"
        code, message = _ending(program, recorder, keeper, say)
    except BaseException as error:
        # A fault of ours or a second Ctrl-C: what ran is marked, so that nothing stays RUNNING.
        # Ray makes a SystemExit of a SIGTERM that comes outside of Tune.
        program.interrupt()
        killed = isinstance(error, KeyboardInterrupt | SystemExit)
        recorder.parent_ended("KILLED" if killed else "FAILED")
        raise
    finally:
        search.close(interrupted=not program.finished)
        recorder.flush()
        if crew is not None:
            crew.dismiss()  # what an interruption left training must not go on while this waits
        shipped = shipper.drain(DRAIN_SECONDS)
    shutil.rmtree(folder / "ray", ignore_errors=True)  # Tune's own files: never read again
    trouble = shipper.trouble or (None if shipped else "not everything is shipped yet")
    return Outcome(code, sweep_id, folder, store, message, trouble)


def _owner(ledger: Ledger) -> dict[str, str]:
    """This driver, for its signs of life: which one it is of the sweep, and of which Ray job."""
    before = sum(isinstance(e, DriverStarted) for e in ledger.events())
    job = submission_id()
    return {"attempt": str(before + 1), **({} if job is None else {"submission": job})}


def _keep_spec(spec: Path, folder: Path) -> None:
    """A copy for people to read, without secrets; line by line, so that comments stay."""
    text = spec.read_text(encoding="utf-8-sig")
    kept = "".join(redacted_lines(text.splitlines(keepends=True)))
    (folder / "sweep.yaml").write_text(kept, encoding="utf-8")


def _work(
    crew: Crew,
    program: SweepProgram,
    sweep_id: str,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """From the crew's first job to its last, which the ledger keeps for what it cost."""
    limits = program.prepared.spec.limits
    if not crew.resources.gpus and (limits.gpu_hours is not None or limits.usd is not None):
        say("warning: trials use no GPU, so limits.gpu_hours and limits.usd are never reached")
    program.driver_started(
        DriverStarted(
            user=person(),
            host=socket.gethostname(),
            pid=os.getpid(),
            slots=crew.slots,
            cpus_per_trial=crew.resources.cpus,
            gpus_per_trial=crew.resources.gpus,
        )
    )
    try:
        crew.work(program, sweep_id, folder)
    finally:
        program.driver_stopped()


def _ending(
    program: SweepProgram, recorder: Recorder, keeper: Keeper, say: Callable[[str], None]
) -> tuple[int, str]:
    """Saves what there is, ends the parent run, says how it went: exit code and one line."""
    if program.reused:
        say(f"{program.reused} finished runs of other sweeps were reused")
    if program.course.note:
        say(f"the search was ended by {program.course.note}")
        recorder.parent_tags({"keepgain.search_ended": program.course.note})
    spent = spent_text(program.meter.total(), program.prepared.spec.prices.gpu_hour_usd)
    say(f"spent: {spent}")
    if program.finished and program.aborted is None:
        for caution in keeper.decide():
            say(f"warning: {caution}")
        _prune(program, say)
        recorder.parent_ended("FINISHED")
        return EXIT_OK, f"decided; spent: {spent}"
    open_runs = program.interrupt()
    keeper.save(keeper.stage)
    if program.aborted is not None:
        say(f"the sweep stopped: {program.aborted}")
        recorder.parent_tags({"keepgain.reason": program.aborted})
        recorder.parent_ended("FAILED")
        return EXIT_FAILED, f"stopped: {program.aborted}"
    recorder.parent_ended("KILLED")
    by = program.reins.stopped_by
    how = "interrupted" if by is None else f"stopped by {by}"
    say(f"{how}: {open_runs} running jobs are marked so; the same command continues")
    return EXIT_INTERRUPTED, f"{how} with {open_runs} open jobs; the same command continues"


def _prune(program: SweepProgram, say: Callable[[str], None]) -> None:
    """As `storage.keep_models` says; `sweep prune` does the same later."""
    keep = program.prepared.spec.storage.keep_models
    gone = prune(program.folder, keep, checkpoints=False)
    if gone:
        size = human_bytes(sum(one.bytes for one in gone))
        say(f"weights of {len(gone)} confirmed runs were removed ({size}): keep_models is {keep}")


def make_search(
    prepared: Prepared, folder: Path, learned: Mapping[str, Sequence[Learned]] | None = None
) -> StratifiedSearch:
    """The search of a spec; Optuna's journal goes to `folder`, `learned` is of a warm start."""
    spec = prepared.spec
    suites = prepared.score_suites("validation")
    stops = spec.search.stopping.enabled and len(prepared.rungs) > 1
    search = StratifiedSearch(
        spec_space(prepared.loaded),
        models=[m.ref.name for m in prepared.models],
        trials_per_model=prepared.trials,
        seed=spec.search.seed,
        objectives=directions(suites),
        constraints=constraint_names(suites, limits_of(spec.question)),
        journal=folder / "optuna.journal",
        study_prefix=prepared.sweep_id,
        sampler=spec.search.sampler,
        generation_size=spec.search.generation_size,
        mode=spec.search.mode,
        storage=spec.search.storage,
        rungs=len(prepared.rungs) if stops else 1,
        quasi_random_at_least=spec.search.stopping.audit_trials if stops else 0,
        configs=spec.search.configs or (),
    )
    for model, trials in (learned or {}).items():
        search.learn(model, trials)
    return search


def _totals(prepared: Prepared) -> dict[str, int]:
    models, spec = len(prepared.models), prepared.spec
    confirmed = max(spec.confirm.finalists, models) * spec.confirm.first
    base = sum(1 + len(prepared.arms_of(m.ref.name)) for m in prepared.models)
    return {
        Stage.BASE: base,
        Stage.SEARCH: sum(prepared.trials.values()),
        Stage.CONFIRM: confirmed,
        Stage.TEST: base + confirmed,
    }
