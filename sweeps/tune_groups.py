"""Placement groups that Tune gives back only once Ray has settled them.

Tune asks for a group for each trial, and takes the request back milliseconds later where the trial
takes over an actor. Should that reach Ray 2.60 between the two steps of making the group, its
bundles prepared on their nodes and not yet committed, nothing gives them back: these CPUs are lost
to the cluster for as long as it lives (measured, see docs/DECISIONS.md; of the family of
ray-project/ray#64693). So such a group is waited for, a few milliseconds, before it is removed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.air.execution import PlacementGroupResourceManager
from ray.tune.execution import tune_controller

SETTLE_SECONDS = 2.0
"""Longest wait for one group: one that Ray cannot make at all must not hold up the sweep."""
LOOK_SECONDS = 0.005
_MAKING = ("QUEUED", "SCHEDULING_STARTED")


class SettledGroups(PlacementGroupResourceManager):
    """Tune's own manager, which removes no group in the middle of its making."""

    def cancel_resource_request(self, resource_request: Any) -> None:
        """Takes one request back, as Tune's does."""
        self._settle(self._request_to_staged_pgs[resource_request])
        super().cancel_resource_request(resource_request)

    def clear(self) -> None:
        """Removes all groups, as Tune's does."""
        if ray.is_initialized():
            for staged in self._request_to_staged_pgs.values():
                self._settle(staged)
        super().clear()

    def _settle(self, groups: set[Any]) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while any(_is_being_made(group) for group in groups) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)


def _is_being_made(group: Any) -> bool:
    """Ray has begun with it, or is about to: neither made, nor waiting for free resources."""
    found = ray.util.placement_group_table(group)
    state = found.get("state")
    return state == "PREPARED" or (
        state == "PENDING" and found["stats"]["scheduling_state"] in _MAKING
    )


@contextmanager
def settled_groups() -> Iterator[None]:
    """Tuners that run in the context use them: `Tuner` has no argument for it."""
    name = "PlacementGroupResourceManager"
    before = getattr(tune_controller, name)
    setattr(tune_controller, name, SettledGroups)
    try:
        yield
    finally:
        setattr(tune_controller, name, before)
