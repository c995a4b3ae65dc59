"""`sweep run` from the spec to the recorded decision; run again, it continues."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from keepgain.core.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from keepgain.core.status import Stage
from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.runs import reap
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from keepgain.sweeps.crew import Crew
from keepgain.sweeps.keeper import Keeper
from keepgain.sweeps.preflight import preflight
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.prepare import store as store_rows
from keepgain.sweeps.program import SweepProgram
from keepgain.sweeps.progress import Progress
from keepgain.sweeps.recorder import DRIVER, Recorder
from keepgain.sweeps.reuse import LEDGER_NAME, finished_elsewhere
from keepgain.sweeps.search.ledger import Ledger
from keepgain.sweeps.search.objectives import constraint_names, directions
from keepgain.sweeps.search.replay import replay
from keepgain.sweeps.search.stratified import StratifiedSearch
from keepgain.sweeps.spec import spec_space

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
    prepared, warnings = preflight(
        options.spec,
        say,
        profile=options.profile,
        store=options.store,
        address=options.address,
    )
    store = resolve_store(options.store, create=True)
    prepare_store(store, prepared.spec.name)
    folder = store.sweep_folder(prepared.sweep_id)
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(folder / LEDGER_NAME))
        prepared = store_rows(prepared, folder)
        shutil.copyfile(options.spec, folder / "sweep.yaml")
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
        crew = Crew.start(prepared, say, address=options.address, slots=options.slots)
        stack.callback(crew.dismiss)
    shipper = stack.enter_context(Shipper(store, sweep_id, prepared.spec.name, folder / "spool"))
    spool = Spool(folder / "spool", DRIVER)
    stack.callback(spool.close)
    recorder = Recorder(spool, folder)
    recorder.parent_started(sweep_id)
    keeper = Keeper(
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
        reusable=finished_elsewhere(store.work, sweep_id, prepared.runtime, say),
        on_test=keeper.open_test,
        on_stage=keeper.save,
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
    program: SweepProgram, recorder: Recorder, keeper: Keeper, say: Callable[[str], None]
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
