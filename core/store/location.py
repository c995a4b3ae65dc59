"""Which store is meant, and where a sweep's files live beside it. No MLflow here: it is slow."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.paths import expanded
from keepgain.core.redaction import redact, remember_uri

FOLDER_NAME = ".keepgain"
DATABASE_NAME = "mlflow.db"
STORE_VARIABLES = ("KEEPGAIN_STORE", "MLFLOW_TRACKING_URI")
WORK_VARIABLE = "KEEPGAIN_WORK"
"""Folder for what a store on a server does not hold: ledgers, checkpoints, logs."""
FORMS = (
    "Allowed: a folder, sqlite:///PATH, http(s)://HOST:PORT, postgresql://..., mysql://... or "
    "mssql://..."
)

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")
_SERVER_SCHEMES = ("http", "https")
_DATABASE_SCHEMES = ("postgresql", "postgres", "mysql", "mssql")


@dataclass(frozen=True)
class StoreLocation:
    """An MLflow store, and the folder for the files of sweeps that are recorded in it."""

    tracking_uri: str = field(repr=False)  # may hold a password
    folder: Path | None
    """The `.keepgain`-like folder of a local store; None for a server or a database server."""
    work: Path
    """Sweep folders live here, one per sweep id."""
    described: str
    """How it was found, for messages; without passwords."""

    @property
    def display(self) -> str:
        """The store as shown to people and written into records; without passwords."""
        return str(self.folder) if self.folder else redact(self.tracking_uri)

    @property
    def is_server(self) -> bool:
        """True for an MLflow server, which many hosts may write to."""
        return self.tracking_uri.startswith(("http://", "https://"))

    @property
    def database(self) -> Path | None:
        """The SQLite file of a local store."""
        if not self.tracking_uri.startswith("sqlite:"):
            return None
        return Path(self.tracking_uri.removeprefix("sqlite:///").partition("?")[0])

    @property
    def artifacts(self) -> Path | None:
        """Where artifacts go when no server decides it."""
        return None if self.is_server else (self.folder or self.work.parent) / "artifacts"

    def sweep_folder(self, sweep_id: str) -> Path:
        """Folder of one sweep, existing or not; `sweep_id` must be valid (`reader.check_id`)."""
        return self.work / sweep_id


def resolve_store(
    explicit: str | None, *, create: bool = False, make: bool = True, cwd: Path | None = None
) -> StoreLocation:
    """Finds the store: `--store`, KEEPGAIN_STORE, MLFLOW_TRACKING_URI, nearest `.keepgain` upwards.

    Args:
        explicit: What `--store` says.
        create: A new store is allowed, and its folder is made (mode 0700).
        make: False: the folder is left to `bootstrap.prepare_store`, and nothing is written.
        cwd: Where relative paths and the search upwards start; None: the working directory.

    Raises:
        UserError: A store of an unusable kind, or none found; the message says where it looked.
    """
    here = (cwd or Path.cwd()).resolve()
    text, source = store_text(explicit)
    if text is not None:
        location = _from_text(text, source, here, create)
    else:
        location = _from_tree(here, create)
    if create and make:
        make_private(location.folder or location.work.parent)
    return location


def store_text(
    explicit: str | None, environ: Mapping[str, str] = os.environ
) -> tuple[str | None, str]:
    """What the user asked for and where they said so; (None, ...) if nowhere."""
    if explicit:
        return explicit, "--store"
    for variable in STORE_VARIABLES:
        if environ.get(variable):
            return environ[variable], variable
    return None, f"neither --store nor {' nor '.join(STORE_VARIABLES)} is set"


def require_durable(location_text: str | None, working_dir: Path, work: str | None = None) -> None:
    """Refuses, inside a Ray job, a store that vanishes with the job's working directory.

    A server keeps the record, but not the ledger and the checkpoints that a sweep continues from:
    with one, `WORK_VARIABLE` must name a durable folder for them.

    Args:
        location_text: What `--store` says; None: what the environment says.
        working_dir: The job's copy of the submitted folder, deleted some time after the job.
        work: The work folder of a job to be submitted; None: what this environment says.

    Raises:
        UserError: No store given, a relative one, or one inside `working_dir`; a server without a
            work folder, or with such a one.
    """
    text, source = store_text(location_text)
    hint = (
        "Give --store (or KEEPGAIN_STORE) an absolute path on a disk that outlives the job, or a "
        "server's http:// URI."
    )
    if text is None:
        raise UserError(
            f"inside a Ray job the record needs a durable store, and {source}; the job's working "
            "directory is a temporary copy.",
            hint=hint,
        )
    _refuse_file_store(text, source)
    scheme = _scheme(text)
    if scheme is None or scheme == "sqlite":
        path = expanded(text.removeprefix("sqlite:///"), source)
        _refuse_vanishing(path, f"store '{text}'", source, working_dir, hint)
        return
    hint = f"Set {WORK_VARIABLE} to an absolute path on a disk that outlives the job."
    folder = _work_folder(work)
    if folder is None:
        raise UserError(
            f"inside a Ray job the ledger and the checkpoints of a sweep on '{redact(text)}' would "
            "lie in the job's working directory, a temporary copy.",
            where=source,
            hint=hint,
        )
    _refuse_vanishing(folder, f"folder '{folder}'", WORK_VARIABLE, working_dir, hint)


def _refuse_vanishing(path: Path, what: str, source: str, working_dir: Path, hint: str) -> None:
    if not path.is_absolute():
        raise UserError(
            f"{what} is relative to the Ray job's working directory, a temporary copy.",
            where=source,
            hint=hint,
        )
    if path.resolve().is_relative_to(working_dir.resolve()):
        raise UserError(
            f"{what} lies inside the Ray job's working directory, a temporary copy.",
            where=source,
            hint=hint,
        )


def _work_folder(text: str | None = None) -> Path | None:
    """What `WORK_VARIABLE` says, or `text` in its place."""
    text = text or os.environ.get(WORK_VARIABLE)
    if not text:
        return None
    folder = expanded(text, WORK_VARIABLE)
    if not folder.is_absolute():
        raise UserError(
            f"'{text}' is not an absolute path.",
            where=WORK_VARIABLE,
            hint="Sweeps are continued from other working directories too.",
        )
    return folder


def _from_text(text: str, source: str, here: Path, create: bool) -> StoreLocation:
    remember_uri(text)  # for what others say of it: drivers of databases quote it in errors
    _refuse_file_store(text, source)
    scheme = _scheme(text)
    if scheme == "sqlite":
        return _from_sqlite(text, source, here)
    if scheme in _SERVER_SCHEMES or (scheme or "").partition("+")[0] in _DATABASE_SCHEMES:
        folder = _work_folder() or _nearest(here) or here / FOLDER_NAME
        described = f"{source} {redact(text)}"
        return StoreLocation(text.rstrip("/"), None, folder / "sweeps", described)
    if scheme is not None:
        raise UserError(f"store '{redact(text)}' is of an unknown kind.", where=source, hint=FORMS)
    folder = (here / expanded(text, source)).resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"store '{text}' is a file, not a folder.", where=source, hint=FORMS)
    if not create and not (folder / DATABASE_NAME).exists() and not (folder / "sweeps").exists():
        inner = folder / FOLDER_NAME
        hint = f"Did you mean {inner}?" if inner.is_dir() else "`sweep run` creates one."
        raise UserError(f"no Keepgain store in {folder}.", where=source, hint=hint)
    return _local(folder, f"{source} {folder}")


def _from_sqlite(text: str, source: str, here: Path) -> StoreLocation:
    path, _, query = text.removeprefix("sqlite:///").partition("?")
    if not text.startswith("sqlite:///") or path in ("", ":memory:"):
        raise UserError(
            f"store '{text}' names no file.", where=source, hint="Write sqlite:///PATH/mlflow.db."
        )
    database = (here / expanded(path, source)).resolve()
    uri = f"sqlite:///{database}" + (f"?{query}" if query else "")
    folder = database.parent
    return StoreLocation(uri, folder, folder / "sweeps", f"{source} sqlite:///{database}")


def _from_tree(here: Path, create: bool) -> StoreLocation:
    nearest = _nearest(here)
    if nearest is not None:
        return _local(nearest, f"{nearest} (nearest {FOLDER_NAME} upwards from {here})")
    if not create:
        raise UserError(
            f"no store: neither --store nor {' nor '.join(STORE_VARIABLES)} is set, and there is "
            f"no {FOLDER_NAME} folder in {here} or above.",
            hint="`sweep run` creates one here; or name one with --store.",
        )
    return _local(here / FOLDER_NAME, f"{here / FOLDER_NAME} (created)")


def _local(folder: Path, described: str) -> StoreLocation:
    if "?" in str(folder):
        # SQLAlchemy reads the rest of such a path as options.
        raise UserError(f"the path of a local store cannot hold '?': {folder}.")
    uri = f"sqlite:///{folder / DATABASE_NAME}"
    return StoreLocation(uri, folder, folder / "sweeps", described)


def _nearest(here: Path) -> Path | None:
    upwards = (p / FOLDER_NAME for p in (here, *here.parents))
    return next((f for f in upwards if f.is_dir() and not _is_of_clusters(f)), None)


def _is_of_clusters(folder: Path) -> bool:
    """`cluster up` keeps its state in `~/.keepgain/clusters`, which makes no store of it."""
    return (folder / "clusters").is_dir() and not any(
        (folder / name).exists() for name in (DATABASE_NAME, "sweeps")
    )


def _scheme(text: str) -> str | None:
    match = _SCHEME.match(text)
    return match.group(1).lower() if match else None


def _refuse_file_store(text: str, source: str) -> None:
    """MLflow's file store is no longer supported by MLflow itself (3.7 and later)."""
    name = text.rstrip("/")
    if _scheme(text) == "file" or name == "mlruns" or name.endswith("/mlruns"):
        raise UserError(
            f"store '{text}' is an MLflow file store, which MLflow keeps in maintenance mode only "
            "and which cannot hold a sweep.",
            where=source,
            hint="Use a folder or sqlite:///PATH; `mlflow migrate-filestore` moves old runs.",
        )


def require_writable(location: StoreLocation, sweep_id: str) -> None:
    """Sees, without writing, that a sweep can be recorded: its folder, and a local database.

    Raises:
        UserError: Names what cannot be written: a read-only disk, somebody else's folder.
    """
    wanted = [location.sweep_folder(sweep_id), location.database or location.work]
    for path in wanted:
        nearest = next(p for p in (path, *path.parents) if p.exists())
        ways = os.W_OK | (os.X_OK if nearest.is_dir() else 0)
        if not os.access(nearest, ways):
            raise UserError(
                "the store cannot be written to (a read-only disk, or somebody else's folder).",
                where=str(nearest),
                hint="Give another one with --store.",
            )


def make_private(folder: Path) -> None:
    """Creates a folder that only its owner can read; one that exists is left as it is."""
    if folder.is_dir():
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the store cannot be created ({error}).", where=str(folder)) from None
