"""The one way to an MLflow client: quick to fail, quiet, and imported only when it is needed."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from keepgain.core.errors import UserError
from keepgain.core.redaction import redact
from keepgain.core.store.location import StoreLocation

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_SECONDS = 5.0
"""A store that does not answer within this is said to be unreachable."""

# MLflow's own defaults block one call on a dead server for 245 s (measured on 3.17.2).
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    # Nothing of ours may be cut silently: long values go to artifacts before they get here.
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "postgres": 5432, "mysql": 3306}


def new_client(location: StoreLocation) -> "MlflowClient":
    """A client of the store; the user's own MLFLOW_* settings win over ours."""
    quiet_imports()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=location.tracking_uri)


def quiet_imports() -> None:
    """Settings that must stand before `import mlflow`."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Errors of the database are raised too: their traces would bury our one line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def store_errors(location: StoreLocation) -> Iterator[None]:
    """Turns what MLflow raises about a store into an error that names the store."""
    quiet_imports()
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, requests.RequestException, SQLAlchemyError, OSError) as error:
        raise UserError(
            f"store {location.display} cannot be used: {first_line(error)}",
            hint=_hint(str(error)),
        ) from error


def first_line(error: BaseException) -> str:
    """An error in one redacted line of at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = redact(lines[0] if lines else type(error).__name__)
    return text if len(text) <= 300 else f"{text[:297]}..."


def require_reachable(location: StoreLocation) -> None:
    """Fails within seconds if a server does not answer, before anything long is started.

    Asks for an experiment, because `/health` answers even where clients are refused.

    Raises:
        UserError: Names the store, what was tried and what it said.
    """
    if location.database is not None:
        return
    _require_listening(location)
    if not location.is_server:
        return
    quick = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(int(CONNECT_SECONDS)),
    }
    with store_errors(location):
        client = new_client(location)
        with _environment(quick):
            client.search_experiments(max_results=1)


def _require_listening(location: StoreLocation) -> None:
    """One TCP connection: MLflow itself retries a dead database server for 100 s."""
    parts = urlsplit(location.tracking_uri)
    try:
        port = parts.port or _PORTS.get(parts.scheme.partition("+")[0], 1433)
    except ValueError as error:
        raise UserError(f"store {location.display} has no usable port ({error}).") from None
    if parts.hostname is None:
        raise UserError(f"store {location.display} names no host.")
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"store {location.display} cannot be reached: {parts.hostname}:{port} says "
            f"'{error}' (found by {location.described}).",
            hint="Start the server, or name another store with --store.",
        ) from None


def _hint(message: str) -> str | None:
    if "rebinding" in message or "Invalid Host" in message:
        return "Start the server with `--allowed-hosts` naming this host."
    if "out-of-date database schema" in message:
        return "Back up the database first; then `mlflow db upgrade`."
    if "No module named" in message:
        return "Install the driver of that database."
    return None


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
