"""The looks of an adaptive confirmation (`confirm.looks`): more seeds where it is undecided.

What a look finds is `analysis.looks.next_look`, a pure function of the validation scores; here it
is given the runs, and its answer becomes jobs. A look that the ledger has is not made again, so
that a continued sweep goes the way it went.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from keepgain.core.record import LookRecord
from keepgain.core.status import Stage
from keepgain.sweeps.evidence import build_evidence
from keepgain.sweeps.job import Job
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.replay import RunState, SweepState
from keepgain.sweeps.stages.trials import confirm_jobs


def make_look(
    prepared: Prepared, folder: Path, runs: Mapping[str, RunState], look: int
) -> LookRecord:
    """Looks at what was confirmed so far.

    Args:
        folder: The sweep's folder, below which the item scores lie.
        runs: All runs of the sweep.
        look: From 1.
    """
    from keepgain.analysis.looks import next_look  # scipy takes a moment to import

    scored = (Stage.BASE, Stage.CONFIRM)
    state = SweepState({key: run for key, run in runs.items() if run.asked.stage in scored})
    evidence = build_evidence(prepared, state, folder, stage=Stage.SEARCH, store="", test_opened=0)
    return next_look(evidence, look)


def look_jobs(
    prepared: Prepared,
    folder: Path,
    runs: Mapping[str, RunState],
    finalists: Sequence[Asked],
    record: LookRecord,
) -> list[Job]:
    """The seeds that a look asks for and that have not ended yet, seed by seed.

    Args:
        finalists: The search trials that are confirmed.
        record: The look.
    """
    chosen = [asked for asked in finalists if asked.trial_id in record.more]
    jobs = confirm_jobs(prepared, folder, chosen, record.more)
    return [j for j in jobs if j.run_key not in runs or not runs[j.run_key].status.is_final]


def describe_look(record: LookRecord, looks: int) -> str:
    """One line for the terminal."""
    then = ", ".join(f"{trial[:6]} to {seeds} seeds" for trial, seeds in record.more.items())
    return f"look {record.look} of {looks}: {record.reason}{f'; {then}' if then else ''}"
