"""How far a check is: a bar in a terminal, lines elsewhere; short checks are silent."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from keepgain.core.units import human_seconds

LARGE_ROWS = 20_000
"""Below, a check takes a few seconds and nothing is said of it."""
LINE_SECONDS = 30.0
"""Between lines, where there is no terminal."""
SLOW_SECONDS = 5.0
"""A gate that took longer is named."""


class CheckProgress:
    """Told by the check what it does.

    Args:
        say: Takes a line, where there is no terminal; None: nothing is shown.
        console: Where a bar is drawn; default: standard error.
    """

    def __init__(self, say: Callable[[str], None] | None, console: Console | None = None) -> None:
        self._say = say
        self._console = console or Console(file=sys.stderr)
        self._large = False

    @contextmanager
    def rows(self, total: int) -> Iterator[Callable[[int], None]]:
        """Of the pass over all rows; gives what is called with each number of rows done."""
        self._large = total >= LARGE_ROWS and self._say is not None
        if not self._large:
            yield lambda _: None
        elif self._console.is_terminal:
            with self._bar() as bar:
                task = bar.add_task("rows", total=total, rate="")
                began = time.monotonic()

                def advance(done: int) -> None:
                    bar.advance(task, done)
                    bar.update(task, rate=_rate(bar.tasks[0].completed, began))

                yield advance
        else:
            yield self._lines(total)

    @contextmanager
    def gate(self, name: str) -> Iterator[None]:
        """Of what a gate makes of all rows."""
        if not self._large or self._say is None:
            yield
            return
        began = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(f"looking at {name}"):
                yield
        else:
            yield
        if (seconds := time.monotonic() - began) > SLOW_SECONDS:
            self._say(f"{name}: {human_seconds(seconds)}")

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("checking {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )

    def _lines(self, total: int) -> Callable[[int], None]:
        assert self._say is not None
        say, began = self._say, time.monotonic()
        done, said = 0, began
        say(f"checking {total:,} rows")

        def advance(rows: int) -> None:
            nonlocal done, said
            done += rows
            if time.monotonic() - said > LINE_SECONDS:
                said = time.monotonic()
                say(f"checking rows: {done / total:.0%}, {_rate(done, began)}")

        return advance


def _rate(rows: float, began: float) -> str:
    return f"{rows / max(time.monotonic() - began, 1e-9):,.0f} rows/s"
