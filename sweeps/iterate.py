"""Iterative tuning: a base model of a sweep may be what an earlier sweep of the store has tuned.

`models: [{start: SWEEP/TRIAL, reference: BASE}]` trains on from a confirmed trial. Gain and
forgetting are still measured against the original base, the reference, so that small losses of many
rounds add up in sight; the start itself is scored beside it, as the arm `previous_round`.

A start that was trained in full is the exported folder. An adapter is merged into the model that it
was trained on, once, in a process of its own when the sweep's folder is written; until then its
identity follows from both parts.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.config import Method, ModelRef
from keepgain.core.errors import UserError
from keepgain.core.identity import fingerprint, folder_digest
from keepgain.core.publish import verify
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import read_events
from keepgain.sweeps.search.replay import RunState, replay
from keepgain.trainers.merge import TRUST

BEST = "best"
"""In place of a trial: the one that the earlier sweep has decided for."""
DECISION = Path("decision") / "decision.json"
MERGE = "keepgain.trainers.merge"
CARD = "keepgain.json"
"""Of the weights, as `trainers.run` writes it."""


@dataclass(frozen=True)
class Start:
    """A confirmed run of an earlier sweep, with its weights."""

    sweep: str
    trial_id: str
    model: str
    """The base model's name in that sweep."""
    method: Method
    folder: Path
    """Exported weights: of the whole model, or of an adapter."""
    base: ModelRef
    """What it was trained on."""
    reference: ModelRef
    """What its gain and forgetting were measured against."""

    @property
    def merged_digest(self) -> str:
        """Identity of the base with the adapter in it, known before they are merged."""
        adapter = folder_digest(self.folder, ("adapter_*",))
        return fingerprint({"base": self.base.digest, "adapter": adapter}, 64)


def find_start(work: Path, text: str, where: str) -> Start:
    """The confirmed run that `SWEEP/TRIAL` names.

    Args:
        work: Folder of the store's sweeps.
        text: TRIAL is an id, the beginning of one or of a run key (`ID-sSEED`: else the first
            confirmed seed is taken), or `best`.
        where: `file:key` for messages.

    Raises:
        UserError: No such sweep or confirmed trial, several of them, or damaged weights.
    """
    sweep, _, trial = text.partition("/")
    folder = work / sweep
    if not sweep or not trial or Path(sweep).name != sweep:
        raise UserError(
            f"`start` is SWEEP/TRIAL (given: {text!r}).",
            where=where,
            hint="For example tickets-1a2b3c/best, or the first digits of a trial's id for `best`.",
        )
    if not (folder / LEDGER_NAME).is_file():
        known = ", ".join(sorted(p.parent.name for p in work.glob(f"*/{LEDGER_NAME}")))
        raise UserError(
            f"no sweep '{sweep}' in this store.", where=where, hint=f"It has: {known or 'none'}."
        )
    runs = replay(read_events(folder / LEDGER_NAME)).runs
    run = _confirmed(runs, decided_trial(folder, where) if trial == BEST else trial, sweep, where)
    report, config = run.last_report, run.asked.config
    assert report is not None and report.model_folder is not None, "`_confirmed` asks for it"
    weights = folder / report.model_folder
    if not weights.is_dir():
        raise UserError(
            f"the weights of {text} are gone: {weights}.",
            where=where,
            hint="`storage.keep_models` and `sweep prune` remove those off the front.",
        )
    verify(weights)
    base = next(
        r
        for r in runs.values()
        if r.asked.stage is Stage.BASE and r.asked.kind == "base" and r.asked.model == _model(run)
    )
    return Start(
        sweep=sweep,
        trial_id=run.asked.trial_id,
        model=_model(run),
        method=_method(config, weights),
        folder=weights,
        base=ModelRef.model_validate(config["model"]),
        reference=ModelRef.model_validate(base.asked.config["model"]),
    )


def _method(config: dict[str, Any], weights: Path) -> Method:
    """A trainer of the user's own may leave another kind of folder than its trial's method says."""
    said = json.loads((weights / CARD).read_text()) if config.get("trainer") else config
    method: Method = said["method"]
    return method


def _model(run: RunState) -> str:
    return run.asked.model


def decided_trial(folder: Path, where: str) -> str:
    """Id of the trial that the sweep in `folder` has decided for.

    Raises:
        UserError: It has no decision yet, or decided for none.
    """
    try:
        decision: dict[str, Any] = json.loads((folder / DECISION).read_text())["decision"]
    except (OSError, ValueError, KeyError):
        raise UserError(
            f"{folder.name} has no decision yet.",
            where=where,
            hint="Run it to its end, or name a confirmed trial.",
        ) from None
    if decision["trial"] is None or decision["status"] == "do_not_fine_tune":
        status = str(decision["status"]).replace("_", " ")
        raise UserError(
            f"{folder.name} has decided for no trial ({status}).",
            where=where,
            hint="Name a confirmed trial in place of `best`.",
        )
    return str(decision["trial"])


def _confirmed(runs: dict[str, RunState], trial: str, sweep: str, where: str) -> RunState:
    """The first confirmed run of the one trial whose key begins so."""
    confirmed = [
        r
        for r in runs.values()
        if r.asked.stage is Stage.CONFIRM
        and r.status is TrialStatus.COMPLETED
        and r.last_report is not None
        and r.last_report.model_folder is not None
    ]
    found = [r for r in confirmed if r.run_key.startswith(trial)]
    ids = list(dict.fromkeys(r.asked.trial_id for r in found))
    known = ", ".join(dict.fromkeys(r.asked.trial_id for r in confirmed)) or "none"
    if len(ids) != 1:
        what = "no confirmed trial" if not ids else f"{len(ids)} confirmed trials"
        raise UserError(
            f"{what} of {sweep} begins with '{trial}'.",
            where=where,
            hint=f"Confirmed, with weights kept: {known}.",
        )
    return found[0]


def merge_adapter(base: Path, adapter: Path, target: Path, trust_remote_code: bool = False) -> None:
    """Writes the base with the adapter in it to `target`, which then is whole; once.

    In a process of its own: the driver does not load torch.

    Raises:
        UserError: It failed; with the last line of what it said.
    """
    if target.is_dir():
        verify(target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    trust = [TRUST] if trust_remote_code else []
    done = subprocess.run(
        [sys.executable, "-m", MERGE, str(base), str(adapter), str(target), *trust],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        said = (done.stderr.strip() or "no message").splitlines()[-1]
        raise UserError(
            f"the adapter could not be merged into its base: {said}", where=str(adapter)
        )
