"""A person asks base and tuned model the same things, and flags what should not be.

Answers stand side by side as `a` and `b`: the base and the tuned model, or, blind, in an order that
is drawn anew for each question. A flagged exchange becomes a line of a JSONL file, which is a suite
file for the next sweep once it says what the answer should have been.
"""

import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from keepgain.core.config import Runtime
from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed
from keepgain.core.store.location import StoreLocation
from keepgain.sweeps.export import refuse_other_base
from keepgain.sweeps.iterate import BEST, Start, find_start
from keepgain.sweeps.overview import find_sweep, read_runs

Model = Literal["base", "tuned"]
Ask = Callable[[Model, str], str]
"""Of (who, question): the answer."""
SIDES = ("a", "b")
COMMANDS = ("/flag", "/help", "/quit", "/q")
HELP = (
    "A line is a question to both. /flag CATEGORY [a|b|both] [note] keeps the last exchange, and "
    "asks for the answer that you wanted (an empty line, or a command: none). /quit ends."
)


@dataclass(frozen=True)
class Exchange:
    """A question with both answers."""

    question: str
    answers: dict[Model, str]
    sides: tuple[Model, Model]
    """Who is a, and who is b."""


@dataclass
class Session:
    """One conversation: what was asked, and what was flagged."""

    ask: Ask
    origin: dict[str, str]
    """Goes into every flagged line: which sweep and trial."""
    flags: Path
    say: Callable[[str], None]
    blind: bool = False
    seed: int = 0
    asked: int = 0
    flagged: list[dict[str, Any]] = field(default_factory=list)
    last: Exchange | None = None
    _held: str = ""
    """A command that came in place of a wanted answer."""

    def run(self, lines: Iterable[str]) -> None:
        """Until `/quit`, or the end of the lines; a command that is wrong is told and goes on."""
        given = iter(lines)
        for line in self._each(given):
            text = line.strip()
            if text in ("/quit", "/q"):
                break
            if not text:
                continue
            try:
                self._do(text, given)
            except UserError as error:
                self.say(str(error))
        self.say(self.summary())

    def _each(self, given: Iterator[str]) -> Iterator[str]:
        for line in given:
            yield line
            while self._held:
                line, self._held = self._held, ""
                yield line

    def _do(self, text: str, given: Iterator[str]) -> None:
        if not text.startswith("/"):
            self._question(text)
        elif text.split()[0] == "/flag":
            self._flag(text.split(maxsplit=3)[1:], given)
        else:
            self.say(HELP)

    def _question(self, text: str) -> None:
        sides: tuple[Model, Model] = ("base", "tuned")
        if self.blind:
            draw = random.Random(derive_seed(self.seed, "chat", self.asked))
            sides = ("base", "tuned") if draw.random() < 0.5 else ("tuned", "base")
        self.asked += 1
        answers: dict[Model, str] = {who: self.ask(who, text) for who in ("base", "tuned")}
        self.last = Exchange(text, answers, sides)
        for side, who in zip(SIDES, sides, strict=True):
            name = side if self.blind else f"{side} ({who})"
            self.say(f"{name}: {answers[who] or '(empty)'}")

    def _flag(self, words: list[str], given: Iterator[str]) -> None:
        if self.last is None:
            raise UserError("nothing was asked yet, so there is nothing to flag.")
        if not words:
            raise UserError(
                "/flag needs a category.", hint="Such as `/flag privacy b names a person`."
            )
        named = len(words) > 1 and words[1] in (*SIDES, "both")
        if self.blind and not named:
            raise UserError(
                "say which side is flagged.", hint=f"/flag {words[0]} a, or b, or both."
            )
        side = words[1] if named else "b"
        who = "both" if side == "both" else self.last.sides[SIDES.index(side)]
        self.say("the wanted answer (an empty line: none):")
        wanted = next(given, "").strip()
        if wanted and wanted.split()[0] in COMMANDS:
            self._held, wanted = wanted, ""
        row = {
            "prompt": self.last.question,
            "answer": wanted,
            "category": words[0],
            "flagged": who,
            "note": " ".join(words[2 if named else 1 :]),
            **{f"{name}_answer": text for name, text in self.last.answers.items()},
            "blind": self.blind,
            **self.origin,
        }
        _append(self.flags, json.dumps(row, ensure_ascii=False))
        self.flagged.append(row)
        self.say(f"kept in {self.flags}")

    def summary(self) -> str:
        """How much was asked and flagged, and on which side."""
        said = f"{self.asked} asked, {len(self.flagged)} flagged"
        if not self.flagged:
            return f"{said}."
        count = {who: sum(r["flagged"] == who for r in self.flagged) for who in _WHO}
        said += f": {', '.join(f'{n} {who}' for who, n in count.items() if n)}"
        empty = sum(not r["answer"] for r in self.flagged)
        if empty:
            said += f". {empty} without a wanted answer: a suite needs one in each row"
        return f"{said}. In {self.flags}."


_WHO = ("base", "tuned", "both")


def _append(path: Path, line: str) -> None:
    """Adds a line; an editor may have left the last one without its end."""
    try:
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(line.encode() + b"\n")
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror}).", where=str(path)) from None


def find_pair(location: StoreLocation, sweep: str, trial: str = BEST) -> tuple[Start, Runtime]:
    """The confirmed weights to talk to with their base, and how the sweep scores.

    Args:
        location: The store.
        sweep: Id, or `last`.
        trial: As of `sweeps.iterate.find_start`; `best` is the sweep's decision.

    Raises:
        UserError: No such sweep or trial, or weights or base that are gone.
    """
    folder = find_sweep(location, sweep)
    start = find_start(location.work, f"{folder.name}/{trial}", "--trial")
    for model in {start.base.path: start.base, start.reference.path: start.reference}.values():
        refuse_other_base(model, ", or talk to another trial")
    run = next(
        r
        for r in read_runs(folder)
        if r.last_report is not None
        and r.last_report.model_folder is not None
        and folder / r.last_report.model_folder == start.folder
    )
    return start, Runtime.model_validate(run.asked.config["runtime"])
