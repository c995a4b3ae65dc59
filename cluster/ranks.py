"""The ranks of one worker: started together, asked together, ended together.

Where a rank runs is its seat: this process, which starts it as a child, or an actor on another
node (see `cluster.rank_actor`), which does the same there.
"""

import select
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from keepgain.cluster.process import WorkerLost, WorkerProcess
from keepgain.core.launch import PORT_TAKEN, LaunchSpec, free_port

LOOPBACK = "127.0.0.1"
LOOK_SECONDS = 0.2
"""How often ranks on other nodes are asked whether they have answered."""
PORT_SECONDS = 2.0
"""From the loss of a rank to that of rank 0, where both are lost because the port was taken."""
PORT_ATTEMPTS = 3
"""Between choosing a free port and listening on it, somebody else may have taken it."""


@dataclass(frozen=True)
class Place:
    """Where a rank runs."""

    node: str = ""
    """Of Ray's node: two of them may be on one machine and share its address."""
    ip: str = LOOPBACK
    gpus: tuple[str, ...] = ()
    """As Ray has assigned them; empty: all that this process sees, one a rank."""
    interface: str | None = None
    """Network interface of the address; None: gloo finds one."""


class Rank(Protocol):
    """A process that answers; see `WorkerProcess`."""

    @property
    def pid(self) -> int: ...
    @property
    def is_silent(self) -> bool: ...
    def send(self, message: dict[str, Any]) -> None: ...
    def receive(self) -> Any | None: ...
    def close(self) -> None: ...
    def kill(self) -> None: ...


class RemoteRank(Rank, Protocol):
    """A rank that `select` cannot watch."""

    def has_reply(self) -> bool: ...


class Seat(Protocol):
    """Somewhere to start a rank."""

    @property
    def place(self) -> Place: ...
    def start(self, spec: LaunchSpec, env: dict[str, str]) -> WorkerProcess | RemoteRank: ...


@dataclass(frozen=True)
class OwnSeat:
    """Below this very process."""

    place: Place = Place()

    def start(self, spec: LaunchSpec, env: dict[str, str]) -> WorkerProcess:
        """A child of this process."""
        return WorkerProcess(spec, env)


def own_seats(world_size: int) -> Sequence[Seat]:
    """All ranks below this process, on the loopback."""
    return [OwnSeat()] * world_size


