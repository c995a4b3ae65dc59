"""`analyze ID compare A B`: two trials, bases or arms on the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keepgain.analysis import objectives, words
from keepgain.analysis.contract import estimate_part
from keepgain.analysis.find import find_row
from keepgain.analysis.grid import View
from keepgain.analysis.measures import Measures
from keepgain.analysis.quantities import Quantity
from keepgain.analysis.result import Analysis
from keepgain.analysis.slices import SliceFigure, careful, cautious, slices_of
from keepgain.analysis.stats import Uncertain
from keepgain.analysis.table import Configuration, SuiteItems, build_table
from keepgain.analysis.views.compare_tables import (
    MAX_SLICES,
    cost_grid,
    objective_grid,
    setting_grid,
    slice_grid,
    suite_grid,
)
from keepgain.analysis.views.decision import origin
from keepgain.analysis.views.pairs import ACROSS, Contrast, Duel, adjusted, duel
from keepgain.analysis.views.scored import on_split, split_notes
from keepgain.analysis.views.trials import column_name
from keepgain.core.config import Split
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence


@dataclass(frozen=True)
class _Scene:
    measures: Measures
    a: Configuration
    b: Configuration
    split: Split

    def contrast(self, name: str, quantity: Quantity, scorer: str = "") -> Contrast:
        m = self.measures
        a, b = (cautious(m.measure(who, self.split, quantity)) for who in (self.a, self.b))
        better = careful(m.difference(self.a, self.b, self.split, quantity))
        return Contrast(name, a, b, better, scorer)

    @property
    def suites(self) -> list[SuiteItems]:
        """Scored by both."""
        both = set(self.a.scores[self.split]) & set(self.b.scores[self.split])
        return [s for n, s in self.measures.table.suites[self.split].items() if n in both]


def compare_view(
    evidence: Evidence, analysis: Analysis, first: str, second: str, split: Split
) -> View:
    """Settings, objectives, suites, slices and costs of two configurations.

    Raises:
        UserError: Unknown or ambiguous names, the same one twice, or one has no scores on the
            split.
    """
    rows = [find_row(analysis.rows, given) for given in (first, second)]
    if rows[0] is rows[1]:
        raise UserError(
            f"'{first}' and '{second}' both name {rows[0].who.label}.",
            hint="Name two different trials, bases or arms; `analyze ID trials` lists them.",
        )
    measures = Measures(build_table(evidence))
    a, b = (on_split(measures.table, r.who.trial_id, split) for r in rows)
    scene = _Scene(measures, a, b, split)
    overall = _objectives(scene)
    duels = adjusted({s.info.name: duel(a, b, split, s) for s in scene.suites})
    by_suite = [
        scene.contrast(s.info.name, f"score:{s.info.name}", s.info.scorer) for s in scene.suites
    ]
    by_slice = [
        (part, scene.contrast(part.suite, SliceFigure(part, gain=False)))
        for s in scene.suites
        for part in slices_of(s)
    ]
    settings = _settings(a, b)
    costs = {c: (a.cost.get(c), b.cost.get(c)) for c in dict.fromkeys([*a.cost, *b.cost])}
    grids = [
        setting_grid(settings),
        objective_grid(overall),
        suite_grid(scene.suites, by_suite, duels),
        slice_grid(by_slice),
        cost_grid(costs, analysis.question.cost),
    ]
    return View(
        name="compare",
        title=f"{origin(analysis, split, decided=False)} · {_name(a)} against {_name(b)}",
        paragraphs=_words(scene, overall, analysis),
        grids=tuple(g for g in grids if g.rows),
        notes=_notes(scene, duels, len(by_slice), analysis),
        data={
            "split": split,
            "a": _side(a, split),
            "b": _side(b, split),
            "settings": [{"name": n, "a": x, "b": y} for n, (x, y) in settings.items()],
            "objectives": [_contrast_data(c) for c in overall],
            "suites": [
                {
                    "measures": s.info.measures,
                    "scorer": s.info.scorer,
                    **_contrast_data(c),
                    **_duel_data(duels[s.info.name]),
                }
                for s, c in zip(scene.suites, by_suite, strict=True)
            ],
            "slices": [
                {"suite": p.suite, "field": p.field, "value": p.value, **_contrast_data(c)}
                for p, c in by_slice
            ],
            "costs": [{"name": n, "a": x, "b": y} for n, (x, y) in costs.items()],
        },
        csv="objectives",
    )


def _objectives(scene: _Scene) -> list[Contrast]:
    m, found = scene.measures, []
    alike = scene.a.model == scene.b.model
    levels = [m.estimates(who, scene.split) for who in (scene.a, scene.b)]
    for name in objectives.NAMES:
        better = None
        if name != "max_forgetting" and (alike or name in ACROSS):
            better = m.difference(scene.a, scene.b, scene.split, name)
        a, b = (e[name] for e in levels)
        if a.value is not None or b.value is not None:
            scorer = m.scorer("gain" if name in ("gain", "task_score") else "forgetting")
            scorer = "" if name == "relative_forgetting" else scorer
            found.append(Contrast(name, a, b, better, scorer))
    return found


def _settings(a: Configuration, b: Configuration) -> dict[str, tuple[object, object]]:
    """Those that differ; None: it has no such setting. A base has none: nothing differs."""
    names = dict.fromkeys([*a.params, *b.params] if a.params and b.params else [])
    both = {n: (a.params.get(n), b.params.get(n)) for n in names}
    found: dict[str, tuple[object, object]] = {"base model": (a.model, b.model)}
    found |= {"kind": (a.arm or a.kind, b.arm or b.kind)} | both
    return {n: pair for n, pair in found.items() if pair[0] != pair[1]}


# -- words ------------------------------------------------------------------------------------


def _name(who: Configuration) -> str:
    return words.clean(who.label)


def _words(scene: _Scene, overall: Sequence[Contrast], analysis: Analysis) -> tuple[str, ...]:
    by_name = {c.name: c for c in overall}
    lost = by_name.get("forgetting")
    general = "general_score" if lost is None or lost.better is None else "forgetting"
    told = [by_name[n] for n in ("task_score", general) if n in by_name]
    sides = [
        f"{_name(who)} ({words.count(who.seeds(scene.split), 'run')})" for who in (scene.a, scene.b)
    ]
    first = f"A is {sides[0]}, B is {sides[1]}."
    return (first, *(_told(c, _name(scene.a), _name(scene.b)) for c in told))


def _told(c: Contrast, a: str, b: str) -> str:
    """`Task score: A is better by 3.0 points [1.2, 4.8].`"""
    name = column_name(c.name).capitalize()
    e = c.difference
    if c.better is None or e.value is None:
        return f"{name}: not compared."
    if c.shows is None:
        size = words.amount(abs(e.value), c.scorer)
        ahead = a if e.value > 0 else b
        lead = f"{ahead} is ahead by {size}" if e.value else "no difference"
        return f"{name}: {lead}; interval unknown, as nothing of this size was trained twice."
    size = words.amount_interval(c.better, c.scorer)
    if c.shows:
        if e.value > 0:
            return f"{name}: {a} is better by {size}."
        return f"{name}: {b} is better by {_turned(c)}."
    said = f"{name}: the two cannot be told apart; {a} minus {b}, up is better for {a}, is {size}."
    if not c.better.value:
        return said
    if c.needed is None:
        return f"{said} More items alone would not tell; more seeds might."
    return (
        f"{said} To show a difference of this size with 80 % power takes about {c.needed:,} items "
        f"(now {c.better.n_items:,})."
    )


def _turned(c: Contrast) -> str:
    """The interval as seen from B."""
    assert c.better is not None
    u = c.better
    turned = Uncertain(-u.value, u.n_items, u.n_seeds, u.terms, u.item_variance, u.method)
    return words.amount_interval(turned, c.scorer)


def _notes(
    scene: _Scene, duels: Mapping[str, Duel | None], slices: int, analysis: Analysis
) -> tuple[str, ...]:
    a, b = scene.a, scene.b
    said = [
        "A better by: paired by item, above 0 where A is better, also where a lower figure is "
        "better; ± is half a 95 % interval (items and pooled seeds). These intervals are not "
        "corrected for looking at several suites or slices.",
    ]
    pairs = next((d.pairs for d in duels.values() if d is not None), ())
    if pairs:
        several = ""
        if len(pairs) > 1:
            several = (
                f", here {len(pairs)} pairs of runs (seeds: --format json), least to largest P"
            )
        said.append(
            "McNemar: exact two-sided test of one run against another on the same items"
            f"{several}, corrected for the number of suites (Holm). It tells of these runs, not of "
            "the settings with other seeds: for that, read the interval."
        )
    if any(s.clusters is not None for s in scene.suites):
        said.append("No McNemar test where items come in clusters: it takes them as independent.")
    if a.model != b.model:
        said.append(
            "Two base models are compared on levels: gain and forgetting are each against a base "
            "of its own."
        )
    if slices > MAX_SLICES:
        said.append(
            f"Of {slices} slices the {MAX_SLICES} with the largest differences; some are large by "
            "chance. All: --format json."
        )
    return (*said, *split_notes(analysis, scene.measures.table, scene.split))


# -- data -------------------------------------------------------------------------------------


def _side(who: Configuration, split: Split) -> dict[str, object]:
    return {
        "id": who.trial_id,
        "label": who.label,
        "model": who.model,
        "kind": who.kind,
        "seeds": [r.seed for r in who.runs[split]],
    }


def _contrast_data(c: Contrast) -> dict[str, object]:
    parts = {"a": c.a, "b": c.b, "a_better_by": c.difference}
    data = {k: estimate_part(e).model_dump(mode="json") for k, e in parts.items()}
    return {"name": c.name, **data, "shown": c.shows, "items_needed": c.needed}


def _duel_data(found: Duel | None) -> dict[str, object]:
    if found is None:
        return {"only_a_right": None, "only_b_right": None, "mcnemar": []}
    pairs = [
        {
            "seed_a": p.seed_a,
            "seed_b": p.seed_b,
            "only_a": p.only_a,
            "only_b": p.only_b,
            "p": p.p,
            "p_adjusted": p.adjusted,
        }
        for p in found.pairs
    ]
    return {"only_a_right": found.only_a, "only_b_right": found.only_b, "mcnemar": pairs}
