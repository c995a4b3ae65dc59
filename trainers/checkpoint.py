"""Where the checkpoints of a training lie, and how a worker gets at them.

They are published folders (`core.publish`) in the run's own folder, or in the place that the spec
names (`storage.checkpoints`), signed with the sweep's key.
"""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keepgain.core.publish import TEMPORARY, DamagedError, exists, fetch, located, remove, sweep_key
from keepgain.core.work import TrainRequest
from keepgain.trainers.ranks import Place


@dataclass(frozen=True)
class Checkpoints:
    """Of one run, as a job's request names them."""

    request: TrainRequest

    @property
    def sweep(self) -> Path:
        """The sweep's folder."""
        return Path(self.request.sweep_folder)

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.sweep / "runs" / self.request.run_key

    @property
    def key(self) -> bytes:
        """Signs and verifies them."""
        return sweep_key(self.sweep)

    def name(self, rung: int) -> str:
        """As reports name the checkpoint of a rung; see `core.publish.located`."""
        return f"{self.request.checkpoint_base}/checkpoint-r{rung}"

    def at(self, name: str) -> Path | str:
        """The place of a checkpoint that a report names."""
        return located(self.sweep, name)

    def before(self, asked: str) -> list[str]:
        """Those to go on from if `asked` cannot be used, the newest first."""
        own = [self.name(rung) for rung in range(self.request.rung, -1, -1)]
        return [n for n in own if n != asked and exists(self.at(n))]

    def remove(self, keep: str | None) -> None:
        """All but one; the next rung goes on from that."""
        for rung in range(len(self.request.config.rungs)):
            if (name := self.name(rung)) != keep and exists(self.at(name)):
                remove(self.at(name))

    @contextmanager
    def at_hand(self, name: str, place: Place) -> Iterator[Path]:
        """A checkpoint as a folder of files, for as long as the context lasts; collective.

        The leading rank copies one from a URL into the run's folder, which all ranks share.

        Raises:
            DamagedError: Of a URL: it is not there or not whole.
        """
        where = self.at(name)
        if isinstance(where, Path):
            yield where
            return
        copy, problem = self.folder / f"{TEMPORARY}{uuid.uuid4().hex}", None
        if place.leads:
            try:
                fetch(where, copy, key=self.key)
            except DamagedError as error:
                problem = error.problem
        told = place.told(json.dumps([str(copy), problem]) if place.leads else None)
        path, problem = json.loads(told)
        if problem is not None:
            raise DamagedError(problem, where=where)
        try:
            yield Path(path)
            place.wait()
        finally:
            if place.leads:
                shutil.rmtree(path, ignore_errors=True)
