"""Finished runs of earlier sweeps, so that an edited spec trains only what is new."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.answers import texts_path
from keepgain.core.config import Runtime
from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.status import TrialStatus
from keepgain.sweeps.search.ledger import read_events
from keepgain.sweeps.search.replay import RunState, replay

LEDGER_NAME = "ledger.jsonl"
_NUMERICS = {"engine", "zero_stage", "world_size", "micro_batch_size", "device", "dtype"}
"""Fields of `Runtime` that change what a run computes, and are not in its key."""
_LATER = {"attention", "gradient_checkpointing", "compile", "deepspeed", "packing"}
"""Such fields that came later: a run that does not name one had its default."""


@dataclass(frozen=True)
class Finished:
    """A completed run of another sweep, with its files still there."""

    folder: Path
    run: RunState

    def reports(self, interpolate: tuple[float, ...]) -> tuple[RungReport, ...] | None:
        """Its reports with the scores at these shares alone, in their order (`sweeps.candidates`);
        None: one is missing, and the weights that it would be scored from are gone."""
        *below, last = self.run.reports
        found = {c.interpolation: c for c in last.candidates}
        if not found.keys() >= set(interpolate):
            return None
        wanted = tuple(found[alpha] for alpha in interpolate)
        return (*below, last.model_copy(update={"candidates": wanted}))


def finished_elsewhere(
    work: Path, own_id: str, runtime: Runtime, say: Callable[[str], None]
) -> dict[str, Finished]:
    """Run key → completed run with the same numerics, over all other sweeps of this store.

    Args:
        work: Folder that holds the sweep folders.
        own_id: The sweep that asks.
        runtime: How its own runs are carried out; only `scoring_batch_size` may differ.
        say: Told of a ledger that cannot be read: its runs are trained again instead.
    """
    found: dict[str, Finished] = {}
    numerics = runtime.model_dump(mode="json", include=_NUMERICS | _LATER)
    for ledger in sorted(work.glob(f"*/{LEDGER_NAME}")):
        folder = ledger.parent
        if folder.name == own_id:
            continue
        try:
            runs = replay(read_events(ledger)).runs
        except UserError as error:
            say(f"warning: nothing is reused from {folder.name}: {error}")
            continue
        for key, run in runs.items():
            if _is_whole(run) and _has_numerics(run, numerics) and _has_files(folder, run):
                found[key] = Finished(folder, run)
    return found


def take_over(finished: Finished, folder: Path) -> None:
    """Links the run's files into the sweep in `folder`; they are never written to again."""
    for path in [*_files(finished.run), *_texts(finished)]:
        source, target = finished.folder / path, folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)
        elif not target.exists():
            _link(str(source), str(target))


def _is_whole(run: RunState) -> bool:
    """Completed, with a report of every rung: trials are compared there."""
    rungs = [report.rung for report in run.reports]
    return run.status is TrialStatus.COMPLETED and bool(rungs) and rungs == [*range(len(rungs))]


def _files(run: RunState) -> list[str]:
    last = run.reports[-1]
    paths = [path for r in run.reports for path in (r.items_path, r.losses_path) if path]
    paths += [c.items_path for c in last.candidates]
    if last.answers_path is not None:
        paths.append(last.answers_path)
    folder = last.model_folder
    return paths if folder is None else [*paths, folder]


def _texts(finished: Finished) -> list[str]:
    """Of the items that it answered, where they were kept."""
    suites = finished.run.asked.config.get("suites", ())
    paths = [texts_path(finished.folder, suite["digest"]) for suite in suites]
    return [str(p.relative_to(finished.folder)) for p in paths if p.exists()]


def _has_numerics(run: RunState, numerics: Mapping[str, Any]) -> bool:
    later = Runtime().model_dump(mode="json", include=_LATER)
    asked = later | run.asked.config.get("runtime", {})
    return all(name in asked and asked[name] == value for name, value in numerics.items())


def _has_files(folder: Path, run: RunState) -> bool:
    return all((folder / p).exists() for p in _files(run))


def _link(source: str, target: str) -> None:
    """A hard link where the file system has them, else a copy."""
    if os.path.exists(target):
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
