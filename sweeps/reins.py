"""What people's commands do to a running sweep: `steering.Steerable` on a program."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from keepgain.core.errors import UserError
from keepgain.core.status import Stage
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.given import raw_of
from keepgain.sweeps.search.stratified import StratifiedSearch
from keepgain.sweeps.steering import Listed


class Driven(Protocol):
    """What the reins need of a program."""

    prepared: Prepared
    search: StratifiedSearch

    @property
    def stage(self) -> Stage:
        """The one that runs now."""
        ...

    def prune(self, run_key: str, reason: str) -> str | None:
        """Ends a trial; says when. None: no such trial is open."""
        ...

    def draws_added(self) -> None:
        """The generation that is open has more draws."""
        ...


def _as_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@dataclass
class Reins:
    """Holds what was commanded; the program looks at it."""

    program: Driven
    interrupt: Callable[[], None] = _as_ctrl_c
    """Ends the driver in order."""
    stopped_by: str | None = field(default=None, init=False)
    paused: bool = field(default=False, init=False)

    def stop(self, by: str) -> str:
        """See `Steerable`."""
        if self.stopped_by is None:  # a second Ctrl-C would end the driver without order
            self.stopped_by = by
            self.interrupt()
        return "the driver stops; what runs is interrupted, and `sweep run` continues it"

    def stop_trial(self, run_key: str, by: str) -> str:
        """See `Steerable`."""
        when = self.program.prune(run_key, f"stopped by {by}")
        if when is None:
            raise UserError(f"trial {run_key} is not open any more.")
        return f"trial {run_key} ends {when}"

    def pause(self, by: str) -> str:
        """See `Steerable`."""
        if self.paused:
            return "it is paused already"
        self.paused = True
        return "nothing new begins; what runs finishes its rung (`sweep resume` goes on)"

    def resume(self) -> str:
        """See `Steerable`."""
        if not self.paused:
            return "it was not paused"
        self.paused = False
        return "it goes on"

    def add(self, configs: tuple[Listed, ...]) -> str:
        """All of them or none: each is checked before the first is taken."""
        search = self.program.search
        if self.program.stage not in (Stage.BASE, Stage.SEARCH):
            raise UserError("the search of this sweep has ended, and nothing is added to it.")
        for config in configs:
            settings = search.design.space.resolve(raw_of(search.design.space, config.params))
            self.program.prepared.shares_of(config.model, settings)  # within limits on repeats
        for config in configs:
            search.enqueue(config.model, config.params)
        self.program.draws_added()
        return f"{len(configs)} trial{'s' * (len(configs) != 1)} to be tried next"
