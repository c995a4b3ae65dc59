"""Says once that trials wait for nodes that the cluster has no more."""

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from keepgain.cluster.placement import Node, refusal, trials_that_fit
from keepgain.cluster.ray_cluster import live_nodes
from keepgain.core.launch import Footprint

LOOK_SECONDS = 5.0
PATIENCE_SECONDS = 120.0
"""Longer than a node takes that is being replaced, and than the start of a trial."""


class WaitingNotice(Callback):
    """Tune waits in silence for ever; people should know what for.

    Args:
        say: Gets one line when no trial has run for `patience` seconds and none fits any more, and
            one when trials run again.
    """

    def __init__(
        self,
        footprint: Footprint,
        say: Callable[[str], None],
        nodes: Callable[[], tuple[Node, ...]] = live_nodes,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._footprint = footprint
        self._say = say
        self._nodes = nodes
        self._clock = clock
        self._patience = patience
        self._looked = self._ran = clock()
        self._said = False

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        now = self._clock()
        if now < self._looked + LOOK_SECONDS:
            return
        self._looked = now
        states = {trial.status for trial in trials}
        if "RUNNING" in states or "PENDING" not in states:
            if self._said and "RUNNING" in states:
                self._say("trials run again")
                self._said = False
            self._ran = now
        elif not self._said and now >= self._ran + self._patience:
            nodes = self._nodes()
            if trials_that_fit(nodes, self._footprint) == 0:
                self._said = True
                why = refusal(nodes, self._footprint).problem
                self._say(
                    f"warning: no trial has run for {now - self._ran:.0f} s and none fits: {why} "
                    "The sweep waits for nodes; stop it (Ctrl-C) to change `resources`."
                )

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; what this one holds stays here."""
        return {}
