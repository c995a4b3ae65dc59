"""Errors that a user can act on, and the exit codes they lead to.

Every message says where, what was given, what is allowed and what to do next, so that a bad input
costs one reading and no search.
"""

import errno

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk is full, or a quota, or a limit of file sizes is reached."""
EXIT_OK = 0
EXIT_FAILED = 1
"""The work ran and did not succeed (a sweep past its failure rate, a fault of ours)."""
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class KeepgainError(Exception):
    """Base of every error that Keepgain raises on purpose."""

    exit_code = EXIT_FAILED


class UserError(KeepgainError):
    """Input that cannot be used: nothing was written and nothing was lost.

    Args:
        problem: What was given and what is allowed, one sentence.
        where: `file`, `file:dotted.key` or `file:line`; None where no file is involved.
        hint: What to do; None where the problem already says so.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(self, problem: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.problem = problem
        self.where = where
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{text} {self.hint}" if self.hint else text


class TrialFailure(KeepgainError):  # noqa: N818 - named for what it is, a failure of one trial
    """A trial that ended badly for a known cause; the sweep goes on without it.

    Args:
        cause: A `FailureCause` value (`nan`, `out_of_memory`, `exception`, ...).
        detail: What happened, with the numbers that help (step, learning rate, bytes).
    """

    def __init__(self, cause: str, detail: str) -> None:
        self.cause = cause
        self.detail = detail
        super().__init__(f"{cause}: {detail}")

    def __reduce__(self) -> tuple[type["TrialFailure"], tuple[str, str]]:
        """Ray copies and pickles errors by their arguments."""
        return type(self), (self.cause, self.detail)
