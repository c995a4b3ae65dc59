"""Takes a tuned model out of a sweep: a folder that others load, with a model card.

Confirmed trials keep their weights in the sweep's folder for as long as that stays. They are
checked against their manifest, copied or merged into their base, and appear in one step.
"""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from keepgain.core.config import ModelRef, has_adapter
from keepgain.core.errors import UserError
from keepgain.core.identity import folder_digest
from keepgain.core.object_store import files_of, is_empty
from keepgain.core.publish import MANIFEST, publish, verify
from keepgain.core.record import Evidence
from keepgain.core.status import Stage
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.reader import open_reader
from keepgain.sweeps.base_models import FILES
from keepgain.sweeps.exported import Exported
from keepgain.sweeps.iterate import BEST, Start, decided_trial, find_start, merge_adapter
from keepgain.sweeps.model_card import model_card
from keepgain.sweeps.model_code import CODE
from keepgain.sweeps.overview import read_runs
from keepgain.sweeps.refit import refitted
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.served import form_of

README = "README.md"
WHOLE = ", or export without --merge and --refit"
LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
"""Files of the base that go along with weights made from it."""


@dataclass(frozen=True)
class Export:
    """What was written."""

    sweep: str
    run_key: str
    place: str
    """Folder or URL that has the files."""
    adapter: bool
    """An adapter that needs its base; else a whole model."""


def export(
    location: StoreLocation,
    sweep: str,
    trial: str,
    target: Path | str,
    *,
    merge: bool = False,
    refit: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Export:
    """Writes the model of a trial to `target`.

    Args:
        sweep: Id, or `last`.
        trial: As of `sweeps.iterate.find_start`; `best` is the sweep's decision.
        target: A folder that is not there, or empty; or such a URL of `core.object_store`.
        merge: Merge an adapter into its base; a whole model stays as it is.
        refit: Train it anew on training and validation rows first: see `sweeps.refit`.
        say: Called with a line before that.

    Raises:
        UserError: `target` is taken, no such sweep or trial, no weights of it or damaged ones, a
            base to merge with or to train on that is gone or another one, or a refit that cannot
            be. Nothing was written.
    """
    _refuse_taken(target)
    evidence = evidence_of(location, sweep)
    folder = location.sweep_folder(evidence.sweep.id)
    if not (folder / LEDGER_NAME).is_file():
        raise UserError(
            f"the files of sweep '{evidence.sweep.id}' are not here: {folder}.",
            hint="Weights lie where the sweep ran: run this there, with that --store.",
        )
    if trial == BEST:
        trial = decided_trial(folder, "TRIAL")
    runs = read_runs(folder)
    _refuse_unconfirmed(runs, trial)
    start = find_start(location.work, f"{evidence.sweep.id}/{trial}", "TRIAL")
    run = next(r for r in runs if folder / _weights(r) == start.folder)
    joined = merge and has_adapter(start.method)
    if joined or refit:
        refuse_other_base(start.base, WHOLE)
    tested = (r for r in runs if r.asked.stage is Stage.TEST and form_of(r.asked) is None)
    test = next((t for t in tested if _is_of(t, run)), None)
    with ExitStack() as stack:
        made = stack.enter_context(refitted(folder, run, test, say)) if refit else None
        weights = start if made is None else replace(start, folder=made.weights)
        exported = Exported(weights, run, test, joined, made)
        _write(evidence, exported, target)
    adapter = has_adapter(start.method) and not joined
    place = files_of(target) if isinstance(target, str) else str(target)
    return Export(evidence.sweep.id, run.run_key, place, adapter)


def _write(evidence: Evidence, exported: Exported, target: Path | str) -> None:
    start, card = exported.start, model_card(evidence, exported)

    def write(into: Path) -> None:
        (_merged if exported.merged else _copied)(start, into)
        for pattern in LICENCES:
            for path in Path(start.base.path).glob(pattern):
                shutil.copy(path, into / path.name)
        (into / README).write_text(card, encoding="utf-8")

    try:
        with TemporaryDirectory(prefix="keepgain-export-") as staging:
            publish(target, write, staging=Path(staging))
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"cannot be written ({why}).", where=str(target)) from None


def evidence_of(location: StoreLocation, sweep: str) -> Evidence:
    """The record of a sweep by its id, or of the `last` one.

    Raises:
        UserError: There is none.
    """
    reader = open_reader(location)
    if sweep != "last":
        return reader.load(sweep)
    known = reader.sweep_ids()
    if not known:
        raise UserError(f"store {location.display} holds no sweep.", hint="`sweep run` makes one.")
    return reader.load(known[0])


def _refuse_taken(target: Path | str) -> None:
    if isinstance(target, str):
        if not is_empty(target):
            raise UserError(
                "something is there already.",
                where=f"--to {target}",
                hint="Name a place that is empty.",
            )
        return
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        what = "is not empty" if target.is_dir() else "is a file"
        raise UserError(
            f"the folder {what}.", where=f"--to {target}", hint="Name a new or an empty one."
        )


def _refuse_unconfirmed(runs: list[RunState], trial: str) -> None:
    """Of runs that begin with `trial`, some must have been asked to keep their weights."""
    found = [r for r in runs if r.run_key.startswith(trial)]
    if found and all(r.asked.stage is Stage.SEARCH for r in found):
        raise UserError(
            f"the weights of trial {found[0].asked.trial_id} were not kept: only confirmed trials "
            "keep them.",
            where="TRIAL",
            hint="Run its settings as a sweep of their own (`search: {sampler: list, configs: "
            "[...]}`) and export what that confirms; its search run is reused.",
        )


def refuse_other_base(base: ModelRef, otherwise: str) -> None:
    """With other weights than it was trained on, it is another model.

    Args:
        base: Of a trial.
        otherwise: What to do if it cannot be put back, for messages.

    Raises:
        UserError: It is gone, or another one.
    """
    folder = Path(base.path)
    if not folder.is_dir():
        raise UserError(
            f"the base {base.name} is not there: {folder}.",
            hint=f"Put it back{otherwise}.",
        )
    patterns = (*FILES, CODE) if base.trust_remote_code else FILES
    if folder_digest(folder, patterns) != base.digest:
        raise UserError(
            f"{folder} is not the base {base.name} any more that the trial was trained on.",
            hint=f"Put that one back{otherwise}.",
        )


def _weights(run: RunState) -> str:
    """Of the run's folder; a name that no folder has where it kept none."""
    report = run.last_report
    return (report.model_folder if report else None) or "\0"


def _is_of(test: RunState, run: RunState) -> bool:
    return test.asked.config.get("trained_by") == run.run_key


def _copied(start: Start, into: Path) -> None:
    ignored = shutil.ignore_patterns(MANIFEST, README)
    shutil.copytree(start.folder, into, ignore=ignored, dirs_exist_ok=True)


def _merged(start: Start, into: Path) -> None:
    inner = into / "merged"
    merge_adapter(Path(start.base.path), start.folder, inner, start.base.trust_remote_code)
    verify(inner)
    (inner / MANIFEST).unlink()
    for path in sorted(inner.iterdir()):
        path.rename(into / path.name)
    inner.rmdir()
