"""Ranks on the other bundles of a trial's placement group, each behind a small Ray actor.

The actors belong to the trial's own: they end with it, their processes with them (Linux:
parent-death signal), and the placement group, which Tune has made, with the trial.
"""

import fcntl
import os
import select
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from keepgain.cluster.process import WorkerLost, WorkerProcess
from keepgain.cluster.ranks import OwnSeat, Place, Seat, own_seats
from keepgain.core.launch import LaunchSpec

START_SECONDS = 300.0
"""Longest start of the actors of a trial, whose resources are reserved already."""
CLOSE_SECONDS = 10.0
_SIOCGIFADDR = 0x8915


class RankActor:
    """Owns the process of one rank, on the node of its bundle."""

    def __init__(self) -> None:
        self._process: WorkerProcess | None = None

    def place(self) -> Place:
        """Where it is."""
        return this_place()

    def start(self, spec: LaunchSpec, env: dict[str, str]) -> int:
        """Starts the process; returns its id."""
        self._process = WorkerProcess(spec, env)
        return self._process.pid

    def ask(self, message: dict[str, Any]) -> tuple[Any, str | None, int | None]:
        """The reply; or None, why the rank is lost, and the code it ended with."""
        rank = self._process
        assert rank is not None, "started before it is asked"
        try:
            rank.send(message)
            while True:
                ready, _, _ = select.select([rank], [], [], 1.0)
                reply = rank.receive() if ready else None
                if reply is not None:
                    return reply, None, None
                if rank.is_silent:
                    rank.kill()
                    return None, f"no sign of life for {rank.silent_seconds:.0f} s", None
        except WorkerLost as lost:
            return None, str(lost), lost.process_code

    def close(self) -> None:
        """See `WorkerProcess.close`."""
        if self._process is not None:
            self._process.close()


class ActorRank:
    """A rank behind a `RankActor`; see `ranks.RemoteRank`."""

    is_silent = False
    """Its actor watches it."""

    def __init__(self, actor: Any, place: Place, pid: int) -> None:
        self._actor = actor
        self._place = place
        self.pid = pid
        self._reply: Any = None

    def send(self, message: dict[str, Any]) -> None:
        """As `WorkerProcess.send`; a loss shows in `receive`."""
        self._reply = self._actor.ask.remote(message)

    def has_reply(self) -> bool:
        """Whether `receive` has something to say."""
        import ray

        ready, _ = ray.wait([self._reply], timeout=0)
        return bool(ready)

    def receive(self) -> Any:
        """See `WorkerProcess.receive`."""
        reply, lost, code = _answer(self._reply, f"node {self._place.ip}", None)
        if lost is not None:
            raise WorkerLost(f"{lost} (on {self._place.ip})", code)
        return reply

    def close(self) -> None:
        """See `WorkerProcess.close`."""
        with suppress(WorkerLost):  # gone already, which is what we want
            _answer(self._actor.close.remote(), "", CLOSE_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Ends the actor and with it the process, at once."""
        import ray

        ray.kill(self._actor)


@dataclass(frozen=True)
class ActorSeat:
    """On the node of an actor."""

    actor: Any
    place: Place

    def start(self, spec: LaunchSpec, env: dict[str, str]) -> ActorRank:
        """Raises WorkerLost if the node is lost."""
        pid = _answer(self.actor.start.remote(spec, env), f"node {self.place.ip}", START_SECONDS)
        return ActorRank(self.actor, self.place, pid)


def trial_seats(world_size: int) -> Sequence[Seat]:
    """One seat a bundle of the placement group that this actor runs in: this process is in the
    first. Where there is one bundle for all, or no Ray, all ranks are below this process.

    Ranks of a node follow one another.

    Raises:
        WorkerLost: A node of the group was lost.
    """
    import ray

    group = ray.util.get_current_placement_group() if ray.is_initialized() else None
    bundles = group.bundle_specs if group is not None else []
    if world_size == 1 or len(bundles) <= 1:
        return own_seats(world_size)
    assert len(bundles) == world_size, f"{world_size} ranks on {len(bundles)} bundles"
    actors = [_actor(group, index, bundle) for index, bundle in enumerate(bundles) if index]
    try:
        places = [_answer(a.place.remote(), "another node", START_SECONDS) for a in actors]
    except WorkerLost:
        for actor in actors:
            ray.kill(actor)
        raise
    own = this_place()
    nodes = list(dict.fromkeys([own.node, *(p.node for p in places)]))
    seats = [ActorSeat(a, p) for a, p in zip(actors, places, strict=True)]
    return [OwnSeat(own), *sorted(seats, key=lambda seat: nodes.index(seat.place.node))]


def this_place() -> Place:
    """Of the Ray worker that calls."""
    import ray

    context = ray.get_runtime_context()
    ip = ray.util.get_node_ip_address()
    # What a person has set for the whole node stands.
    interface = None if "GLOO_SOCKET_IFNAME" in os.environ else interface_of(ip)
    gpus = context.get_accelerator_ids().get("GPU", [])
    return Place(context.get_node_id(), ip, tuple(map(str, gpus)), interface)


def interface_of(ip: str) -> str | None:
    """Name of the network interface that has an IPv4 address; None: not known.

    Gloo looks up the host's name, which many images resolve to the loopback: other nodes then wait
    for it in vain.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address
                record = struct.pack("256s", name.encode()[:15])
                found = fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, record)[20:24]
                if socket.inet_ntoa(found) == ip:
                    return name
    return None


def _actor(group: Any, index: int, bundle: dict[str, float]) -> Any:
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    return (
        ray.remote(RankActor)
        .options(
            num_cpus=bundle.get("CPU", 0),
            num_gpus=bundle.get("GPU", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                group, placement_group_bundle_index=index
            ),
        )
        .remote()
    )


def _answer(reference: Any, who: str, seconds: float | None) -> Any:
    """Raises WorkerLost where an actor or its node is gone, or does not answer in time."""
    import ray

    try:
        return ray.get(reference, timeout=seconds)
    except ray.exceptions.RayTaskError:
        raise  # a fault of ours
    except ray.exceptions.GetTimeoutError:
        raise WorkerLost(f"{who} did not answer within {seconds:g} s") from None
    except ray.exceptions.RayError as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WorkerLost(f"{who} was lost ({said})") from None
