"""Our side of `syne_tune_server.py`."""

import json
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from front import Point
from grid import LEARNING_RATES, METHODS, REPLAY_SHARES, SYNTHETIC_SHARES

from keepgain.core.errors import UserError

SERVER = Path(__file__).parent / "syne_tune_server.py"
AXES = {
    "method": METHODS,
    "learning_rate": LEARNING_RATES,
    "replay_share": REPLAY_SHARES,
    "synthetic_share": SYNTHETIC_SHARES,
}
MAX_UNITS = 9


class SyneTune:
    """A server process; it ends with this one."""

    def __init__(self, python: Path) -> None:
        settings = json.dumps({"axes": AXES, "max_units": MAX_UNITS})
        self._process = subprocess.Popen(
            [str(python), str(SERVER), settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def shared(python: Path | None) -> "SyneTune":
        """One for each process of ours: its start takes seconds.

        Raises:
            UserError: There is no such environment.
        """
        if python is None or not python.exists():
            raise UserError(
                "Syne Tune's arms need an environment of their own.",
                where=str(python),
                hint="Make it: benchmarks/search/syne_tune_env.sh FOLDER, and give "
                "--syne-tune FOLDER/bin/python.",
            )
        return _shared(python)

    def begin(self, seed: int, models: Sequence[str]) -> None:
        """A new sweep."""
        self._ask({"op": "begin", "seed": seed, "models": list(models)})

    def suggest(self, model: str) -> dict[str, Any]:
        """A configuration."""
        return self._ask({"op": "suggest", "model": model})

    def result(self, model: str, trial_id: str, units: int, point: Point) -> bool:
        """Whether the trial goes on."""
        told = {"gain": point.gain, "forgetting": point.forgetting}
        reply = self._ask(
            {"op": "result", "model": model, "trial": trial_id, "units": units, **told}
        )
        return bool(reply["goes_on"])

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        reply: dict[str, Any] = json.loads(stdout.readline() or "null")
        assert reply is not None, "Syne Tune's process has ended; see its message above"
        return reply


@lru_cache(maxsize=1)
def _shared(python: Path) -> SyneTune:
    return SyneTune(python)
