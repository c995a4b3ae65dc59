"""The rungs of a running sweep: which search trials wait, which go on, which are stopped.

Synchronously (`search.mode: generations`) the trials of one base model in one generation move
together: everyone trains to a rung and waits there; when all that still live have reported it,
the best are promoted (`search.rungs`); the others wait on as substitutes, in case a promoted one
fails, and are stopped when every promoted one has reached the next rung. So a decision follows
from the ledger alone, never from the order in which reports came.

Asynchronously (`search.mode: async`) a trial is promoted as soon as it is among the best of those
that have reported the rung; when nothing else of its base model is left to do, the rest is settled
as if it were one generation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from keepgain.core.status import TrialStatus
from keepgain.sweeps.job import Job
from keepgain.sweeps.results import Results
from keepgain.sweeps.search.ledger import Asked, Finished, Promoted
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.search.rungs import (
    Entry,
    Ranking,
    RungPolicy,
    audits,
    compared,
    going_on,
    rank,
)
from keepgain.sweeps.spec_search import SearchSpec

Move = Promoted | Finished
"""What the scheduler decides, as the ledger records it; `Finished` means stopped early."""


@dataclass
class RungScheduler:
    """Proposes moves; whoever owns the ledger records them and then calls `wake` or `drop`."""

    policy: RungPolicy | None
    """None: no trial waits or is stopped."""
    results: Results
    runs: Mapping[str, RunState]
    """Of the sweep, kept up to date by the owner."""
    shares: Sequence[float]
    """Of the budget, at each rung; the last one is 1."""
    ended: str | None = None
    """Why nobody that waits may go on: a limit was reached."""

    _waiting: dict[str, Job] = field(default_factory=dict)
    """Paused with the runner."""
    _asleep: dict[str, Job] = field(default_factory=dict)
    """Paused by an earlier driver: to be begun when they may go on."""
    _awake: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of `_waiting` those that may go on, in the order of promotion → the rung that they go to, and
    how many of their base model and generation were promoted to it before."""
    _dropped: list[str] = field(default_factory=list)
    _rankings: dict[tuple[str, int, int], Ranking] = field(default_factory=dict)
    """(base model, generation, rung) → ranking; reports at a complete rung do not change."""
    _cohorts: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    """(base model, generation) → run keys, in the order of asking."""

    def __post_init__(self) -> None:
        for run in self.runs.values():
            self.enter(run.asked)

    # -- who is where --------------------------------------------------------------------------

    def schedules(self, job: Job) -> bool:
        """Whether this job is one of those that wait at rungs."""
        return self.policy is not None and len(self.shares) > 1 and job.purpose == "search"

    def __contains__(self, key: str) -> bool:
        return key in self._waiting or key in self._asleep

    @property
    def eager(self) -> bool:
        """Whether a trial may go on at once when it reports."""
        return self.policy is not None and self.policy.asynchronous

    @property
    def jobs(self) -> list[Job]:
        """All that wait."""
        return [*self._waiting.values(), *self._asleep.values()]

    @property
    def awake(self) -> tuple[str, ...]:
        """Run keys of paused jobs that may go on, the most urgent first.

        Synchronously the lower rung goes first and base models take turns, so that a sweep that is
        ended early is balanced."""
        if self.eager:
            return tuple(self._awake)
        return tuple(sorted(self._awake, key=lambda key: self._awake[key]))

    def enter(self, asked: Asked) -> None:
        """A run was asked for; from now on its generation is not complete without it."""
        if asked.number is not None:
            first = self.runs[asked.run_key].asked  # a later draw may turn out to be the same run
            cohort = self._cohorts.setdefault(self._cohort_of(first), [])
            if asked.run_key not in cohort:
                cohort.append(asked.run_key)
                of = self._cohort_of(first)  # a person's own may come when others were ranked
                self._rankings = {k: r for k, r in self._rankings.items() if k[:2] != of}

    def wait(self, job: Job) -> None:
        """The job pauses with the runner."""
        self._waiting[job.run_key] = job

    def sleep(self, job: Job) -> None:
        """The job waits without a trial of the runner's."""
        self._asleep[job.run_key] = job

    def wake(self, key: str) -> Job | None:
        """The run was promoted. Returns its job if no paused trial will take it up."""
        if key in self._waiting:
            run = self.runs[key]
            cohort = self._cohorts[self._cohort_of(run.asked)]
            before = sum(self.runs[k].promoted >= run.promoted for k in cohort)
            self._awake[key] = (run.promoted, before)
        return self._asleep.pop(key, None)

    def resume(self, key: str) -> Job | None:
        """The runner has taken up the job again, or lost it; None if it did not wait."""
        self._awake.pop(key, None)
        return self._waiting.pop(key, None)

    def drop(self, key: str) -> Job | None:
        """The run has ended while it waited; None if it had not got that far."""
        if key in self._waiting:
            self._dropped.append(key)
        return self.resume(key) or self._asleep.pop(key, None)

    def drop_all(self) -> None:
        """Nobody goes on with the runner; the runs wait as before."""
        self._dropped += self._waiting
        self._asleep |= self._waiting
        self._waiting.clear()
        self._awake.clear()

    def take_dropped(self, only: str | None = None) -> tuple[str, ...]:
        """Run keys of paused jobs that have ended; each is named once.

        Args:
            only: Take this one alone, if it is among them.
        """
        taken = [k for k in self._dropped if only in (None, k)]
        self._dropped = [k for k in self._dropped if k not in taken]
        return tuple(taken)

    # -- what follows from the ledger ----------------------------------------------------------

    def moves(self, drawn: int) -> list[Move]:
        """What is to be done now; [] if all wait for reports. To be asked again after the moves.

        Args:
            drawn: All draws up to this generation were begun; -1: of none.
        """
        if self.ended is not None:
            return [_stopped(job.run_key, self.ended) for job in self.jobs]
        if self.policy is None:
            return []
        by_cohort: list[list[Move]] = []
        for model, generation in dict.fromkeys(self._cohort_of(j.asked) for j in self.jobs):
            cohort = [self.runs[key] for key in self._cohorts[model, generation]]
            moves = self._promotable(cohort, model) if self.eager else []
            if not moves and generation <= drawn:
                moves = self._settled(cohort, model, generation)
            by_cohort.append(moves)
        in_turn = zip_longest(*by_cohort)  # of base models, as in `awake`
        return [move for turn in in_turn for move in turn if move is not None]

    def _settled(self, cohort: list[RunState], model: str, generation: int) -> list[Move]:
        """The moves of a cohort whose members all live at a rung or have ended."""
        assert self.policy is not None
        for rung in range(len(self.shares) - 1):
            members = [r for r in cohort if r.promoted >= rung]
            if any(not r.status.is_final and r.at_rung(rung) is None for r in members):
                return []
            ranking = self._ranking(model, generation, rung)
            if ranking is None:
                return []  # the base has no scores yet
            keys = {r.run_key for r in members if _is_candidate(r, rung)}
            goers = going_on(ranking, keys, self.policy)
            up = [k for k in goers if self.runs[k].promoted <= rung and self.runs[k].waits]
            if up:
                return [Promoted(run_key=k, rung=rung + 1) for k in up]
            ahead = [r for r in members if r.promoted > rung]
            if any(not r.status.is_final and r.at_rung(rung + 1) is None for r in ahead):
                return []  # one of them may fail: the others are its substitutes
            left = [r for r in members if r.promoted <= rung and r.waits]
            if left:
                return [self._stop(r, ranking, rung) for r in left]
        return []

    def _promotable(self, cohort: list[RunState], model: str) -> list[Move]:
        """Asynchronously: who is among the best so far, the highest rung first."""
        assert self.policy is not None
        moves: list[Move] = []
        for rung in reversed(range(len(self.shares) - 1)):
            here = {
                r.run_key: r for r in cohort if r.waits and r.promoted == rung and r.at_rung(rung)
            }
            if not here:
                continue
            ranking = self._ranking(model, 0, rung)
            if ranking is None:
                continue
            good = {e.run_key for e in ranking.order[: ranking.places]}
            moves += [
                Promoted(run_key=e.run_key, rung=rung + 1)
                for e in ranking.order
                if e.run_key in here and (e.audit or e.run_key in good)
            ]
        return moves

    def _ranking(self, model: str, generation: int, rung: int) -> Ranking | None:
        assert self.policy is not None
        known = self._rankings.get((model, generation, rung))
        if known is not None and not self.eager:
            return _with_losses(known, self.runs, rung)
        cohorts = (keys for (of, _), keys in self._cohorts.items() if of == model)
        runs = [self.runs[key] for keys in cohorts for key in keys]
        audited = audits((r.asked for r in runs), self.policy.audit_trials)
        entries: list[Entry] = []
        for run in runs:
            if run.at_rung(rung) is None:
                continue
            entry = self.results.entry(run, rung, audit=run.run_key in audited)
            if entry is None:
                return None
            entries.append(entry)
        if not self.eager:
            entries = compared(entries, generation)
        ranking = rank(entries, self.policy, self.shares[rung])
        self._rankings[model, generation, rung] = ranking
        return _with_losses(ranking, self.runs, rung)

    def _stop(self, run: RunState, ranking: Ranking, rung: int) -> Finished:
        assert self.policy is not None
        place = ranking.rank_of(run.run_key)
        best = max(ranking.places, self.policy.minimum)
        reason = (
            f"ranked {place} of {len(ranking.order)} trials of {run.asked.model} at "
            f"{self.shares[rung]:.0%} of the budget; the best {best} go on"
        )
        return _stopped(run.run_key, reason)

    def _cohort_of(self, asked: Asked) -> tuple[str, int]:
        return asked.model, 0 if self.eager else asked.generation or 0


