"""Ray's Jobs API: submit a folder and a command, follow the log, stop.

The token is Ray's own affair: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or its file in the home folder
goes into a header. Nothing here puts it anywhere else.
"""

import asyncio
import logging
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from keepgain.core.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, UserError

MAX_UPLOAD_BYTES = 100 << 20
"""Largest body that Ray's dashboard takes (ray 2.60, DASHBOARD_CLIENT_MAX_SIZE): `ray job submit`
fails above it with HTTP 413, although its own check is for 512 MiB."""
POLL_SECONDS = 0.5
AWAY_SECONDS = 120.0
"""A cluster that has not answered for so long is given up."""
ANSWER_SECONDS = (10.0, 120.0)
"""Longest wait for a connection, and for an answer: Ray's client itself waits without end."""
SILENT_SECONDS = 60.0
"""A log that says nothing for so long is asked for anew: its connection may be gone unnoticed, as
after a laptop's sleep."""
_OVERRIDING = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_FINAL = ("SUCCEEDED", "FAILED", "STOPPED")


class JobAway(UserError):  # noqa: N818 - a state of the cluster, and what the user can do about it
    """No such job on the cluster."""


@dataclass(frozen=True)
class JobState:
    """A job as the cluster describes it."""

    id: str
    status: str
    """PENDING, RUNNING, or SUCCEEDED, FAILED, STOPPED."""
    message: str
    metadata: Mapping[str, str]
    started: float | None
    """Seconds since 1970, as `ended`."""
    ended: float | None
    driver_exit_code: int | None

    @property
    def is_final(self) -> bool:
        """It has ended."""
        return self.status in _FINAL

    @property
    def exit_code(self) -> int:
        """Of a command that stands for the job."""
        if self.status == "STOPPED":
            return EXIT_INTERRUPTED
        if self.driver_exit_code is not None:
            return self.driver_exit_code
        return EXIT_OK if self.status == "SUCCEEDED" else EXIT_FAILED


class Jobs:
    """The jobs of one cluster.

    Args:
        address: `http://HOST:8265`, of the dashboard.

    Raises:
        UserError: Nothing answers there, or it wants another token.
    """

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise UserError(
                f"'{address}' is not the address of a Ray dashboard.",
                where="--address",
                hint="Give http://HOST:8265; through SSH: `ssh -L 8265:127.0.0.1:8265 HOST`.",
            )
        self.address = address.rstrip("/")
        _say_token()
        from ray.job_submission import JobSubmissionClient

        _quiet_ray()

        class Client(JobSubmissionClient):
            def _do_request(self, *args: Any, **kwargs: Any) -> Any:
                return super()._do_request(*args, timeout=ANSWER_SECONDS, **kwargs)

        with self._errors(), _without(_OVERRIDING):
            self._client = Client(self.address)

    def submit(
        self,
        folder: Path,
        entrypoint: str,
        *,
        submission_id: str,
        env: Mapping[str, str],
        metadata: Mapping[str, str],
    ) -> None:
        """Uploads `folder` as the working directory, and starts the command in it.

        Raises:
            UserError: Too large, or refused by the cluster.
        """
        check_size(folder)
        runtime_env = {"working_dir": str(folder), "env_vars": dict(env)}
        with self._errors():
            self._client.submit_job(
                entrypoint=entrypoint,
                submission_id=submission_id,
                runtime_env=runtime_env,
                metadata=dict(metadata),
            )

    def state(self, job: str) -> JobState:
        """Raises:
        JobAway: There is no such job; the cluster may have been started anew.
        UserError: The cluster does not answer.
        """
        with self._errors(job):
            return _state(self._client.get_job_info(job))

    def states(self) -> list[JobState]:
        """Of all submitted jobs, the newest first."""
        with self._errors():
            found = [_state(j) for j in self._client.list_jobs() if j.submission_id]
        return sorted(found, key=lambda s: -(s.started or 0.0))

    def log(self, job: str) -> str:
        """All that the job has printed so far."""
        with self._errors(job):
            return str(self._client.get_job_logs(job))

    def follow(self, job: str, write: Callable[[str], None]) -> JobState:
        """Writes what the job prints until it has ended; connects again where the line is cut.

        Raises:
            UserError: The job is gone, or the cluster has not answered for `AWAY_SECONDS`.
        """
        log = _Followed(write)
        last_answer = time.monotonic()
        while True:
            try:
                state = self.state(job)
                last_answer = time.monotonic()
                if state.is_final:
                    log.take_all(self.log(job))
                    return state
                if state.status == "RUNNING":
                    asyncio.run(self._tail(job, log))
            except JobAway:
                raise
            except UserError:
                if time.monotonic() - last_answer > AWAY_SECONDS:
                    raise
            time.sleep(POLL_SECONDS)

    def stop(self, job: str, timeout_seconds: float) -> JobState:
        """SIGTERM to the job's processes, SIGKILL after RAY_JOB_STOP_WAIT_TIME_S (3 s unless the
        cluster was started with another); waits for its end.

        Returns:
            How it ended; not final if it has not within the time.
        """
        with self._errors(job):
            self._client.stop_job(job)
        deadline = time.monotonic() + timeout_seconds
        while not (state := self.state(job)).is_final and time.monotonic() < deadline:
            time.sleep(0.3)
        return state

    async def _tail(self, job: str, log: "_Followed") -> None:
        """Until the server closes the connection (at the end of the job, or a cut line), or has
        said nothing for `SILENT_SECONDS`."""
        import aiohttp

        log.begin()
        pieces = aiter(self._client.tail_job_logs(job))
        try:
            while (text := await asyncio.wait_for(anext(pieces, None), SILENT_SECONDS)) is not None:
                log.take(text)
        except (RuntimeError, OSError, aiohttp.ClientError) as error:
            logging.getLogger(__name__).debug("the log's connection was cut: %s", error)

    @contextmanager
    def _errors(self, job: str | None = None) -> Iterator[None]:
        """What the client raises, in words."""
        import requests
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError as error:
            raise UserError(
                f"the cluster at {self.address} does not take the token ({_first_line(error)}).",
                where="--address",
                hint="Set RAY_AUTH_TOKEN_PATH to a file with the cluster's token (mode 0600).",
            ) from None
        except (ConnectionError, requests.RequestException) as error:
            raise UserError(
                f"no Ray dashboard answers at {self.address} ({_first_line(error)}).",
                where="--address",
                hint="Is the cluster up, and can this machine reach it?",
            ) from None
        except RuntimeError as error:
            if job is not None and "does not exist" in str(error):
                raise JobAway(
                    f"the cluster at {self.address} knows no job '{job}'.",
                    hint="It keeps jobs as long as its head runs. The sweep's record is in its "
                    "store; submit the spec again to continue it.",
                ) from None
            raise UserError(
                f"the cluster at {self.address} refuses: {_first_line(error)}"
            ) from None


