"""A user's program as the judge of a generated answer: for code, formats, anything executable.

The program gets one JSON object on its standard input: `generated`, and the row as it is kept
(`id`, `prompt` and `answer`, or `messages`, ...). Its verdict is `{"score": x}` with x in [0, 1] as
the last line of its output and exit code 0; without such a line, exit code 0 is 1. Any other end is
0: another exit code, a signal, the time limit, the memory limit. A program that cannot be started
at all is an error, not a score.

It runs in a session of its own, in an empty temporary folder that is removed afterwards, with a
small environment (no variables of ours, so no credentials), limits on CPU time, memory, file size
and core dumps, and without network where `unshare` can make a network namespace. That guards
against mistakes: endless loops, memory that grows, files left behind, calls home. It does not guard
against malice: the program runs as the same user and can read and write what that user can. Judge
the answers of models that you do not trust inside a container.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from typing import IO

from keepgain.core.errors import UserError
from keepgain.core.items import Floats
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.core.users_code import located

NOT_STARTED = re.compile(r"sh: .*exec: .*")
"""What the shell says when it cannot become the program; its exit code is then 126 or 127, but a
program may end with these as well."""
OUTPUT_BYTES = 1 << 16
"""The end of the output that is read."""
FILE_BLOCKS = 1 << 17
"""Largest file that the program may write, in blocks of 512 bytes: 64 MiB."""


def verdict(answer: str, row: Row, options: ScorerOptions) -> float:
    """The program's verdict on one answer, in [0, 1]; see the module's text.

    Raises:
        UserError: It cannot be started, or its verdict is no number in [0, 1].
    """
    given = json.dumps({**row.to_json(), "generated": answer}, ensure_ascii=False)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        code, last_error = _run(given, options, folder, output)
        if code in (126, 127) and NOT_STARTED.match(last_error):
            raise UserError(
                f"the program could not be started ({last_error}).",
                where=" ".join(options.command),
            )
        return _score(_tail(output), row, options) if code == 0 else 0.0


def without_verdict(
    answers: Sequence[str], _: Sequence[Row], scores: Floats, __: ScorerOptions
) -> dict[str, float]:
    """`zero_share`: the share of answers with a verdict of 0. One of 1 often means that the program
    itself fails."""
    return {"zero_share": float((scores == 0).mean())} if len(answers) else {}


def _run(given: str, options: ScorerOptions, folder: str, output: IO[bytes]) -> tuple[int, str]:
    """(exit code, what it wrote last to its standard error); a signal is a negative code."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*isolation(), "sh", "-c", _limits(options), "sh", *_words(options)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
        )
        try:
            process.communicate(given.encode(), timeout=options.timeout_seconds)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL, ""
        finally:
            # What the program left running goes with it.
            _kill(process)
        return process.returncode, "".join(_tail(errors).strip().splitlines()[-1:])


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _limits(options: ScorerOptions) -> str:
    """Shell text that sets resource limits and becomes the program. `ulimit -v` is in KiB."""
    seconds = int(options.timeout_seconds) + 1
    return (
        f"ulimit -c 0; ulimit -t {seconds}; ulimit -f {FILE_BLOCKS}; "
        f'ulimit -v {1024 * options.memory_mb} && exec "$@"'
    )


def _words(options: ScorerOptions) -> list[str]:
    """The command with files of the spec's folder named absolutely."""
    files = [located(word, options.path) for word in options.command]
    return [str(f) if f else word for f, word in zip(files, options.command, strict=True)]


def _environment(folder: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "HOME": folder, "TMPDIR": folder}


@cache
def isolation() -> tuple[str, ...]:
    """Words before a command that take the network from it; none where the system refuses."""
    tool = shutil.which("unshare")
    if tool is None:
        return ()
    words = (tool, "--user", "--map-current-user", "--net", "--")
    tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    return words if tried.returncode == 0 else ()


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - OUTPUT_BYTES))
    return file.read().decode(errors="replace")


def _score(output: str, row: Row, options: ScorerOptions) -> float:
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        found = None
    if not isinstance(found, dict) or "score" not in found:
        return 1.0
    score = found["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise UserError(
            f"the program's score of item '{row.id}' is {score!r:.40}; it must be in [0, 1].",
            where=" ".join(options.command),
        )
    return float(score)
