"""Everything that can refuse a sweep before anything is written or started."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from keepgain.cluster import ray_cluster
from keepgain.core.errors import UserError
from keepgain.core.store.client import require_reachable
from keepgain.core.store.location import (
    require_durable,
    require_writable,
    resolve_store,
    store_text,
)
from keepgain.sweeps.base_models import is_here
from keepgain.sweeps.check import check_sweep
from keepgain.sweeps.check_progress import CheckProgress
from keepgain.sweeps.checked import Checked, read_checked
from keepgain.sweeps.gates.findings import MAX_EXAMPLES, Finding
from keepgain.sweeps.gates.resources import Machine, detect_machine
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.named_files import named_files, refuse_outside
from keepgain.sweeps.plan.disk import preflight_disk
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.search.storage import check_url
from keepgain.sweeps.spec import load_spec

ANY_CLUSTER = Machine(cpus=1 << 30, memory_bytes=1 << 60, gpus=1 << 30, nodes=1 << 30)
"""A cluster that is not asked yet: everything may fit. `Crew.start` asks it."""


@dataclass(frozen=True)
class Ready:
    """A sweep that may start."""

    prepared: Prepared
    """Its rows are not yet written."""
    checked: Checked
    warnings: tuple[str, ...]
    """Of the checks and of the disk."""


def preflight(
    spec: Path,
    say: Callable[[str], None],
    *,
    profile: str | None,
    store: str | None,
    address: str | None,
) -> Ready:
    """Reads and checks the spec and its data; sees that store and cluster answer.

    Raises:
        UserError: Something cannot be used; nothing was written.
    """
    inside_job = ray_cluster.inside_ray_job()
    if inside_job:
        require_durable(store, Path.cwd())
    loaded = load_spec(spec, profile)
    if inside_job:
        refuse_outside(named_files(loaded), loaded, Path.cwd())
    prepared = prepare(loaded, None, say, store)
    location = resolve_store(store, create=True, make=False)
    folder = location.sweep_folder(prepared.sweep_id)
    machine = ANY_CLUSTER if ray_cluster.is_remote(address) else None
    checked = _check(prepared, say, machine, read_checked(folder))
    ray_cluster.require_listening(address)
    ray_cluster.require_open_files()
    _require_server(store)
    if (studies := prepared.spec.search.storage) is not None:
        check_url(studies, loaded.where("search.storage"), connect=True)
    require_writable(location, prepared.sweep_id)
    gpus = ray_cluster.is_remote(address) or detect_machine().gpus > 0
    for warning in (full := preflight_disk(prepared, folder, gpus=gpus)):
        say(f"warning: {warning}")
    return Ready(prepared, checked, (*warnings_of(checked), *full))


def preflight_of_job(
    spec: Path, say: Callable[[str], None], *, profile: str | None, root: Path
) -> tuple[LoadedSpec, str | None]:
    """What can be checked of a job before it is submitted: the same, where its files are here.

    Args:
        root: What lies below it can be uploaded.

    Returns:
        The spec, and the sweep's id; None if only the cluster can tell, which is then said.

    Raises:
        UserError: Something cannot be used; nothing was written.
    """
    loaded = load_spec(spec, profile)
    named = named_files(loaded)
    refuse_outside(named, loaded, root)
    missing = next((n.text for n in named if n.is_absolute and not n.path.exists()), None)
    away = [m.start or m.id for m in loaded.spec.models if not is_here(m, loaded.folder)]
    if (elsewhere := missing or next(iter(away), None)) is not None:
        say(f"'{elsewhere}' is not on this machine: the job itself checks models and data")
        return loaded, None
    prepared = prepare(loaded, None, say)
    _check(prepared, say, ANY_CLUSTER, None)
    return loaded, prepared.sweep_id


def _check(
    prepared: Prepared,
    say: Callable[[str], None],
    machine: Machine | None,
    known: Checked | None,
) -> Checked:
    """What the gates find, said where it is a warning.

    Raises:
        UserError: The first error that they find.
    """
    checked = check_sweep(prepared, machine, progress=CheckProgress(say), known=known)
    errors = [f for f in checked.findings if f.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: `sweep check`)" if len(errors) > 1 else ""
        first = errors[0]
        rows = f" (e.g. {'; '.join(first.rows[:MAX_EXAMPLES])})" if first.rows else ""
        where = _where(prepared.loaded, first)
        raise UserError(first.message + rows + more, where=where, hint=first.hint)
    for warning in warnings_of(checked):
        say(f"warning: {warning}")
    return checked


def warnings_of(checked: Checked) -> tuple[str, ...]:
    """A line for findings of one code, of the first of them; all, and notes, are in the file."""
    alike: dict[tuple[str, str | None], list[Finding]] = {}
    for finding in checked.findings:
        if finding.severity == "warning":
            alike.setdefault((finding.code, finding.waived), []).append(finding)
    return tuple(_warning(findings) for findings in alike.values())


def _warning(findings: Sequence[Finding]) -> str:
    first, others = findings[0], findings[1:]
    allowed = f" Allowed by the spec: {first.waived}." if first.waived else ""
    places = [*dict.fromkeys(f.where for f in others)]
    more = f" and {len(places) - MAX_EXAMPLES} more" if len(places) > MAX_EXAMPLES else ""
    also = f" Likewise: {', '.join(places[:MAX_EXAMPLES])}{more} (`sweep check`)." if others else ""
    return f"{first.where}: {first.message}{also}{allowed}"


def _where(loaded: LoadedSpec, finding: Finding) -> str:
    """The file and key of a finding; one about rows (`SOURCE/SPLIT`) names its source or suite."""
    name = finding.where.partition("/")[0]
    groups: dict[str, Collection[str]] = {"data": loaded.spec.data, "suites": loaded.spec.suites}
    key = next((f"{g}.{name}" for g, entries in groups.items() if name in entries), finding.where)
    return loaded.where(key)


def _require_server(text: str | None) -> None:
    asked, _ = store_text(text)
    if asked is not None and "://" in asked:
        require_reachable(resolve_store(text))