def check_size(folder: Path) -> None:
    """Refuses what Ray's dashboard would not take, before any of it is sent.

    Raises:
        UserError: With the arithmetic.
    """
    files = sorted((p.stat().st_size, p) for p in folder.rglob("*") if p.is_file())
    total = sum(size for size, _ in files)
    if total < MAX_UPLOAD_BYTES:
        return
    packed = 0
    for _, path in reversed(files):
        packed += _packed_size(path)
        if packed >= MAX_UPLOAD_BYTES:
            break
    else:
        return
    largest = ", ".join(
        f"{path.relative_to(folder)} {size / 2**20:.0f} MiB" for size, path in files[:-4:-1]
    )
    raise UserError(
        f"the upload is {total / 2**20:.0f} MiB ({largest}), and still more than "
        f"{MAX_UPLOAD_BYTES >> 20} MiB when it is packed, which is all that Ray's Jobs API takes.",
        hint="Put the largest on storage that every node sees, and give its absolute path in the "
        "spec; or name a model by its hub id.",
    )


def _packed_size(path: Path) -> int:
    packer, size = zlib.compressobj(), 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            size += len(packer.compress(block))
    return size + len(packer.flush())


class _Followed:
    """The part of a log that was not shown yet: a new connection starts at its beginning."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown = 0
        self._at = 0

    def begin(self) -> Self:
        """A connection that sends the log from its beginning."""
        self._at = 0
        return self

    def take(self, text: str) -> None:
        """The next piece of this connection."""
        new = text[max(0, self._shown - self._at) :]
        self._at += len(text)
        if new:
            self._write(new)
            self._shown += len(new)

    def take_all(self, text: str) -> None:
        """The whole log."""
        self.begin().take(text)


def _state(details: Any) -> JobState:
    def seconds(ms: int | None) -> float | None:
        return None if not ms else ms / 1000

    return JobState(
        id=str(details.submission_id),
        status=str(getattr(details.status, "value", details.status)),
        message=details.message or "",
        metadata=details.metadata or {},
        started=seconds(details.start_time),
        ended=seconds(details.end_time),
        driver_exit_code=details.driver_exit_code,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _say_token() -> None:
    """Ray sends a token only in this mode, and reads the variable when it is imported."""
    has_one = any(os.environ.get(n) for n in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if has_one or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _quiet_ray() -> None:
    """Its client prints each step of an upload."""
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.ERROR)


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Without variables that Ray's client obeys before the address that it is given."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
