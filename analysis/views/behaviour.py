"""`analyze ID behaviour`: what else moved from the base, the worse first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from keepgain.analysis import words
from keepgain.analysis.behaviour.beside import harm_said
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.guards import GuardFound, guards_found
from keepgain.analysis.behaviour.guards import told as guard_told
from keepgain.analysis.behaviour.judged import judged_figures
from keepgain.analysis.behaviour.moved import Change, moved
from keepgain.analysis.contract_behaviour import change_part, guard_parts, outcome_parts
from keepgain.analysis.contract_parts import estimate_part
from keepgain.analysis.find import find_row
from keepgain.analysis.flagged import on_real_items
from keepgain.analysis.grid import View
from keepgain.analysis.measures import Measures, measures_of
from keepgain.analysis.result import Analysis
from keepgain.analysis.spending import final_confidence
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import Configuration
from keepgain.analysis.views.behaviour_tables import (
    FORM,
    ORDER,
    Shown,
    grids_of,
    outcome_grid,
    rank,
    texts_for,
)
from keepgain.analysis.views.decision import origin
from keepgain.analysis.views.scored import on_split, split_notes
from keepgain.core.config import Split
from keepgain.core.items import MIN_SLICE_ITEMS
from keepgain.core.record import Evidence, RunRecord


def behaviour_view(
    evidence: Evidence, analysis: Analysis, trial: str | None, folders: Mapping[str, Path]
) -> View:
    """Every behaviour suite, slice, family figure, guard and outcome.

    Args:
        evidence: The sweep.
        analysis: Of it.
        trial: By label or id; None: the decision's, or every size's candidate.
        folders: Run key → folder of its sweep, where texts may lie.

    Raises:
        UserError: An unknown trial, or one without scores on the split.
    """
    measures = measures_of(on_real_items(evidence))
    split = analysis.decision.split
    shown = [
        _shown(measures, on_split(measures.table, name, split), analysis, split, folders)
        for name in _trials(analysis, trial)
    ]
    grids = [g for one in shown for g in grids_of(one, split, folders)]
    grids += [outcome_grid(o) for o in analysis.outcomes]
    return View(
        name="behaviour",
        title=f"{origin(analysis, split)} · behaviour",
        paragraphs=tuple(p for one in shown for p in _words(one, len(shown) > 1))
        or ("No candidate has scores, so there is no behaviour to compare.",),
        grids=tuple(g for g in grids if g.rows),
        notes=_notes(shown, analysis, measures, split),
        data=_data(shown, analysis, split, folders),
    )


def _trials(analysis: Analysis, trial: str | None) -> list[str]:
    if trial is not None:
        return [find_row(analysis.rows, trial).who.trial_id]
    candidates = [s.size.candidate.trial_id for s in analysis.sizes if s.size.candidate]
    return [t for t in candidates if t == analysis.decision.trial] or candidates


def _shown(
    measures: Measures,
    who: Configuration,
    analysis: Analysis,
    split: Split,
    folders: Mapping[str, Path],
) -> Shown:
    beside = measures.behaviours
    same = beside.configuration(who.trial_id) if beside else None
    found = moved(beside, same, split) if beside and same and same.has(split) else ()
    base = measures.base(who.model)
    return Shown(
        who=who,
        suites=tuple(sorted(found, key=lambda s: rank(s.whole))),
        guards=guards_found(
            measures, split, who, analysis.question, _confidence(analysis, who.model)
        ),
        form=_form(who.runs[split], base.runs.get(split, ()) if base else (), split),
        judged=tuple(judged_figures(folders, who, base, split)),
    )


def _confidence(analysis: Analysis, model: str) -> float:
    """At which the decision tested a size, so that a guard has one answer."""
    tested = (s.size.confidence for s in analysis.sizes if s.size.model == model)
    return next(tested, final_confidence(analysis.sweep))


def _form(
    own: Sequence[RunRecord], base: Sequence[RunRecord], split: Split
) -> tuple[tuple[str, dict[str, tuple[float | None, float]]], ...]:
    """Means over runs of what is recorded of generated answers."""
    names = {
        key.split("/")[2]: None
        for run in own
        for key in run.metrics
        if key.startswith(f"generation/{split}/") and key.endswith(FORM)
    }
    found = []
    for suite in names:
        figures: dict[str, tuple[float | None, float]] = {}
        for figure in FORM:
            key = f"generation/{split}/{suite}/{figure}"
            mine = [r.metrics[key] for r in own if key in r.metrics]
            theirs = [r.metrics[key] for r in base if key in r.metrics]
            if mine:
                figures[figure] = (fmean(theirs) if theirs else None, fmean(mine))
        found.append((suite, figures))
    return tuple(found)


# -- words ------------------------------------------------------------------------------------


def _words(one: Shown, several: bool) -> list[str]:
    name = f"{words.clean(one.who.label)}: " if several else ""
    if not one.suites:
        said = [f"{name}The sweep has no behaviour suite with scores of this trial."]
    else:
        wholes = [s.whole for s in one.suites]
        said = [
            name + (harm_said(wholes) or "No behaviour suite is shown to have moved for the worse.")
        ]
        count = {v: sum(c.verdict == v for c in wholes) for v in ORDER}
        said.append(
            f"Of {words.count(len(wholes), 'behaviour suite')}: {count['worse']} worse, "
            f"{count['better']} better, {count['changed']} farther from the base, "
            f"{count['not_resolved']} not resolved (Holm, 5 % in all)."
        )
        if unknown := [c.name for c in wholes if c.uncertain and not c.uncertain.known]:
            said.append(
                f"No interval on {words.join(unknown)}: no configuration of this size has two "
                "seeds, or scores without a known range are all alike."
            )
        slices = [p for s in one.suites for p in s.slices if p.verdict == "worse"]
        if slices:
            first = min(slices, key=lambda c: c.adjusted or 0.0)
            said.append(
                f"{words.count(len(slices), 'slice')} moved for the worse (5 % of such claims are "
                f"false), the clearest {_told(first)}."
            )
    said += [f"{g[0].upper()}{g[1:]}." for g in map(guard_told, one.guards)]
    return said


def _told(change: Change) -> str:
    assert change.uncertain is not None
    amount = words.amount_interval(change.uncertain, change.suite.info.scorer)
    return f"{words.clean(change.name)}, by {amount}"


def _notes(
    shown: Sequence[Shown], analysis: Analysis, measures: Measures, split: Split
) -> tuple[str, ...]:
    said = [
        "Changes are tuned minus base, paired by item, with 95 % intervals of their own; worse and "
        "better are said after a correction for how many were looked at."
    ]
    if small := sum(s.small for one in shown for s in one.suites):
        said.append(
            f"{words.count(small, 'slice')} with fewer than {MIN_SLICE_ITEMS} items left out."
        )
    said += _left_out(shown, analysis, measures)
    figures = [f for one in shown for s in one.suites for f in s.figures]
    if any(f.estimate.low is not None and f.estimate.n_seeds == 1 for f in figures):
        said.append("Intervals of further figures of one seed are over items alone.")
    if any(one.form for one in shown):
        said.append("The form of answers is a mean over runs, without an interval.")
    return (*said, *split_notes(analysis, measures.table, split))


def _left_out(shown: Sequence[Shown], analysis: Analysis, measures: Measures) -> list[str]:
    """Suites of runs that cannot be compared."""
    if measures.behaviours is None:
        return []
    labels = {
        w.trial_id: w.label for one in shown for w in (one.who, measures.base(one.who.model)) if w
    }
    missing = [e for e in measures.behaviours.table.excluded if e not in analysis.excluded]
    said = [f"{labels[e.trial]}: {e.reason}" for e in missing if e.trial in labels]
    return [f"Left out here: {words.clean(s)}." for s in dict.fromkeys(said)]


# -- data -------------------------------------------------------------------------------------


def _data(
    shown: Sequence[Shown], analysis: Analysis, split: Split, folders: Mapping[str, Path]
) -> dict[str, object]:
    return {
        "split": split,
        "trials": [one.who.trial_id for one in shown],
        "rows": [
            change_part(one.who, c).model_dump(mode="json")
            for one in shown
            for s in one.suites
            for c in (s.whole, *s.slices)
        ],
        "figures": [
            _figure(one, s.whole.name, f) for one in shown for s in one.suites for f in s.figures
        ],
        "judged": [_figure(one, suite, f) for one in shown for suite, f in one.judged],
        "form": [
            {"trial": one.who.trial_id, "suite": suite}
            | {f: {"base": b, "tuned": t} for f, (b, t) in figures.items()}
            for one in shown
            for suite, figures in one.form
        ],
        "guards": [
            {**part.model_dump(mode="json"), "questions": _questions(one, found, split, folders)}
            for one in shown
            for found in one.guards
            for part in guard_parts([(one.who, found)])
        ],
        "outcomes": [p.model_dump(mode="json") for p in outcome_parts(analysis.outcomes)],
    }


def _figure(one: Shown, suite: str, figure: Figure) -> dict[str, object]:
    def part(e: Estimate | None) -> object:
        return None if e is None else estimate_part(e).model_dump(mode="json")

    return {
        "trial": one.who.trial_id,
        "suite": suite,
        "name": figure.name,
        "unit": figure.unit,
        "direction": figure.direction,
        "tuned": part(figure.estimate),
        "base": part(figure.base),
        "change": part(figure.change),
        "note": figure.note,
    }


def _questions(
    one: Shown, guard: GuardFound, split: Split, folders: Mapping[str, Path]
) -> dict[str, str]:
    """Item id → its question, of the examples whose text was kept."""
    texts = texts_for(one, guard, split, folders)
    found = {i: texts.items.get(i) for i in guard.examples} if texts else {}
    return {item: text.question for item, text in found.items() if text is not None}
