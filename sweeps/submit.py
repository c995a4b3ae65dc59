"""`sweep submit`: from a spec on this machine to a job on a cluster."""

import os
import re
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from keepgain.cluster.submit import Jobs, check_size
from keepgain.cluster.wheel import write_unpacked
from keepgain.core.errors import UserError
from keepgain.core.redaction import is_secret_key, redact
from keepgain.core.store.location import (
    WORK_VARIABLE,
    require_durable,
    store_text,
)
from keepgain.sweeps.named_files import to_upload
from keepgain.sweeps.preflight import preflight_of_job
from keepgain.sweeps.submitted import Submission, metadata, write_note

FROM_NODES = "nodes"
"""`--store nodes`: what the environment of the cluster's nodes says."""
_SECRET_HINT = (
    "Ray shows the command and the environment of a job to everyone who sees its dashboard. Set it "
    "in the environment of the cluster's nodes, or in a file of mode 0600 on shared storage."
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class SubmitOptions:
    """What the command line says."""

    spec: Path
    address: str
    profile: str | None = None
    store: str | None = None
    """As `--store`; None: this machine's environment."""
    work: str | None = None
    env: tuple[str, ...] = ()
    """`NAME=VALUE`, or `NAME`, whose value is this machine's."""
    sends_keepgain: bool = True
    more: tuple[str, ...] = ()
    """Further words for `sweep run`."""


def submit(options: SubmitOptions, say: Callable[[str], None]) -> tuple[Submission, Jobs]:
    """Checks, uploads and starts the job; its note is written.

    Raises:
        UserError: Something cannot be used; nothing was uploaded.
    """
    root = working_dir(options.spec)
    store, work = _store(options)
    env = forwarded(options.env, os.environ)
    if work is not None:
        env[WORK_VARIABLE] = work
    loaded, sweep = preflight_of_job(options.spec, say, profile=options.profile, root=root)
    files = to_upload(loaded, root)
    jobs = Jobs(options.address)
    note = Submission(
        job=f"{sweep or loaded.spec.name}-{secrets.token_hex(3)}",
        address=jobs.address,
        name=loaded.spec.name,
        sweep=sweep,
        store=store,
        work=work,
        spec=str(loaded.path.resolve()),
        profile=options.profile,
        at=time.time(),
    )
    spec = loaded.path.resolve().relative_to(root)
    with tempfile.TemporaryDirectory(prefix="keepgain-submit-") as folder:
        stage(files, Path(folder))
        say(f"{len(files)} files of {root} ({_mib(files.values())})")
        if options.sends_keepgain:
            own = write_unpacked(Path(folder))
            say(f"and Keepgain itself ({_mib(Path(folder, f) for f in own)})")
        check_size(Path(folder))
        kept = write_note(note)  # first: without it nobody finds the job, to look at it or stop it
        try:
            jobs.submit(
                Path(folder),
                entrypoint(spec, store, options),
                submission_id=note.job,
                env=env,
                metadata=metadata(note),
            )
        except UserError:
            if not _has_taken(jobs, note.job):
                kept.unlink()
                raise
    return note, jobs


def _has_taken(jobs: Jobs, job: str) -> bool:
    """Of a request that failed: whether it arrived all the same (its answer came too late)."""
    try:
        jobs.state(job)
    except UserError:
        return False
    return True


def working_dir(spec: Path) -> Path:
    """What becomes the job's working directory: this folder if the spec lies below it, else the
    spec's."""
    folder, here = spec.resolve().parent, Path.cwd().resolve()
    return here if folder.is_relative_to(here) else folder


def entrypoint(spec: Path, store: str | None, options: SubmitOptions) -> str:
    """The command of the job; `exec`, so that signals reach the driver and no shell."""
    words = ["python3", "-m", "keepgain.sweeps.cli.main", "run", str(spec)]
    if options.profile is not None:
        words += ["--profile", options.profile]
    if store is not None:
        words += ["--store", store]
    return "exec " + shlex.join([*words, *options.more])


def stage(files: Mapping[str, Path], target: Path) -> None:
    """Links or copies files to their places below `target`; links of theirs are followed."""
    for name, source in files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), place)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, place)


def forwarded(given: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the job.

    Raises:
        UserError: A name that is none, a variable that is not set here, or a secret.
    """
    found = {}
    for text in given:
        name, has_value, value = text.partition("=")
        if not _VARIABLE.fullmatch(name):
            raise UserError(f"'{redact(text)}' is not NAME or NAME=VALUE.", where="--env")
        if not has_value:
            if name not in environ:
                raise UserError(f"{name} is not set on this machine.", where="--env")
            value = environ[name]
        if is_secret_key(name) or redact(value) != value:
            raise UserError(f"{name} holds a secret.", where="--env", hint=_SECRET_HINT)
        found[name] = value
    return found


def _store(options: SubmitOptions) -> tuple[str | None, str | None]:
    """`--store` of the job (None: the nodes' own), and the folder of its ledgers if one is given.

    Raises:
        UserError: None is given, it would vanish with the job, or it holds a secret.
    """
    work = options.work or os.environ.get(WORK_VARIABLE)
    if options.store == FROM_NODES:
        return None, options.work  # this machine's variable is not theirs
    text, source = store_text(options.store)
    if text is not None and redact(text) != text:
        raise UserError(
            f"the store '{redact(text)}' holds a password.",
            where=source,
            hint=f"{_SECRET_HINT} KEEPGAIN_STORE is its name there; then --store {FROM_NODES}.",
        )
    require_durable(text, working_dir(options.spec), work)
    return text, work


def _mib(files: Iterable[Path]) -> str:
    return f"{sum(f.stat().st_size for f in files) / 2**20:.1f} MiB"
