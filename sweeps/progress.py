"""Progress of a running sweep: a live table in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from keepgain.core.terminal import shown
from keepgain.core.units import human_seconds
from keepgain.sweeps.job import Job

REFRESH_SECONDS = 0.5
LINE_FIGURES = 4
"""Figures in one plain line; the rest is in the record."""


@dataclass
class _Running:
    job: Job
    since: float


@dataclass
class _Stage:
    done: int = 0
    failed: int = 0
    stopped: int = 0
    """Early, at a rung."""
    skipped: int = 0

    @property
    def over(self) -> int:
        return self.done + self.failed + self.stopped + self.skipped


@dataclass
class Progress:
    """Told what happens by the program; draws it. Monotonic clock throughout."""

    title: str
    totals: Mapping[str, int]
    """Expected number of jobs per stage."""
    console: Console = field(default_factory=lambda: Console(file=sys.stdout, highlight=False))

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._running: dict[str, _Running] = {}
        self._stages = {stage: _Stage() for stage in self.totals}
        self._live: Live | None = None
        self._drawn = 0.0

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live = Live(self._table(), console=self.console, auto_refresh=False)
            self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.__exit__(None, None, None)
            self._live = None

    def say(self, text: str) -> None:
        """One line, above the table if there is one."""
        console = self._live.console if self._live else self.console
        console.print(shown(text), markup=False, soft_wrap=True)

    def started(self, job: Job) -> None:
        """The job runs now."""
        self._running[job.run_key] = _Running(job, time.monotonic())

    def ended(self, job: Job, figures: Mapping[str, float], failure: str | None = None) -> None:
        """The job is over; `figures` are the ones to show."""
        self._running.pop(job.run_key, None)
        stage = self._stages[self._column(job)]
        stage.done += failure is None
        stage.failed += failure is not None
        shown = ", ".join(f"{k} {v:.3f}" for k, v in list(figures.items())[:LINE_FIGURES])
        number = f"{stage.over}/{self.totals[self._column(job)]}"
        text = f"FAILED: {failure}" if failure else shown
        self.say(f"[{self._elapsed()}] {self._column(job)} {number}  {job.label}  {text}")

    def paused(self, job: Job) -> None:
        """The job waits at a rung."""
        self._running.pop(job.run_key, None)

    def promoted(self, model: str, rung: int, rungs: int, count: int) -> None:
        """Trials of a base model go on to a rung, counted from 0, of so many."""
        said = f"{count} trial{'s go' if count > 1 else ' goes'} on to rung {rung + 1} of {rungs}"
        self.say(f"[{self._elapsed()}] search  {model}  {said}")

    def stopped(self, job: Job, reason: str) -> None:
        """The job was stopped early."""
        stage = self._stages[self._column(job)]
        stage.stopped += 1
        number = f"{stage.over}/{self.totals[self._column(job)]}"
        self.say(
            f"[{self._elapsed()}] {self._column(job)} {number}  {job.label}  stopped: {reason}"
        )

    def skipped(self, job: Job, why: str) -> None:
        """The job needs no work: done before, or reused."""
        self._stages[self._column(job)].skipped += 1
        self.say(f"[{self._elapsed()}] {self._column(job)}  {job.label}  {why}")

    def expect(self, stage: str, count: int) -> None:
        """The number of jobs of a stage is known better now."""
        self.totals = {**self.totals, stage: count}

    def tick(self) -> None:
        """Redraws the table if it is due."""
        now = time.monotonic()
        if self._live is not None and now - self._drawn > REFRESH_SECONDS:
            self._drawn = now
            self._live.update(self._table(), refresh=True)

    def _column(self, job: Job) -> str:
        return str(job.stage)

    def _elapsed(self) -> str:
        return human_seconds(time.monotonic() - self._began)

    def _table(self) -> Table:
        table = Table(title=f"{self.title}  ({self._elapsed()})", title_justify="left")
        for name in ("stage", "done", "stopped", "failed", "running"):
            table.add_column(name, justify="left" if name in ("stage", "running") else "right")
        now = time.monotonic()
        for name, stage in self._stages.items():
            running = [
                f"{r.job.label} ({human_seconds(now - r.since)})"
                for r in self._running.values()
                if self._column(r.job) == name
            ]
            done = stage.done + stage.skipped
            table.add_row(
                name,
                f"{done}/{self.totals[name]}",
                str(stage.stopped),
                str(stage.failed),
                "\n".join(running),
            )
        return table
