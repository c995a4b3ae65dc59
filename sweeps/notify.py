"""Tells somebody that a sweep has ended: a command, a webhook, or both.

A message that cannot be delivered is a warning; it never changes how the sweep ended.
"""

import http.client
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from keepgain.core.redaction import redact
from keepgain.sweeps.spec_search import NotifySpec

TIMEOUT_SECONDS = 10.0

Status = Literal["decided", "stopped", "failed", "interrupted"]
"""stopped: the sweep ended itself and says why. failed: a fault of ours."""


@dataclass(frozen=True)
class Message:
    """What is told."""

    sweep: str
    status: Status
    message: str
    """One line for people."""


def notify(spec: NotifySpec, message: Message, say: Callable[[str], None]) -> None:
    """Runs the command and posts to the webhook, each for ten seconds at most.

    Args:
        say: Told of what could not be delivered.
    """
    message = replace(message, message=redact(message.message))
    if spec.command is not None:
        _warn(_run(spec.command, message), "notify.command", say)
    if spec.webhook is not None:
        _warn(_post(spec.webhook, message), "notify.webhook", say)


def _run(command: str, message: Message) -> str | None:
    """Why the command failed; None if it did not."""
    told = {f"KEEPGAIN_{k.upper()}": v for k, v in asdict(message).items()}
    try:
        process = subprocess.Popen(
            command,
            shell=True,  # as the spec says: it is the user's own line
            env={**os.environ, **told},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that what the line started ends with it
        )
    except OSError as error:
        return str(error)
    try:
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()  # not for the output: what left the session may hold it open
        return f"took more than {TIMEOUT_SECONDS:g} s and was ended"
    if process.returncode == 0:
        return None
    last = output.strip().splitlines()[-1:]
    return f"exit code {process.returncode}{': ' + last[0] if last else ''}"


def _post(address: str, message: Message) -> str | None:
    """Why the post failed; None if it did not. `$NAME` in the address is the environment's."""
    url = os.path.expandvars(address)
    if not url.startswith(("http://", "https://")):
        return f"{redact(address)} is no http:// or https:// address"
    request = urllib.request.Request(
        url,
        data=json.dumps(asdict(message)).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return redact(str(error).replace(urlsplit(url).path, "/***"))  # where its secret is


def _warn(trouble: str | None, what: str, say: Callable[[str], None]) -> None:
    if trouble is not None:
        say(f"warning: {what}: {trouble}")
