"""A trainer of the user's own trains a trial: called as a program, watched, and ended with us.

It gets `--config FILE --output FOLDER`. The file is the `TrialConfig` as JSON with the run's `seed`
beside it. In the folder it leaves a model (`trainers.left` reads it), and may append lines to
`progress.jsonl` there: `{"tokens": 1200, "loss": 2.3}`, any number beside them. A function
`module:function` is called in a process of its own too: it can then be killed, and leaves nothing
behind in a worker that serves other trials.

    python -m keepgain.trainers.external MODULE:FUNCTION FOLDER --config FILE --output FOLDER

Nothing here imports torch.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.config import TrainerRef, TrialConfig
from keepgain.core.errors import TrialFailure, UserError
from keepgain.core.publish import TEMPORARY, write_json
from keepgain.core.redaction import copy_redacted
from keepgain.core.status import FailureCause
from keepgain.core.users_code import load_function, located
from keepgain.trainers.alive import sign_of_life
from keepgain.trainers.curves import PROGRESS, Curves

MODULE = "keepgain.trainers.external"
CONFIG = "trainer.json"
"""In the run's folder: what the trainer was given."""
LOOK_SECONDS = 0.5
"""Between two looks at `progress.jsonl`."""
SAID_LINES = 3
"""Last lines of the trainer's output that a failure quotes."""
GRACE_SECONDS = 5
"""From the request to end (SIGTERM) to the end (SIGKILL)."""
_MEMORY = ("out of memory", "OutOfMemoryError", "MemoryError", "can't allocate memory")
_DISK = ("No space left on device", "Disk quota exceeded")


@dataclass(frozen=True)
class Trained:
    """What a trainer that ended well has left."""

    output: Path
    curves: Curves
    """What it said while it ran."""
    seconds: float
    """Of the process, its start and loading included."""


@contextmanager
def trained_elsewhere(
    config: TrialConfig,
    seed: int,
    folder: Path,
    log: Path,
    on_point: Callable[[int, Mapping[str, float]], None],
) -> Iterator[Trained]:
    """Trains; what the trainer left is there for the time of the context.

    Args:
        folder: The run's; the trainer works below it, in a temporary folder of its own.
        log: What it prints is appended there.
        on_point: Called with training tokens and values at each point of the curves.

    Raises:
        UserError: It cannot be started.
        TrialFailure: It ended badly, or its loss is not finite (it is then ended).
    """
    trainer = config.trainer
    assert trainer is not None
    work = folder / f"{TEMPORARY}trainer"
    shutil.rmtree(work, ignore_errors=True)
    output, scratch = work / "output", work / "scratch"
    output.mkdir(parents=True)
    scratch.mkdir()
    given = folder / CONFIG
    write_json(given, config.model_dump(mode="json") | {"seed": seed})
    words = [*words_of(trainer), "--config", str(given), "--output", str(output)]
    curves = Curves(output / PROGRESS, config, on_point)
    began = time.monotonic()
    try:
        _run(words, scratch, log, curves)
        yield Trained(output, curves, time.monotonic() - began)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def words_of(trainer: TrainerRef) -> list[str]:
    """The command, with files of the spec's folder named absolutely; `python` is the interpreter
    that Keepgain runs in, wherever the worker has its PATH from."""
    if trainer.function is not None:
        return [sys.executable, "-m", MODULE, trainer.function, trainer.path]
    first, *rest = trainer.command
    if first == "python":
        return [sys.executable, *(_word(word, trainer.path) for word in rest)]
    return [_word(word, trainer.path) for word in trainer.command]


def _word(word: str, folder: str) -> str:
    return str(located(word, folder) or word)


