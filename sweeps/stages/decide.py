"""Decide: the decision as `analyze` makes it, kept beside the record; nothing is trained.

The same decision as MLflow's users look for it: a note on the sweep's own run, tags and metrics to
search by, a figure, and the figures of every run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from keepgain.core.errors import UserError
from keepgain.core.later import read_later
from keepgain.core.record import Evidence
from keepgain.core.status import Stage
from keepgain.core.store.names import RECORD_FOLDER
from keepgain.core.store.record_files import RECORD_NAME, load_folder

if TYPE_CHECKING:
    from keepgain.analysis.result import Analysis

DECISION = "decision"
FIGURES = "figures"
TAG_DECISION = "keepgain.decision."
NOTE_LENGTH = 7800
"""MLflow's notes are tags, of at most 8,000 characters."""
_CUT = "\n\nCut here; the whole of it is the artifact `decision/decision.md`.\n"


@dataclass(frozen=True)
class Decided:
    """What the sweep's own run is to carry, and the figures of the others."""

    files: Mapping[Path, str]
    """File → its folder among the artifacts."""
    note: str
    """Markdown that MLflow's UI shows first."""
    tags: Mapping[str, str]
    """`keepgain.decision.*`."""
    metrics: Mapping[str, float]
    """`decision/*`: of the decision's trial, with the ends of intervals as `*_low` and `*_high`."""
    runs: Mapping[str, Mapping[str, float]]
    """See `sweeps.run_figures`."""
    cautions: tuple[str, ...]
    """What puts the search itself in doubt, a sentence each: unsafe rungs, unequal effort."""

    @property
    def status(self) -> str:
        """Of the decision, as in `decision.json`."""
        return self.tags[f"{TAG_DECISION}status"]


def decide_again(folder: Path) -> Decided | None:
    """What is kept of a decision agrees with what `analyze` says now, with all that came later.

    Args:
        folder: Of the sweep.

    Returns:
        None where there is nothing to decide: no record lies here, or the sweep goes on.
    """
    record = folder / RECORD_FOLDER
    if not (record / RECORD_NAME).is_file():
        return None
    evidence = replace(load_folder(record), later=read_later(folder))
    return write_decision(evidence, folder) if evidence.sweep.stage is Stage.DECIDED else None


def write_decision(evidence: Evidence, folder: Path) -> Decided:
    """Writes `decision/` (`decision.json`, the contract; `.txt`, `.md`, `report.html`) and
    `figures/`; each file whole or not at all."""
    from keepgain.analysis import render
    from keepgain.analysis.analyze import analyze
    from keepgain.analysis.contract import to_json
    from keepgain.core.pages import save
    from keepgain.sweeps.run_figures import run_figures

    analysis = analyze(evidence)
    markdown = render.markdown(analysis)
    texts = {
        "decision.json": to_json(analysis) + "\n",
        "decision.txt": render.text(analysis),
        "decision.md": markdown,
    }
    target = folder / DECISION
    target.mkdir(exist_ok=True)
    files = {target / name: DECISION for name in texts}
    for path, text in zip(files, texts.values(), strict=True):
        save(path, text)
    return Decided(
        files=files | _figures(analysis, folder / FIGURES) | _report(evidence, analysis, target),
        note=_note(markdown),
        tags=_tags(analysis),
        metrics=_metrics(analysis),
        runs=run_figures(evidence),
        cautions=analysis.cautions,
    )


def _figures(analysis: "Analysis", folder: Path) -> dict[Path, str]:
    """Gain against forgetting; nothing where no trial has both."""
    from keepgain.analysis.plots import save

    folder.mkdir(exist_ok=True)
    path = folder / "gain_forgetting.svg"
    temporary = path.with_name(f"{path.stem}.tmp{path.suffix}")  # the ending says the format
    try:
        save(analysis, temporary)
    except UserError:
        temporary.unlink(missing_ok=True)
        return {}
    temporary.replace(path)
    return {path: FIGURES}


def _report(evidence: Evidence, analysis: "Analysis", folder: Path) -> dict[Path, str]:
    """The report as one HTML file."""
    from keepgain.analysis.report.html import write_report

    path = folder / "report.html"
    write_report(evidence, analysis, path)
    return {path: DECISION}


def _note(markdown: str) -> str:
    """The Markdown itself, or its beginning up to the end of a line; with a small heading, since
    the page has its own."""
    if markdown.startswith("# "):
        markdown = f"##{markdown}"
    if len(markdown) <= NOTE_LENGTH:
        return markdown
    return markdown[: markdown.rindex("\n", 0, NOTE_LENGTH)] + _CUT


def _tags(analysis: "Analysis") -> dict[str, str]:
    decision = analysis.decision
    said = {
        "status": decision.status,
        "split": decision.split,
        "model": decision.model,
        "trial": decision.trial,
        "tied_with": " ".join(decision.tied_with) or None,
        "reason": decision.reason,
    }
    # A sweep that is decided again may name less than before; MLflow cannot take a tag away.
    return {TAG_DECISION + name: value or "" for name, value in said.items()}


def _metrics(analysis: "Analysis") -> dict[str, float]:
    """Of the decision's trial; empty where it names none."""
    decision = analysis.decision
    row = next((r for r in analysis.rows if r.who.trial_id == decision.trial), None)
    found = {"probability": decision.probability}
    for name, e in row.estimates.items() if row else ():
        found |= {name: e.value, f"{name}_low": e.low, f"{name}_high": e.high}
    cost = analysis.question.cost
    if row is not None and cost is not None:
        found[cost] = row.who.cost.get(cost)
    return {f"{DECISION}/{k}": v for k, v in found.items() if v is not None}
