"""`analyze ID why`: what mattered, and how far the search itself is to be trusted."""

from dataclasses import replace

from keepgain.analysis import words
from keepgain.analysis.given_table import given_table
from keepgain.analysis.grid import View
from keepgain.analysis.measures import Measures
from keepgain.analysis.result import Analysis
from keepgain.analysis.table import build_table
from keepgain.analysis.why.contrasts import contrasts
from keepgain.analysis.why.importance import importances
from keepgain.analysis.why.learning import changes
from keepgain.analysis.why.mixture import mixture
from keepgain.analysis.why.observations import given_observations, observations
from keepgain.analysis.why.ranks import stabilities
from keepgain.analysis.why.rounds import rounds
from keepgain.analysis.why.section import Section
from keepgain.analysis.why.settings_text import (
    contrast_section,
    importance_section,
    learning_section,
    mixture_section,
)
from keepgain.analysis.why.trust_text import (
    overfitting_section,
    rank_section,
    round_section,
    rung_section,
)
from keepgain.core.record import Evidence, SweepRecord

TITLE = "What mattered"
NO_ITEMS = (
    "This table has no item scores, rungs or losses: contrasts, mixture, curves and ranks are "
    "asked of sweeps alone."
)


def why_view(evidence: Evidence, analysis: Analysis) -> View:
    """Importance, planned contrasts, mixture surface, learning curves, rungs, overfitting, rounds
    and stability of the ranking: one paragraph each, then the tables in the same order.

    All but the rounds are on validation, where every trial has scores.
    """
    sections = _sections(evidence, analysis)
    return View(
        name="why",
        title=f"{TITLE} in {words.clean(evidence.sweep.id)}",
        paragraphs=tuple(s.paragraph for s in sections),
        grids=tuple(s.grid for s in sections if s.grid is not None),
        notes=tuple(words.clean(note) for s in sections for note in s.notes),
        data={s.name: {"said": words.clean(s.said), "found": s.data} for s in sections},
    )


def _sections(evidence: Evidence, analysis: Analysis) -> tuple[Section, ...]:
    sweep = evidence.sweep
    if sweep.objectives:
        return (_of_a_table(sweep),)
    measures = Measures(build_table(evidence))
    found = observations(measures) if "validation" in measures.table.suites else ()
    parameters = {m.name: m.parameters for m in sweep.models}
    models = [m.name for m in sorted(sweep.models, key=lambda m: m.parameters)]
    picks = {s.size.model: s.size.candidate for s in analysis.sizes if s.size.candidate is not None}
    shown = {c.trial_id for c in picks.values()}
    return (
        importance_section(importances(found, models, sweep.space)),
        contrast_section(contrasts(found, measures, parameters) if found else ()),
        mixture_section(mixture(found, measures, models)),
        learning_section(changes(found, measures) if found else ()),
        rung_section(analysis.rung_checks),
        overfitting_section(analysis.overfitting, sweep, analysis.decision.trial, shown),
        round_section(rounds(measures, analysis.decision.split, picks)),
        rank_section(stabilities(found, measures, models)),
    )


def _of_a_table(sweep: SweepRecord) -> Section:
    """A table from elsewhere has no item scores: only importance can be asked of its figures."""
    found = given_observations(given_table(sweep))
    models = dict.fromkeys(o.who.model for o in found)
    signs = {o.name: 1.0 if o.direction == "maximize" else -1.0 for o in sweep.objectives}
    section = importance_section(importances(found, list(models), objectives=signs))
    return replace(section, notes=(*section.notes, NO_ITEMS))