def _run(words: list[str], scratch: Path, log: Path, curves: Curves) -> None:
    kills = _memory_kills()
    with _process_group() as group:
        start = log.stat().st_size if log.exists() else 0
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                env=_environment(),
                process_group=group,
            )
        except OSError as error:
            raise UserError(
                f"the trainer cannot be started ({error.strerror}).", where=" ".join(words)
            ) from None
        assert process.stdout is not None
        printed = copy_redacted(process.stdout, log)
        try:
            while _running(process):
                sign_of_life()  # of this worker: whether the trainer hangs is not known
                curves.look()
            curves.look(ended=True)
        except BaseException:
            _end(process, group)
            raise
        printed.join(LOOK_SECONDS)  # what it has left running may hold the pipe open
    if process.returncode:
        raise _failure(process.returncode, _said(log, start), kills)


def _running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(process: subprocess.Popen[bytes], group: int) -> None:
    os.killpg(group, signal.SIGTERM)
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _process_group() -> Iterator[int]:
    """A process group that ends with this process, however that ends.

    Its leader reads a pipe that we hold open. A parent-death signal would reach the trainer alone
    and not what it has started. SIGTERM comes first, because launchers such as torchrun put their
    processes into sessions of their own and end them themselves.
    """
    watch = f"trap '' TERM; read line; kill -TERM 0; sleep {GRACE_SECONDS}; kill -KILL 0"
    leader = subprocess.Popen(
        ["sh", "-c", watch],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    assert leader.stdin is not None
    try:
        yield leader.pid
    finally:
        os.killpg(leader.pid, signal.SIGKILL)  # what the trainer has left running, too
        leader.stdin.close()
        leader.wait()


def _environment() -> dict[str, str]:
    """Ours, so that tokens of hubs and trackers reach the trainer."""
    apart = {name: v for name, v in os.environ.items() if name != "KEEPGAIN_REPLY_FD"}
    return {**apart, "PYTHONUNBUFFERED": "1"}


def _failure(code: int, said: list[str], kills: int | None) -> TrialFailure:
    """Why the trainer ended so, as far as one can tell."""
    text = "\n".join(said)
    how, cause = f"exit code {code}", FailureCause.EXCEPTION
    # A shell between us and a killed program adds 128.
    signalled = -code if code < 0 else code - 128 if code > 128 else 0
    if signalled in set(signal.Signals):
        how = signal.Signals(signalled).name
    if signalled == signal.SIGKILL:
        now = _memory_kills()
        if kills is not None and now is not None and now > kills:
            how, cause = f"{how}: the system ran out of memory", FailureCause.OUT_OF_MEMORY
        else:
            how += ", as the system sends when memory runs out"
    elif any(sign in text for sign in _MEMORY):
        cause = FailureCause.OUT_OF_MEMORY
    elif any(sign in text for sign in _DISK):
        cause = FailureCause.DISK_FULL
    last = " / ".join(said[-SAID_LINES:]) or "nothing"
    return TrialFailure(cause, f"the trainer ended with {how}; it said last: {last}")


def _said(log: Path, start: int) -> list[str]:
    """The end of what was printed, a line each; progress bars end theirs with a carriage return."""
    with log.open("rb") as handle:
        handle.seek(max(start, log.stat().st_size - 4096))
        lines = handle.read().decode(errors="replace").splitlines()
    return [line.strip()[:300] for line in lines if line.strip()]


def _memory_kills() -> int | None:
    """Processes of our control group that the system has killed for memory; None: not known."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
        text = (Path("/sys/fs/cgroup") / group / "memory.events").read_text()
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])
    except (OSError, ValueError, KeyError):
        return None


def main() -> None:
    """Calls a function as its trainer: `function(config, output, progress)`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("function")
    parser.add_argument("folder")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    # While it runs too: it may import what lies beside it.
    sys.path.insert(0, args.folder)
    try:
        function = load_function(args.function, args.folder)
    except UserError as error:
        sys.exit(str(error))
    config: dict[str, Any] = json.loads(args.config.read_text(encoding="utf-8"))
    with (args.output / PROGRESS).open("a", encoding="utf-8") as file:

        def progress(tokens: int, **values: float) -> None:
            file.write(json.dumps({"tokens": tokens, **values}) + "\n")
            file.flush()

        function(config, args.output, progress)


if __name__ == "__main__":
    main()
