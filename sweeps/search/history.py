"""What a ledger says to a search that takes it up: what was given, asked and told, in order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keepgain.core.status import Stage
from keepgain.sweeps.search.ledger import Asked, Event, Finished, Retried, SearchStarted, Steered


@dataclass(frozen=True)
class Given:
    """A configuration that a person had added."""

    model: str
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """The search learned the end of a run."""

    run_key: str
    stays_failed: bool
    """It was tried again after the sampler had drawn on its failure: for the sampler it failed."""


def history(events: Sequence[Event]) -> Iterator[SearchStarted | Given | Asked | Ended]:
    """The events that concern a search, as it met them.

    A run that was tried again ended when it ended last, or, where its failure stays, when it failed
    first. A draw that turns out to be a run which had ended before (two settings can mean the same
    trial) ends as soon as it is asked for.
    """
    stays_failed = {e.run_key for e in events if isinstance(e, Retried) and e.told}
    ends: dict[str, int] = {}
    for position, event in enumerate(events):
        if isinstance(event, Finished):
            if event.run_key not in stays_failed:
                ends[event.run_key] = position
            elif event.status.is_final:
                ends.setdefault(event.run_key, position)
    for position, event in enumerate(events):
        match event:
            case SearchStarted():
                yield event
            case Steered():
                for config in event.configs:
                    yield Given(config["model"], config["params"])
            case Asked() if _is_draw(event):
                yield event
                if position > ends.get(event.run_key, len(events)):
                    yield Ended(event.run_key, event.run_key in stays_failed)
            case Finished() if position == ends.get(event.run_key):
                yield Ended(event.run_key, event.run_key in stays_failed)
            case _:
                pass


def _is_draw(asked: Asked) -> bool:
    return asked.stage is Stage.SEARCH and asked.kind == "trial" and asked.number is not None
