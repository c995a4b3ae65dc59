"""What a sweep has spent, from its ledger alone, and whether a limit of the spec is reached.

Only the search is limited; bases, confirmation and test follow from it. When a limit is reached,
nothing new is drawn and no paused trial goes on; what runs finishes its rung, because a rung that
is cut off is paid for and says nothing. (A limit on `trials` ends the drawing alone.) Tokens exceed
their limit by less than one rung: they count from the moment in which a rung is begun (without
early stopping a trial is not ended at a rung, and counts in full from its beginning). Hours,
GPU-hours and money count when it is reported, and exceed theirs by what ran at that moment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from keepgain.core.status import Stage
from keepgain.core.store.names import (
    METRIC_CPU_HOURS,
    METRIC_GPU_HOURS,
    METRIC_TOKENS,
    METRIC_TRIALS,
    METRIC_USD,
)
from keepgain.core.units import human_count, human_usd
from keepgain.core.work import TrainRequest
from keepgain.sweeps.job import Job
from keepgain.sweeps.search.ledger import (
    Asked,
    DriverStarted,
    DriverStopped,
    Event,
    Finished,
    Retried,
    Reused,
    Rung,
    StageFinished,
)
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.spec_search import LimitsSpec

TRAINED = (Stage.SEARCH, Stage.CONFIRM)
"""Stages whose runs are trained; the others only score."""


@dataclass(frozen=True)
class Spent:
    """What was spent, lost attempts included as far as their reports tell."""

    trials: int = 0
    """Runs that were begun here, seeds counted apart; results of other sweeps cost nothing."""
    tokens: int = 0
    """Of training, replay included."""
    cpu_hours: float = 0.0
    """CPUs of a trial times the hours that its workers were busy."""
    gpu_hours: float = 0.0
    hours: float = 0.0
    """Wall time over all drivers; of one that was killed, up to its last event."""

    def usd(self, gpu_hour_usd: float | None) -> float | None:
        """Money; None without a price."""
        return None if gpu_hour_usd is None else self.gpu_hours * gpu_hour_usd


@dataclass(frozen=True)
class Reached:
    """A limit that ends the search."""

    name: str
    """Key of `limits`."""
    allowed: float
    spent: float

    def __str__(self) -> str:
        shown = {"usd": human_usd}.get(self.name, human_count)
        return f"limits.{self.name}: {shown(self.spent)} of {shown(self.allowed)} spent"


@dataclass
class _Tally:
    trials: int = 0
    tokens: int = 0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    seconds: float = 0.0


@dataclass
class Meter:
    """Counts what the events of a ledger spent; fed with each of them once, in order."""

    _search: _Tally = field(default_factory=_Tally)
    _all: _Tally = field(default_factory=_Tally)
    _stage_of: dict[str, Stage] = field(default_factory=dict)
    _tokens_at: dict[str, dict[int, int]] = field(default_factory=dict)
    """Run key → rung → its tokens."""
    _cpus: float = 0.0
    _gpus: float = 0.0
    _since: float | None = None
    """Up to when the wall time of the driver is counted; None: no driver works."""
    _search_over: bool = False

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Meter":
        """Of a whole ledger."""
        meter = cls()
        for event in events:
            meter.add(event)
        return meter

    def add(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, DriverStarted):
            self._cpus, self._gpus = event.cpus_per_trial, event.gpus_per_trial
            self._since = event.at
            return
        # Ends and retries pass no time of their own: the next driver notes, before it starts, those
        # of one that was killed, however long ago.
        passes = not isinstance(event, Finished | Retried)
        if self._since is not None and event.at is not None and passes:
            self._pass(event.at)
        match event:
            case DriverStopped():
                self._since = None
            case Asked() if event.run_key not in self._stage_of:
                self._stage_of[event.run_key] = event.stage
                self._count_trial(event.run_key, 1)
            case Reused():
                self._count_trial(event.run_key, -1)  # none of it was spent here
            case Rung() if event.report.run_key in self._stage_of:
                self._count(event)
            case StageFinished() if event.stage is Stage.SEARCH:
                self._search_over = True
            case _:
                pass

    def search(self, now: float | None = None) -> Spent:
        """What the search spent; `now` counts the driver's time since its last event."""
        return self._spent(self._search, None if self._search_over else now)

    def total(self, now: float | None = None) -> Spent:
        """What all stages spent."""
        return self._spent(self._all, now)

    def _spent(self, tally: _Tally, now: float | None) -> Spent:
        running = 0.0 if now is None or self._since is None else max(0.0, now - self._since)
        return Spent(
            trials=tally.trials,
            tokens=tally.tokens,
            cpu_hours=tally.cpu_seconds / 3600,
            gpu_hours=tally.gpu_seconds / 3600,
            hours=(tally.seconds + running) / 3600,
        )

    def _pass(self, moment: float) -> None:
        assert self._since is not None
        passed = max(0.0, moment - self._since)
        self._all.seconds += passed
        if not self._search_over:
            self._search.seconds += passed
        self._since = max(self._since, moment)

    def _count_trial(self, run_key: str, by: int) -> None:
        if self._stage_of[run_key] in TRAINED:
            for tally in self._tallies(run_key):
                tally.trials += by

    def _count(self, event: Rung) -> None:
        """A rung that is trained again counts again, from the rung below it."""
        report, seconds = event.report, event.seconds or 0.0
        trains = self._stage_of[report.run_key] in TRAINED  # a test reports its model's tokens
        rungs = self._tokens_at.setdefault(report.run_key, {})
        before = max((t for rung, t in rungs.items() if rung < report.rung), default=0)
        for tally in self._tallies(report.run_key):
            tally.tokens += max(0, report.tokens - before) if trains else 0
            tally.cpu_seconds += self._cpus * seconds
            tally.gpu_seconds += self._gpus * seconds
        rungs[report.rung] = report.tokens

    def _tallies(self, run_key: str) -> tuple[_Tally, ...]:
        searching = self._stage_of[run_key] is Stage.SEARCH
        return (self._search, self._all) if searching else (self._all,)


