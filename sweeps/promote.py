"""Puts a sweep's chosen model into MLflow's model registry, with what speaks for it.

A version is one replicate: the weights of one confirmed run, with that run's own scores. Its
intervals are over items alone. What the sweep found of its settings, over seeds, is the decision
beside it.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.analysis import objectives, stats
from keepgain.analysis.measures import Measures
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import build_table
from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.identity import fingerprint
from keepgain.core.publish import MANIFEST
from keepgain.core.record import Evidence
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.registry import check_names, register, run_id_of
from keepgain.sweeps.export import README, Export, evidence_of, export
from keepgain.sweeps.iterate import BEST, DECISION
from keepgain.sweeps.run_figures import alone

CHAMPION = "champion"
PROMOTED = ("recommended", "tied", "provisional")
"""Decisions that name a tuned model; after any other one it must be named by hand."""


@dataclass(frozen=True)
class Promoted:
    """A version in the registry."""

    name: str
    version: int
    alias: str
    new: bool
    """False: these weights were a version already."""
    export: Export


def promote(
    location: StoreLocation,
    sweep: str,
    trial: str | None = None,
    *,
    name: str | None = None,
    alias: str = CHAMPION,
    merge: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Promoted:
    """Registers the model of a trial.

    Args:
        sweep: Id, or `last`.
        trial: As of `sweeps.export.export`; None: what the sweep has decided for.
        name: Of the registered model; None: the sweep's name.
        alias: Goes to this version, away from the one that had it.
        merge: Register an adapter merged into its base; else as it was scored, an adapter.
        say: Called with a line while something takes long.

    Raises:
        UserError: A decision for no model and no `trial`, a model that cannot be exported, or a
            store that cannot be reached. Nothing was registered.
    """
    evidence = evidence_of(location, sweep)
    sweep_id = evidence.sweep.id
    name = name or evidence.sweep.name
    check_names(name, alias)
    decided = _decision(location.sweep_folder(sweep_id))
    if trial is None:
        _refuse_undecided(sweep_id, decided, evidence)
    location.work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".promote-", dir=location.work) as temporary:
        folder = Path(temporary) / "model"
        made = export(location, sweep_id, trial or BEST, folder, merge=merge)
        run_id = run_id_of(location, sweep_id, made.run_key)
        digest = _digest(folder)
        if decided is not None:
            shutil.copy(location.sweep_folder(sweep_id) / DECISION, folder / DECISION.name)
        split, figures = replicate_figures(evidence, made.run_key)
        say(f"registering run {made.run_key} as '{name}' ...")
        found = register(
            location,
            run_id,
            folder,
            name,
            alias,
            digest=digest,
            tags=_tags(evidence, made, decided, split, figures),
            description=_description(evidence, made, decided, split, figures),
        )
    return Promoted(name, found.version, alias, found.new, made)


def replicate_figures(evidence: Evidence, run_key: str) -> tuple[Split, dict[str, Estimate]]:
    """The objectives of one run, on test items if it was scored on them, else on validation.

    Returns:
        The split, and each objective with an interval over items only (`stats.ITEMS_ONLY`).
    """
    measures = Measures(build_table(alone(evidence)))
    run = next(c for c in measures.table.configurations if c.trial_id == run_key)
    split: Split = "test" if run.has("test") else "validation"
    found: dict[str, Estimate] = {}
    for name in objectives.NAMES:
        blocks = None if name == "max_forgetting" else measures.blocks(run, split, name)
        if blocks is not None:
            found[name] = stats.combine(blocks, [], 1).estimate()
    return split, found


def _decision(folder: Path) -> dict[str, Any] | None:
    """As it was kept; None if there is none yet."""
    try:
        decision: dict[str, Any] = json.loads((folder / DECISION).read_text())["decision"]
    except (OSError, ValueError, KeyError):
        return None
    return decision


def _refuse_undecided(sweep_id: str, decided: Mapping[str, Any] | None, evidence: Evidence) -> None:
    if decided is not None and decided["status"] in PROMOTED and decided["trial"] is not None:
        return
    status = str(decided["status"]).replace("_", " ") if decided else "no decision yet"
    confirmed = {r.trial_id: None for r in evidence.sweep.runs if r.stage == "confirm"}
    raise UserError(
        f"{sweep_id} has decided for no tuned model ({status}), so there is none to promote.",
        where="--trial",
        hint=f"Name a confirmed trial yourself: {', '.join(confirmed) or 'there is none'}.",
    )


def _digest(folder: Path) -> str:
    """Identity of what is loaded: of all files but the card, which says what is known by now."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    return fingerprint({n: f["sha256"] for n, f in files.items() if n != README}, 64)


def _tags(
    evidence: Evidence,
    made: Export,
    decided: Mapping[str, Any] | None,
    split: Split,
    figures: Mapping[str, Estimate],
) -> dict[str, str]:
    run = next(r for r in evidence.sweep.runs if r.run_key == made.run_key)
    facts = {
        "sweep_id": evidence.sweep.id,
        "trial_id": run.trial_id,
        "run_key": run.run_key,
        "seed": str(run.seed),
        "model": run.model,
        "adapter": str(made.adapter).lower(),
        "decision.status": str(decided["status"]) if decided else "none",
        "decision.chosen": str(bool(decided and decided["trial"] == run.trial_id)).lower(),
        "split": split,
    }
    facts |= {f"figure.{name}": _interval(e) for name, e in figures.items()}
    return {f"keepgain.{name}": value for name, value in facts.items()}


def _description(
    evidence: Evidence,
    made: Export,
    decided: Mapping[str, Any] | None,
    split: Split,
    figures: Mapping[str, Estimate],
) -> str:
    """Markdown; the card, which says more, lies among the files."""
    run = next(r for r in evidence.sweep.runs if r.run_key == made.run_key)
    lines = [
        f"Run `{run.run_key}` (seed {run.seed}) of trial `{run.trial_id}`, base {run.model}, sweep "
        f"`{evidence.sweep.id}`. " + ("An adapter for its base." if made.adapter else ""),
        "",
        f"These weights on {split} items, with 95 % intervals over items (one training: what "
        "another seed would give is not in them):",
        "",
        "| | value [95 %] | items |",
        "| --- | --- | --- |",
        *(f"| {n.replace('_', ' ')} | {_interval(e)} | {e.n_items} |" for n, e in figures.items()),
    ]
    if decided is not None:
        status = str(decided["status"]).replace("_", " ")
        lines += ["", f"The sweep's decision: **{status}**.", "", f"> {decided['reason']}"]
    lines += ["", "README.md among the files is the model card, decision.json the decision."]
    return "\n".join(lines)


def _interval(e: Estimate) -> str:
    value = "unknown" if e.value is None else f"{e.value:.4f}"
    return value if e.low is None or e.high is None else f"{value} [{e.low:.4f}, {e.high:.4f}]"
