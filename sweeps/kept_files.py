"""Large files of a sweep: where checkpoints lie, and which weights stay when it is decided.

Checkpoints end with their runs. Weights are kept of confirmed runs, for the test stage; afterwards
`storage.keep_models` says of which:

* all: of every confirmed run.
* front: of trials on a front or near one, of what the decision names (its trial, what is tied with
  it, the candidate of each size).
* decided: of the decision's own trial, as `sweep export` takes it.

Nothing goes that another sweep of the store starts from. Ledger, record and item scores stay: what
`analyze` says does not change. A later sweep reuses a run only while its weights are there, and
trains it again otherwise.
"""

import json
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.errors import UserError
from keepgain.core.publish import TEMPORARY, is_url, located, remove
from keepgain.core.status import Stage
from keepgain.sweeps.iterate import BEST, DECISION
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import read_events
from keepgain.sweeps.search.replay import RunState, replay
from keepgain.sweeps.spec_resources import KeepModels

SPEC = "spec.resolved.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Removable:
    """Something large that nothing needs any more."""

    what: str
    place: Path | str
    bytes: int
    """That its removal gives free: files that another sweep shares count nothing."""


def checkpoint_base(prepared: Prepared) -> str | None:
    """As of `core.work.TrainRequest.checkpoints`."""
    asked = prepared.spec.storage.checkpoints
    return None if asked is None else f"{asked.rstrip('/')}/{prepared.sweep_id}"


def drop_checkpoints(folder: Path, base: str | None, run_key: str, last: str | None) -> None:
    """Removes those of a run that never goes on.

    Args:
        folder: Of the sweep.
        base: As of `checkpoint_base`.
        last: The newest, as its report names it; None: not known, and those on a URL are left to
            `sweep prune`.
    """
    for path in (folder / "runs" / run_key).glob("checkpoint-r*"):
        remove(path)
    if base is None:
        return
    place = located(folder, base)
    if isinstance(place, Path):
        for path in (place / run_key).glob("checkpoint-r*"):
            remove(path)
    elif last is not None and is_url(last):
        # The driver must not wait for a slow store.
        threading.Thread(target=_remove_there, args=(last,), daemon=True).start()


def prune(
    folder: Path, keep: KeepModels, *, dry_run: bool = False, checkpoints: bool = True
) -> list[Removable]:
    """Removes, or only finds, what a decided sweep need not keep; the caller holds its ledger.

    Args:
        folder: Of the sweep; the other sweeps of its store lie beside it.
        checkpoints: Also those that are left, with what killed writers left.

    Raises:
        UserError: The sweep is not decided.
    """
    runs = replay(read_events(folder / LEDGER_NAME)).runs
    decision = _decision(folder)
    found = [*_models(folder, runs.values(), decision, keep)]
    if checkpoints:
        found += _left(folder)
    if not dry_run:
        for one in found:
            remove(one.place)
    return found


def _models(
    folder: Path, runs: Iterable[RunState], decision: dict[str, Any], keep: KeepModels
) -> Iterable[Removable]:
    if keep == "all":
        return
    stay = _trials(decision, keep)
    if not stay:
        return  # it names none: no weights are better than the others
    started = _starts(folder, decision)
    for run in runs:
        report = run.last_report
        if run.asked.stage is not Stage.CONFIRM or report is None or report.model_folder is None:
            continue
        path = folder / report.model_folder
        needed = run.asked.trial_id in stay or any(run.run_key.startswith(s) for s in started)
        if not needed and path.is_dir():
            yield Removable(f"weights of {run.asked.model} {run.run_key}", path, _bytes(path))


def _left(folder: Path) -> Iterable[Removable]:
    """Checkpoints, and what killed writers left: a decided sweep goes nowhere from there."""
    bases: list[Path] = [folder / "runs"]
    place = _place(folder)
    if isinstance(place, Path):
        bases.append(place)
    for base in bases:
        for pattern in ("checkpoint-r*", f"{TEMPORARY}*"):
            for path in sorted(base.glob(f"*/{pattern}")):
                if path.is_dir():
                    what = f"{path.name} of {path.parent.name}"
                    yield Removable(what, path, _bytes(path))
    if isinstance(place, str):
        from keepgain.core.object_store import published_below

        for url, size in published_below(place).items():
            yield Removable(url.removeprefix(place).strip("/"), url, size)


def _place(folder: Path) -> Path | str | None:
    """Where the spec puts the checkpoints of this sweep, if not in its folder."""
    asked = (_spec(folder).get("storage") or {}).get("checkpoints")
    return None if asked is None else located(folder, f"{asked.rstrip('/')}/{folder.name}")


def _trials(decision: dict[str, Any], keep: KeepModels) -> set[str]:
    """Ids of the trials whose weights stay."""
    answer = decision["decision"]
    named = {answer["trial"]}
    if keep == "front":
        named |= {*answer.get("tied_with", ()), *(s["trial"] for s in decision.get("sizes", ()))}
        named |= {t["id"] for t in decision.get("trials", ()) if t["on_front"] or t["near_front"]}
    return {str(t) for t in named if t is not None}


def _starts(folder: Path, decision: dict[str, Any]) -> set[str]:
    """Beginnings of the run keys that other sweeps of the store train on from."""
    found = set()
    for path in folder.parent.glob(f"*/{SPEC}"):
        for model in _spec(path.parent).get("models") or ():
            sweep, _, trial = str(model.get("start") or "").partition("/")
            if sweep == folder.name and path.parent != folder:
                found.add(str(decision["decision"]["trial"]) if trial == BEST else trial)
    return found


def _decision(folder: Path) -> dict[str, Any]:
    try:
        decision: dict[str, Any] = json.loads((folder / DECISION).read_text(encoding="utf-8"))
        decision["decision"]["trial"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"sweep '{folder.name}' has no decision yet, and goes on from what it keeps.",
            hint="Run it to its end first.",
        ) from None
    return decision


def _spec(folder: Path) -> dict[str, Any]:
    """As it was run; empty where it was imported, or made by hand."""
    path = folder / SPEC
    if not path.exists():
        return {}
    spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return spec


def _bytes(folder: Path) -> int:
    files = [p.lstat() for p in folder.rglob("*") if p.is_file()]
    return sum(f.st_size for f in files if f.st_nlink == 1)


def _remove_there(url: str) -> None:
    try:
        remove(url)
    except Exception as error:  # of any library; `sweep prune` will find it
        log.warning("the checkpoint %s was not removed: %s", url, error)
