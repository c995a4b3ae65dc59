"""This process among those that train one run together."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed
from torch.distributed import distributed_c10d

from keepgain.core.launch import COLLECTIVE_SECONDS, PORT_TAKEN

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A rank of `world` ranks; alone, everything here does nothing."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """True of the one rank that writes files."""
        return self.rank == 0

    def share(self, values: Sequence[T]) -> list[T]:
        """This rank's part of a batch: every `world`-th, so that no rank has the long rows."""
        return list(values[self.rank :: self.world])

    def sums(self, values: Sequence[float]) -> list[float]:
        """Each value summed over the ranks; collective."""
        if self.world == 1:
            return list(values)
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        total = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(total)
        return list(total.tolist())

    def told(self, text: str | None) -> str:
        """What the leading rank says, on every rank; collective."""
        said = [text]
        if self.world > 1:
            torch.distributed.broadcast_object_list(said, src=0)
        assert said[0] is not None
        return said[0]

    def wait(self) -> None:
        """Returns when all ranks are here."""
        if self.world > 1:
            torch.distributed.barrier()


ALONE = Place()


def this_place() -> Place:
    """As whoever started the ranks has said (`torch.distributed`'s environment variables)."""
    return Place(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def meeting() -> Iterator[timedelta]:
    """Around the first meeting of the ranks: how long each waits for the others, then and later.

    Where rank 0 cannot listen on the port that was chosen for it, the process ends with
    `PORT_TAKEN`: all ranks must be told of another one.
    """
    seconds = float(os.environ.get(COLLECTIVE_SECONDS, "1800"))
    limit = timedelta(seconds=seconds)
    # DeepSpeed makes groups of its own without a limit; they take torch's default.
    distributed_c10d.default_pg_timeout = limit
    distributed_c10d.default_pg_nccl_timeout = limit
    try:
        yield limit
    except torch.distributed.DistNetworkError as error:
        if "EADDRINUSE" not in str(error):
            raise
        sys.exit(PORT_TAKEN)
