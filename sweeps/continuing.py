"""What a driver must note of the one before it, which may have been killed at any line."""

from collections.abc import Collection, Mapping, Sequence

from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.search.ledger import (
    Asked,
    Event,
    Finished,
    Retried,
    SearchStarted,
    StageFinished,
)
from keepgain.sweeps.search.replay import RunState

TRANSIENT = (FailureCause.WORKER_LOST, FailureCause.DISK_FULL)
"""The machine's failures, not the configuration's: the next driver tries such a run again."""


def to_note(
    events: Sequence[Event], runs: Mapping[str, RunState], *, retry_failed: bool = False
) -> list[Finished | Retried]:
    """Events to append before anything else: runs to try again, and ends that were not noted.

    Args:
        retry_failed: A person asks for every failed run whose stage is open.
    """
    reopened: list[Finished | Retried] = [*_reopened(events, runs)]
    if retry_failed:
        reopened += _retried(events, runs, {e.run_key for e in reopened})
    return [*reopened, *_ended(runs)]


def told_failed(events: Sequence[Event], runs: Mapping[str, RunState]) -> list[Asked]:
    """Runs to carry out of which the search knows nothing: it was told that they failed, and has
    drawn on that."""
    told = {e.run_key: None for e in events if isinstance(e, Retried) and e.told}
    return [runs[key].asked for key in told if not runs[key].status.is_final]


def _retried(
    events: Sequence[Event], runs: Mapping[str, RunState], but: Collection[str]
) -> list[Retried]:
    """What the search has drawn on stays told: where trials are drawn in generations, a failure of
    an earlier one than the newest; otherwise every failure."""
    finished = {e.stage for e in events if isinstance(e, StageFinished)}
    settings = [e.settings for e in events if isinstance(e, SearchStarted)]
    in_turn = any(s.get("mode") == "async" for s in settings)
    newest = _newest(events)
    already = {e.run_key for e in events if isinstance(e, Retried) and e.told}
    return [
        Retried(
            run_key=key,
            told=run.asked.stage is Stage.SEARCH
            and (in_turn or run.asked.generation != newest or key in already),
        )
        for key, run in runs.items()
        if run.status is TrialStatus.FAILED and run.asked.stage not in finished and key not in but
    ]


def _newest(events: Sequence[Event]) -> int:
    drawn = [e.generation for e in events if isinstance(e, Asked) and e.generation is not None]
    return max(drawn, default=0)


def _reopened(events: Sequence[Event], runs: Mapping[str, RunState]) -> list[Finished]:
    """Asks again for failed runs whose failure may have passed, as long as nothing was decided
    on them: their stage is open, and the search has drawn no later generation."""
    finished_stages = {e.stage for e in events if isinstance(e, StageFinished)}
    newest = _newest(events)
    again: list[Finished] = []
    for run in runs.values():
        asked, is_test = run.asked, run.asked.stage is Stage.TEST
        if run.status is not TrialStatus.FAILED or asked.stage in finished_stages:
            continue
        if asked.stage is Stage.SEARCH and asked.generation != newest:
            continue
        if is_test or run.cause in TRANSIENT:
            why = f"to be tried again after {run.cause}: {run.reason}"
            again.append(Finished(run_key=run.run_key, status=TrialStatus.INTERRUPTED, reason=why))
    return again


def _ended(runs: Mapping[str, RunState]) -> list[Finished]:
    """A driver killed between the last report of a run and its end has not noted the end."""
    return [
        Finished(run_key=run.run_key, status=TrialStatus.COMPLETED)
        for run in runs.values()
        if (last := run.last_report) is not None and last.final and not run.status.is_final
    ]
