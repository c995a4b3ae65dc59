"""`progress.jsonl`: what a trainer of the user's own says of its run while it runs.

A line is a JSON object with `tokens` (training tokens so far) and any numbers beside it: `loss`,
`examples`, `learning_rate`, ... They become the curves `train/NAME`. What cannot be read is left
out and counted; a loss that is not finite ends the trial, as in Keepgain's own loop.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keepgain.core.config import TrialConfig
from keepgain.core.errors import TrialFailure

PROGRESS = "progress.jsonl"
POINTS = 200
"""At most about so many points of each curve over the full budget."""
MOST_TOKENS = 10**15
"""A step of a curve must fit in 64 bits."""
TOLERANCE = 0.1
"""Of the tokens: sweeps call effort equal within this."""
_NAME = re.compile(r"[\w ./-]{1,100}", re.ASCII)


class Curves:
    """Reads the file as it grows.

    Args:
        path: It need not be there.
        on_point: Called with training tokens and values at each point.
    """

    def __init__(
        self,
        path: Path,
        config: TrialConfig,
        on_point: Callable[[int, Mapping[str, float]], None],
    ) -> None:
        self._path = path
        self._config = config
        self._on_point = on_point
        self._offset = 0
        self._left_out: Counter[str] = Counter()
        self._reached = -1
        self._pending: tuple[int, dict[str, float]] | None = None
        self.tokens: int | None = None
        """Of the last line; None: there was none."""
        self.examples: int | None = None
        self.last_loss: float | None = None

    @property
    def spent_tokens(self) -> int:
        """Measured, else asked; 0 where the budget is in examples and nothing was measured."""
        return self.tokens if self.tokens is not None else self._asked("tokens")

    @property
    def spent_examples(self) -> int:
        """As `spent_tokens`, of rows."""
        return self.examples if self.examples is not None else self._asked("examples")

    def _asked(self, unit: str) -> int:
        return self._config.budget if self._config.budget_unit == unit else 0

    def look(self, *, ended: bool = False) -> None:
        """Takes the new lines.

        Args:
            ended: Nothing more comes, so that a last line needs no line break.

        Raises:
            TrialFailure: `nan`, if a loss is not finite.
        """
        if not self._path.is_file():
            return
        with self._path.open("rb") as handle:
            handle.seek(self._offset)
            new = handle.read()
        whole = new if ended else new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            if line.strip():
                self._take(line)
        if ended and self._pending is not None:
            self._on_point(*self._pending)

    def warnings(self) -> list[str]:
        """What the reader of the run should know."""
        said = [f"{n} of progress.jsonl {what}" for what, n in self._left_out.items()]
        config = self._config
        spent = self.tokens if config.budget_unit == "tokens" else self.examples
        unit = config.budget_unit
        if spent is None:
            said.append(f"{unit} as asked, not as measured: the last line of progress.jsonl has "
                        "none")  # fmt: skip
        elif abs(spent - config.budget) > TOLERANCE * config.budget:
            said.append(f"the trainer spent {spent} of a budget of {config.budget} {unit}")
        if config.budget_unit == "examples" and self.tokens is None:
            said.append("training tokens are not known")
        return said

    def _take(self, line: bytes) -> None:
        try:
            read = json.loads(line)
        except (ValueError, RecursionError):
            read = None
        tokens = _count(read.get("tokens")) if isinstance(read, dict) else None
        if tokens is None:
            self._left_out["lines could not be read: no JSON object with `tokens`"] += 1
            return
        assert isinstance(read, dict)
        values: dict[str, float] = {}
        for name, given in read.items():
            if name in ("tokens", "examples"):
                continue
            value = _number(given)
            if name == "loss" and value is not None and not math.isfinite(value):
                raise TrialFailure("nan", f"the loss is {value} at {tokens} tokens")
            if value is None or not math.isfinite(value) or not _NAME.fullmatch(name):
                self._left_out[f"values were left out: '{name[:40]}' is no finite number"] += 1
                continue
            values[f"train/{name}"] = value
        self.tokens = tokens
        self.examples = _count(read.get("examples"))
        self.last_loss = values.get("train/loss", self.last_loss)
        if values:
            self._point(tokens, values)

    def _point(self, tokens: int, values: dict[str, float]) -> None:
        """A trainer may write a line a step; a curve needs fewer."""
        spent = tokens if self._config.budget_unit == "tokens" else self.examples
        place = None if spent is None else spent * POINTS // self._config.budget
        if place is not None and place == self._reached:
            self._pending = (tokens, values)
            return
        self._reached = -1 if place is None else place
        self._pending = None
        self._on_point(tokens, values)


def _count(given: Any) -> int | None:
    number = _number(given)
    if number is None or not 0 <= number <= MOST_TOKENS or number != int(number):
        return None
    return int(number)


def _number(given: Any) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    try:
        return float(given)
    except OverflowError:
        return math.inf
