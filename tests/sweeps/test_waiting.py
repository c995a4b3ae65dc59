"""The notice that trials wait for nodes which the cluster has no more."""

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from keepgain.cluster.placement import Node
from keepgain.core.launch import Footprint, ResourceRequest
from keepgain.sweeps.waiting import WaitingNotice

FOUR_CPUS = Footprint(bundle=ResourceRequest(cpus=2), bundles=2, placement="strict_spread")


class World:
    """A notice, its clock and its cluster."""

    def __init__(self) -> None:
        self.now = 0.0
        self.nodes: tuple[Node, ...] = (Node(2), Node(2))
        self.said: list[str] = []
        self.notice = WaitingNotice(
            FOUR_CPUS, self.said.append, lambda: self.nodes, lambda: self.now, patience=120
        )

    def seconds(self, count: int, *states: str) -> None:
        trials: list[Any] = [SimpleNamespace(status=state) for state in states]
        for _ in range(count):
            self.now += 1
            self.notice.on_step_end(1, trials)


@pytest.mark.fault("P7", "P14")
def test_it_is_said_once_that_nothing_fits_any_more_and_once_that_it_does_again() -> None:
    world = World()
    world.seconds(300, "RUNNING", "PENDING")
    world.nodes = (Node(2),)
    world.seconds(110, "PENDING", "PAUSED")
    assert not world.said
    world.seconds(600, "PENDING", "PAUSED")
    (warning,) = world.said
    assert "none fits: a trial needs 2 workers × 2 CPUs = 4 CPUs on 2 different nodes" in warning
    assert "the cluster has 2 CPUs" in warning
    world.seconds(10, "RUNNING")
    assert world.said[1:] == ["trials run again"]


def test_what_only_waits_for_its_turn_is_not_announced() -> None:
    world = World()
    world.seconds(600, "PENDING")
    world.nodes = ()
    world.seconds(600, "PAUSED", "TERMINATED")
    assert not world.said


def test_tune_can_pickle_it() -> None:
    assert isinstance(pickle.loads(pickle.dumps(World().notice)), WaitingNotice)