def _is_candidate(run: RunState, rung: int) -> bool:
    """It may hold a place at the rung: it was scored there, and not stopped there since."""
    stopped = run.status is TrialStatus.PRUNED and run.promoted <= rung
    return run.at_rung(rung) is not None and not stopped


def _with_losses(ranking: Ranking, runs: Mapping[str, RunState], rung: int) -> Ranking:
    """The ranking as it is, but for who has failed since."""
    lost = [_is_lost(runs[e.run_key], rung) for e in ranking.order]
    if not any(lost):
        return ranking
    marked = (replace(e, lost=gone) for e, gone in zip(ranking.order, lost, strict=True))
    return Ranking(tuple(marked), ranking.places)


def _is_lost(run: RunState, rung: int) -> bool:
    last = run.last_report
    return run.status is TrialStatus.FAILED and last is not None and last.rung <= rung


def _stopped(key: str, reason: str) -> Finished:
    return Finished(run_key=key, status=TrialStatus.PRUNED, reason=reason)


def policy_of(search: SearchSpec) -> RungPolicy | None:
    """The policy that a spec asks for."""
    stopping = search.stopping
    if not stopping.enabled:
        return None
    return RungPolicy(
        keep=stopping.keep,
        grace=stopping.grace,
        audit_trials=stopping.audit_trials,
        asynchronous=search.mode == "async",
    )
