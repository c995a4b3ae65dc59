"""Everything that can refuse a sweep before anything is written or started."""

from collections.abc import Callable, Collection
from pathlib import Path

from keepgain.cluster import ray_cluster
from keepgain.core.errors import UserError
from keepgain.core.store.client import require_reachable
from keepgain.core.store.location import require_durable, resolve_store, store_text
from keepgain.sweeps.base_models import local_folder
from keepgain.sweeps.check import check
from keepgain.sweeps.gates.findings import MAX_EXAMPLES, Finding
from keepgain.sweeps.gates.resources import Machine
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.search.storage import check_url
from keepgain.sweeps.spec import LoadedSpec, load_spec

ANY_CLUSTER = Machine(cpus=1 << 30, memory_bytes=1 << 60, gpus=1 << 30)
"""A cluster that is not asked yet: everything may fit. `Crew.start` asks it."""


def preflight(
    spec: Path,
    say: Callable[[str], None],
    *,
    profile: str | None,
    store: str | None,
    address: str | None,
) -> tuple[Prepared, tuple[str, ...]]:
    """Reads and checks the spec and its data; sees that store and cluster answer.

    Returns:
        The prepared sweep, its rows not yet written, and the warnings of the checks.

    Raises:
        UserError: Something cannot be used; nothing was written.
    """
    inside_job = ray_cluster.inside_ray_job()
    if inside_job:
        require_durable(store, Path.cwd())
    loaded = load_spec(spec, profile)
    if inside_job:
        _refuse_paths_outside(loaded, Path.cwd())
    prepared = prepare(loaded, None, say, store)
    warnings = _check(prepared, say, ANY_CLUSTER if ray_cluster.is_remote(address) else None)
    ray_cluster.require_listening(address)
    _require_server(store)
    if (studies := prepared.spec.search.storage) is not None:
        check_url(studies, loaded.where("search.storage"), connect=True)
    return prepared, warnings


def _check(
    prepared: Prepared, say: Callable[[str], None], machine: Machine | None
) -> tuple[str, ...]:
    findings: list[Finding] = check(prepared, machine)
    errors = [f for f in findings if f.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: `sweep check`)" if len(errors) > 1 else ""
        first = errors[0]
        rows = f" (e.g. {'; '.join(first.rows[:MAX_EXAMPLES])})" if first.rows else ""
        where = _where(prepared.loaded, first)
        raise UserError(first.message + rows + more, where=where, hint=first.hint)
    warnings = tuple(f"{f.where}: {f.message}" for f in findings)
    for warning in warnings:
        say(f"warning: {warning}")
    return warnings


def _where(loaded: LoadedSpec, finding: Finding) -> str:
    """The file and key of a finding; one about rows (`SOURCE/SPLIT`) names its source or suite."""
    name = finding.where.partition("/")[0]
    groups: dict[str, Collection[str]] = {"data": loaded.spec.data, "suites": loaded.spec.suites}
    key = next((f"{g}.{name}" for g, entries in groups.items() if name in entries), finding.where)
    return loaded.where(key)


def _refuse_paths_outside(loaded: LoadedSpec, working_dir: Path) -> None:
    """A job's files must be in what was submitted, or be absolute paths that every node has."""
    root = working_dir.resolve()
    # A folder may also stand where a hub id may (`models: [../small]`).
    models = [(m, local_folder(m, loaded.folder)) for m in loaded.spec.models]
    named = [(f"models.{i}", m.path or (f and m.id)) for i, (m, f) in enumerate(models)]
    named += [
        (f"models.{i}.reference", m.reference)
        for i, m in enumerate(loaded.spec.models)
        if m.reference and (loaded.folder / m.reference).is_dir()
    ]
    for kind, group in (("data", loaded.spec.data), ("suites", loaded.spec.suites)):
        for name, entry in group.items():
            for field in ("path", "train", "validation", "test"):
                named.append((f"{kind}.{name}.{field}", getattr(entry, field, None)))
            task = getattr(entry, "lm_eval", None)
            named.append((f"{kind}.{name}.lm_eval.include", task and task.include))
    for key, text in named:
        if text is None or Path(text).is_absolute():
            continue
        if not (loaded.folder / text).resolve().is_relative_to(root):
            raise UserError(
                f"'{text}' lies outside the job's working directory, which alone is uploaded.",
                where=loaded.where(key),
                hint="Put it below --working-dir, or give an absolute path that all nodes have.",
            )


def _require_server(text: str | None) -> None:
    asked, _ = store_text(text)
    if asked is not None and "://" in asked:
        require_reachable(resolve_store(text))
