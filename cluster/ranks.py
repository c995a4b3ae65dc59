"""The ranks of one worker on this machine: started together, asked together, ended together."""

import select
import time
from collections.abc import Callable
from typing import Any

from keepgain.cluster.process import WorkerLost, WorkerProcess
from keepgain.core.launch import LaunchSpec, free_port


class Ranks:
    """`spec.world_size` processes that find one another on a free port of the loopback."""

    def __init__(self, spec: LaunchSpec) -> None:
        self._ranks: list[WorkerProcess] = []
        for env in rank_environments(spec.world_size):
            self._ranks.append(WorkerProcess(spec, env))

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
            WorkerLost: A rank ended before it answered, or the time ran out (a late answer would
                be taken for the next one's); all are killed.
        """
        waiting = dict(enumerate(self._ranks))
        first: Any = None
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        try:
            for rank in self._ranks:
                rank.send(message)
            while waiting:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                ready, _, _ = select.select(list(waiting.values()), [], [], left)
                if not ready:
                    late = ", ".join(f"rank {n}" for n in waiting)
                    raise WorkerLost(
                        f"no answer of {late} within {timeout_seconds} s; the worker was killed"
                    )
                for number in [n for n, r in waiting.items() if r in ready]:
                    reply = waiting[number].receive()
                    if reply is None:
                        continue
                    if failed(reply):
                        if len(self._ranks) > 1:
                            self.kill()
                        return reply
                    first = reply if number == 0 else first
                    del waiting[number]
        except WorkerLost:
            self.kill()
            raise
        return first

    def close(self) -> None:
        """Closes their inputs and waits for them; all are gone when this returns."""
        for rank in self._ranks:
            rank.close()

    def kill(self) -> None:
        """Ends all at once."""
        for rank in self._ranks:
            rank.kill()


def rank_environments(world_size: int) -> list[dict[str, str]]:
    """What torch.distributed reads, rank by rank; nothing for a single process."""
    if world_size == 1:
        return [{}]
    port = str(free_port())
    return [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world_size),
            "LOCAL_WORLD_SIZE": str(world_size),
            "LOCAL_SIZE": str(world_size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        for rank in range(world_size)
    ]