class Ranks:
    """`spec.world_size` processes that find one another on a free port of rank 0's node.

    Args:
        seats: Gives as many seats as it is asked for, rank 0's first; called again when all have to
            be started anew.

    Raises:
        WorkerLost: A node was lost meanwhile.
    """

    def __init__(
        self, spec: LaunchSpec, seats: Callable[[int], Sequence[Seat]] = own_seats
    ) -> None:
        self._spec = spec
        self._seats = seats
        self._ranks: list[WorkerProcess | RemoteRank] = []
        self._start()

    @property
    def pid(self) -> int:
        """Process id of rank 0."""
        return self._ranks[0].pid

    def request(
        self,
        message: dict[str, Any],
        failed: Callable[[Any], bool] = lambda reply: False,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Sends one message to all ranks and waits for all replies.

        Args:
            failed: Says of a reply that this rank did not do its part. The others may wait for it
                in vain, so all ranks are then killed.

        Returns:
            Rank 0's reply, or that of the first rank that failed.

        Raises:
            WorkerLost: A rank ended before it answered, gave no sign of life for
                `spec.hang_seconds`, or the time ran out (a late answer would be taken for the next
                one's); all are killed.
        """
        for left in reversed(range(PORT_ATTEMPTS)):
            try:
                return self._ask(message, failed, timeout_seconds)
            except WorkerLost as lost:
                self.kill()
                if lost.process_code != PORT_TAKEN or not left:
                    raise
                self._start()
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """Closes their inputs and waits for them; all are gone when this returns."""
        for rank in self._ranks:
            rank.close()

    def kill(self) -> None:
        """Ends all at once."""
        for rank in self._ranks:
            rank.kill()

    def _start(self) -> None:
        seats = self._seats(self._spec.world_size)
        places = [seat.place for seat in seats]
        self._ranks = []
        try:
            envs = rank_environments(places, free_port())
            for number, (seat, env) in enumerate(zip(seats, envs, strict=True)):
                self._ranks.append(seat.start(self._logging(number, places), env))
        except WorkerLost:
            self.kill()
            raise

    def _logging(self, number: int, places: Sequence[Place]) -> LaunchSpec:
        """Several machines cannot append to one file of a shared folder."""
        path = self._spec.log_path
        if path is None or len({p.node for p in places}) == 1:
            return self._spec
        own = Path(path).with_stem(f"{Path(path).stem}-rank{number}")
        return self._spec.model_copy(update={"log_path": str(own)})

    def _ask(
        self,
        message: dict[str, Any],
        failed: Callable[[Any], bool],
        timeout_seconds: float | None,
    ) -> Any:
        waiting = dict(enumerate(self._ranks))
        first: Any = None
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for rank in self._ranks:
            rank.send(message)
        while waiting:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = _ready(list(waiting.values()), left)
            for number in [n for n, r in waiting.items() if r in ready]:
                reply = self._reply_of(number)
                if reply is None:
                    continue
                if failed(reply):
                    if len(self._ranks) > 1:
                        self.kill()
                    return reply
                first = reply if number == 0 else first
                del waiting[number]
            if waiting:
                self._check(waiting, left, timeout_seconds)
        return first

    def _reply_of(self, number: int) -> Any | None:
        try:
            return self._ranks[number].receive()
        except WorkerLost as lost:
            if len(self._ranks) == 1:
                raise
            code = PORT_TAKEN if number and self._port_was_taken() else lost.process_code
            raise WorkerLost(f"rank {number}: {lost}", code) from None

    def _port_was_taken(self) -> bool:
        """Of a rank that could not reach rank 0: whether that one is ending because of its port.
        Whoever has the port may have refused this rank before rank 0 said so."""
        deadline = time.monotonic() + PORT_SECONDS
        while not _ready(self._ranks[:1], PORT_SECONDS):
            if time.monotonic() > deadline:
                return False
        try:
            self._ranks[0].receive()
        except WorkerLost as lost:
            return lost.process_code == PORT_TAKEN
        return False

    def _check(self, waiting: dict[int, Any], left: float | None, limit: float | None) -> None:
        if left is not None and left <= 0:
            late = ", ".join(f"rank {n}" for n in waiting)
            raise WorkerLost(f"no answer of {late} within {limit} s; the worker was killed")
        silent = ", ".join(f"rank {n}" for n, rank in waiting.items() if rank.is_silent)
        if silent:
            seconds = self._spec.hang_seconds
            raise WorkerLost(
                f"no sign of life of {silent} for {seconds:g} s; the worker was killed"
            )


def _ready(ranks: Sequence[WorkerProcess | RemoteRank], left: float | None) -> list[Any]:
    """Those that have something to read, after at most a second."""
    own = [r for r in ranks if isinstance(r, WorkerProcess)]
    far = [r for r in ranks if not isinstance(r, WorkerProcess)]
    seconds = min(LOOK_SECONDS if far else 1.0, 1.0 if left is None else left)
    found, _, _ = select.select(own, [], [], seconds)
    return [*found, *(r for r in far if r.has_reply())]


def rank_environments(places: Sequence[Place], port: int) -> list[dict[str, str]]:
    """What torch.distributed reads, rank by rank; nothing for a single process.

    A rank's own GPU is the one at its local rank, as with `torchrun`.
    """
    if len(places) == 1:
        return [{}]
    on_node = Counter(place.node for place in places)
    address = LOOPBACK if len(on_node) == 1 else places[0].ip
    before: Counter[str] = Counter()
    found = []
    for rank, place in enumerate(places):
        env = {
            "RANK": str(rank),
            "LOCAL_RANK": str(before[place.node]),
            "WORLD_SIZE": str(len(places)),
            "LOCAL_WORLD_SIZE": str(on_node[place.node]),
            "LOCAL_SIZE": str(on_node[place.node]),
            "MASTER_ADDR": address,
            "MASTER_PORT": str(port),
        }
        gpus = [gpu for other in places if other.node == place.node for gpu in other.gpus]
        if gpus:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        if place.interface is not None:
            env["GLOO_SOCKET_IFNAME"] = place.interface
        before[place.node] += 1
        found.append(env)
    return found
