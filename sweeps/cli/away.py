"""`sweep status`, `logs` and `stop` of a sweep whose folder is on a cluster: by its Ray job."""

from dataclasses import asdict

from keepgain.cluster.submit import Jobs, JobState
from keepgain.core.errors import EXIT_FAILED, EXIT_OK, UserError
from keepgain.core.status import Stage
from keepgain.core.store.figures import SweepFigures, read_figures
from keepgain.core.store.location import resolve_store
from keepgain.core.terminal import shown
from keepgain.core.units import human_seconds
from keepgain.sweeps.cli.common import print_json, print_table, say
from keepgain.sweeps.submitted import Submission, with_sweep

STOP_SECONDS = 120.0
"""Longest wait for the end of a job: the cluster may give it more than Ray's three seconds."""
MARKED = "running jobs are marked so"
"""How the driver's last line ends when it had the time to note everything."""


def follow(note: Submission, jobs: Jobs) -> tuple[JobState, str | None]:
    """Shows the job's log to its end; returns how it ended, and the sweep's id if it said one."""
    state = jobs.follow(note.job, _write)
    return state, with_sweep(note, jobs).sweep


def logs(note: Submission, *, follows: bool) -> int:
    """Shows the job's log."""
    jobs = Jobs(note.address)
    if follows:
        follow(note, jobs)
    else:
        _write(jobs.log(note.job))
    return EXIT_OK


def stop(note: Submission) -> int:
    """Ends the job: SIGTERM to its driver, and what became of it."""
    jobs = Jobs(note.address)
    before = jobs.state(note.job)
    if before.is_final:
        say(f"job {note.job} has ended already: {before.status}")
        return EXIT_FAILED
    note = with_sweep(note, jobs)
    after = jobs.stop(note.job, STOP_SECONDS)
    if not after.is_final:
        say(f"job {note.job} has not ended within {STOP_SECONDS:g} s: {after.status}")
        return EXIT_FAILED
    if after.status != "STOPPED":
        say(f"job {note.job} had ended by itself: {after.status}")
        return EXIT_OK
    if MARKED in jobs.log(note.job):
        say(f"job {note.job} is stopped: what ran is marked as interrupted")
    else:
        say(
            f"job {note.job} is stopped, before its driver could say that all is marked; what "
            "still looks as if it ran is corrected when the sweep continues, or by `sweep repair`"
        )
    say("submitting the same spec again continues the sweep")
    return EXIT_OK


def status(note: Submission, *, as_json: bool) -> int:
    """The job, and what MLflow says of its sweep."""
    from keepgain.sweeps.overview import ago

    jobs = Jobs(note.address)
    state = jobs.state(note.job)
    note = with_sweep(note, jobs)
    figures, silent = _figures(note)
    if as_json:
        job = {**asdict(state), "metadata": dict(state.metadata), "address": jobs.address}
        told = None if figures is None else asdict(figures)
        print_json({"id": note.sweep, "store": note.store, "job": job, "mlflow": told})
        return EXIT_OK
    since = f", begun {ago(state.started)}" if state.started else ""
    say(f"job {note.job}: {state.status}{since}")
    if state.status == "FAILED" and state.message:
        say(state.message.splitlines()[0])
    say(f"sweep {note.sweep or '(its id is not known yet)'}, store {note.store or 'of the nodes'}")
    if figures is None:
        say(silent)
        return EXIT_OK
    seen = figures.silent_seconds
    alive = "" if seen is None else f", last sign of life {human_seconds(seen)} ago"
    say(f"MLflow: {figures.status}, last stage that finished: {figures.stage or 'none'}{alive}")
    statuses = sorted({s for c in figures.runs.values() for s in c})
    stages = [s for s in map(str, Stage) if s in figures.runs]
    print_table(
        ["stage", *statuses],
        [[s, *(str(figures.runs[s].get(name, 0)) for name in statuses)] for s in stages],
    )
    for failure in figures.failures:
        say(f"failed: {failure.model} {failure.run_key}: {failure.reason}")
    return EXIT_OK


def _figures(note: Submission) -> tuple[SweepFigures | None, str]:
    """What MLflow says, or why it says nothing."""
    if note.sweep is None:
        return None, "the job has not named its sweep yet: `sweep logs` shows what it does"
    if note.store is None or "://" not in note.store or note.store.startswith("sqlite:"):
        return None, "its record lies on the cluster: `sweep logs` shows how far it is"
    try:
        found = read_figures(resolve_store(note.store), note.sweep)
    except UserError as error:
        return None, f"MLflow does not answer from here: {error}"
    return found, "MLflow knows nothing of it yet"


def _write(text: str) -> None:
    print(shown(text), end="", flush=True)