def reserved_tokens(
    jobs: Iterable[Job], runs: Mapping[str, RunState], *, to_the_end: bool = False
) -> int:
    """Tokens that running search trials still train up to their next rung.

    Args:
        to_the_end: Without early stopping no trial ends before its full budget.

    A budget in examples is counted in tokens by the rate of the trials so far, and as nothing
    before there is one.
    """
    total = 0.0
    for job in jobs:
        request = job.request
        if job.purpose != "search" or not isinstance(request, TrainRequest):
            continue
        run = runs.get(job.run_key)
        last = run.last_report if run else None
        if last is not None and last.stopped_early is not None:
            continue  # its later rungs train nothing
        target = float(request.config.rungs[-1 if to_the_end else request.rung])
        if request.config.budget_unit == "examples":
            target *= _tokens_per_example(runs.values())
        total += max(0.0, target - (last.tokens if last else 0))
    return round(total)


def reached(
    limits: LimitsSpec, spent: Spent, *, gpu_hour_usd: float | None, reserved: int = 0
) -> Reached | None:
    """The first limit, in the order of the spec's keys, that is used up.

    Args:
        reserved: Tokens that are under way (`reserved_tokens`).
    """
    used = {
        "trials": spent.trials,
        "tokens": spent.tokens + reserved,
        "hours": spent.hours,
        "gpu_hours": spent.gpu_hours,
        "usd": spent.usd(gpu_hour_usd),
    }
    for name, allowed in limits.model_dump(exclude_none=True).items():
        value = used[name]
        if value is not None and value >= allowed:
            return Reached(name, allowed, value)
    return None


def costs(spent: Spent, gpu_hour_usd: float | None) -> dict[str, float]:
    """As metrics of the sweep's own run; money only where there is a price."""
    found = {
        METRIC_TRIALS: float(spent.trials),
        METRIC_TOKENS: float(spent.tokens),
        METRIC_CPU_HOURS: spent.cpu_hours,
        METRIC_GPU_HOURS: spent.gpu_hours,
    }
    usd = spent.usd(gpu_hour_usd)
    return found if usd is None else found | {METRIC_USD: usd}


def spent_text(spent: Spent, gpu_hour_usd: float | None) -> str:
    """For the last lines of a run: `34 trials, 1.2M tokens, 3.1 h, 12 GPU-hours, $30`."""
    parts = [f"{spent.trials} trials", f"{human_count(spent.tokens)} tokens"]
    if spent.hours:
        parts.append(f"{human_count(spent.hours)} h")
    if spent.gpu_hours:
        parts.append(f"{human_count(spent.gpu_hours)} GPU-hours")
        usd = spent.usd(gpu_hour_usd)
        parts += [] if usd is None else [human_usd(usd)]
    elif spent.cpu_hours:
        parts.append(f"{human_count(spent.cpu_hours)} CPU-hours")
    return ", ".join(parts)


@dataclass(frozen=True)
class Planned:
    """What the search would take without limits; None: not known."""

    trials: int
    tokens: int
    hours: float
    gpu_hours: float | None = None
    usd: float | None = None


def limit_lines(limits: LimitsSpec, planned: Planned) -> list[str]:
    """One line a limit, for the plan: which of them would end the search before its end."""
    lines = []
    for name, allowed in limits.model_dump(exclude_none=True).items():
        shown = {"usd": human_usd}.get(name, human_count)
        needed: float | None = getattr(planned, name)
        what = f"limit   {name} {shown(allowed)}:"
        if needed is None:
            lines.append(f"{what} what the search takes of it is not known")
        elif needed > allowed:
            lines.append(f"{what} the search would take {shown(needed)}, so it ends there")
        else:
            lines.append(f"{what} the search takes {shown(needed)}")
    return lines


def _tokens_per_example(runs: Iterable[RunState]) -> float:
    reports = [r.last_report for r in runs if r.last_report is not None and r.last_report.examples]
    examples = sum(r.examples for r in reports)
    return sum(r.tokens for r in reports) / examples if examples else 0.0
