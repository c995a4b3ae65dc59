"""`analyze ID items`: the very items that a model lost or won, beside the base's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keepgain.analysis import words
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.result import Analysis
from keepgain.analysis.table import Configuration, build_table
from keepgain.analysis.views.chosen import (
    WHERE,
    Mask,
    Scene,
    Wanted,
    find_scene,
    of_slice,
    which,
    wrong,
)
from keepgain.analysis.views.decision import origin
from keepgain.analysis.views.scored import split_notes
from keepgain.analysis.views.texts import HOW, Texts, texts_of
from keepgain.core.record import Evidence, RunRecord

MAX_SLICES = 12
MAX_RUNS = 6
"""More of them are told by the mean alone."""


def items_view(
    evidence: Evidence, analysis: Analysis, wanted: Wanted, folders: Mapping[str, Path]
) -> View:
    """Items of one suite, those with the largest change first.

    Args:
        folders: Run key → folder of its sweep, where texts may lie.

    Raises:
        UserError: An unknown suite, trial or slice, or no scores on the split.
    """
    scene = find_scene(build_table(evidence), analysis, wanted)
    inside = of_slice(scene.suite, wanted.slice)
    chosen = inside & which(scene, wanted.where)
    # The largest change first, then the items' own order.
    order = [int(i) for i in np.argsort(-np.abs(scene.change), kind="stable") if chosen[i]]
    if wanted.where == "wrong":
        wrongs = wrong(scene).sum(axis=1)
        order.sort(key=lambda i: -wrongs[i])
    shown = order[: wanted.limit]
    runs = (*scene.base.runs[scene.split], *scene.who.runs[scene.split])
    texts = texts_of(folders, runs, scene.suite.info.name, scene.split)
    grids = [_grid(scene, shown, wanted)]
    parts = _by_slice(scene, inside, chosen, wanted)
    grids += [parts] if parts.rows else []
    grids += [_told(scene, i, texts) for i in shown] if texts else []
    name = f"{words.clean(scene.suite.info.name)}: {words.clean(scene.who.label)} against its base"
    return View(
        name="items",
        title=f"{origin(analysis, scene.split, decided=False)} · {name}",
        paragraphs=_words(scene, inside, chosen, wanted),
        grids=tuple(grids),
        notes=_notes(scene, analysis, len(order) - len(shown), texts),
        data={
            "suite": scene.suite.info.name,
            "scorer": scene.suite.info.scorer,
            "split": scene.split,
            "trial": scene.who.trial_id,
            "base": scene.base.trial_id,
            "where": wanted.where,
            "items": int(inside.sum()),
            "found": len(order),
            "rows": [_row(scene, i, texts) for i in shown],
        },
    )


# -- words ------------------------------------------------------------------------------------


def _words(
    scene: Scene,
    inside: Mask,
    chosen: Mask,
    wanted: Wanted,
) -> tuple[str, ...]:
    change = scene.change[inside]
    worse, better = int((change < 0).sum()), int((change > 0).sum())
    runs = words.count(scene.who.seeds(scene.split), "run")
    of = f" with {words.clean('='.join(wanted.slice))}" if wanted.slice else ""
    said = (
        f"Of {words.count(len(change), 'item')}{of}, {worse:,} are worse than the base in the mean "
        f"over {runs}, {better:,} better, {len(change) - worse - better:,} the same."
    )
    if scene.binary:
        failed = wrong(scene)[inside]
        was = (scene.before[inside] == 1) if scene.suite.sign > 0 else (scene.before[inside] == 0)
        lost, won = int((failed.all(axis=1) & was).sum()), int((~failed.any(axis=1) & ~was).sum())
        said += f" In every run: {lost:,} went from right to wrong, {won:,} from wrong to right."
    return (said, f"Shown: {WHERE[wanted.where]} ({int(chosen.sum()):,}).")


def _notes(scene: Scene, analysis: Analysis, more: int, texts: Texts | None) -> tuple[str, ...]:
    said = []
    if 1 < scene.scores.shape[1] <= MAX_RUNS:
        seeds = ", ".join(str(r.seed) for r in scene.who.runs[scene.split])
        said.append(f"Runs in the order of the seeds {seeds}.")
    if more > 0:
        said.append(f"{more:,} more: raise --limit.")
    if texts is None:
        said.append(HOW)
    said.append(
        "A single item says little: which items flip differs from seed to seed. Look for what the "
        "lost ones have in common."
    )
    return (*said, *split_notes(analysis, scene.table, scene.split))


# -- tables -----------------------------------------------------------------------------------


def _said(value: float, scene: Scene) -> str:
    if scene.binary:
        return "right" if (value == 1) == (scene.suite.sign > 0) else "wrong"
    return f"{value:.3f}"


def _grid(scene: Scene, shown: Sequence[int], wanted: Wanted) -> Grid:
    suite = scene.suite
    fields = [f for f, values in suite.slices.items() if len(np.unique(values)) > 1]
    runs = scene.scores.shape[1]
    change = [] if scene.binary and runs <= MAX_RUNS else ["change"]
    each = [f"run {n + 1}" for n in range(runs)] if runs <= MAX_RUNS else []
    rows = []
    for i in shown:
        own = [f"{scene.change[i]:+.3f}"] if change else []
        rows.append(
            (
                words.clean(suite.item_ids[i]),
                *(words.clean(suite.slices[f][i]) or "–" for f in fields),
                _said(scene.before[i], scene),
                *(_said(v, scene) for v in (scene.scores[i] if each else ())),
                *own,
            )
        )
    header = ("item", *(words.clean(f) for f in fields), "base", *each, *change)
    droppable = tuple(reversed([words.clean(f) for f in fields]))
    title = f"Items {WHERE[wanted.where]}"
    return Grid(title, header, tuple(rows), (False,) * len(rows), droppable)


def _by_slice(
    scene: Scene,
    inside: Mask,
    chosen: Mask,
    wanted: Wanted,
) -> Grid:
    """Where the items of the view lie; most of them first."""
    counts = []
    for field, values in scene.suite.slices.items():
        for value in np.unique(values[inside]):
            here = inside & (values == value)
            if value and int(here.sum()) < int(inside.sum()):
                counts.append((int((chosen & here).sum()), int(here.sum()), f"{field}={value}"))
    counts.sort(key=lambda c: (-c[0] / c[1], c[2]))
    rows = tuple(
        (words.clean(name), f"{n:,}", f"{found:,}", f"{100 * found / n:.0f} %")
        for found, n, name in counts[:MAX_SLICES]
        if found
    )
    title = f"Where the items {WHERE[wanted.where]} are"
    return Grid(title, ("slice", "items", "of these", "share"), rows, (False,) * len(rows))


def _told(scene: Scene, i: int, texts: Texts) -> Grid:
    """One item in words."""
    item = str(scene.suite.item_ids[i])
    text = texts.items.get(item)
    rows = []
    if text is not None:
        rows.append(("question", "", words.clean(text.question)))
        rows.append(("expected", "", words.clean(text.reference)))
    scored = [("base", r, v) for r, v in _columns(scene.base, scene, i)]
    own = _columns(scene.who, scene, i)
    scored += [(f"run {n}", r, v) for n, (r, v) in enumerate(own, start=1)]
    for name, run, value in scored:
        answer = texts.answers.get(run.run_key, {}).get(item)
        said = "(not kept)" if answer is None else words.clean(answer)
        rows.append((name, _said(value, scene), said))
    header = ("", "score", "text")
    return Grid(words.clean(item), header, tuple(rows), (False,) * len(rows))


def _columns(who: Configuration, scene: Scene, i: int) -> list[tuple[RunRecord, float]]:
    """Each run with its score of one item."""
    scores = who.scores[scene.split][scene.suite.info.name][i]
    return list(zip(who.runs[scene.split], map(float, scores), strict=True))


def _row(scene: Scene, i: int, texts: Texts | None) -> dict[str, object]:
    item = str(scene.suite.item_ids[i])
    text = texts.items.get(item) if texts else None

    def side(who: Configuration) -> list[dict[str, object]]:
        answers = texts.answers if texts else {}
        return [
            {"seed": r.seed, "score": v, "answer": answers.get(r.run_key, {}).get(item)}
            for r, v in _columns(who, scene, i)
        ]

    return {
        "item": item,
        "slices": {f: str(v[i]) for f, v in scene.suite.slices.items() if v[i]},
        "base": side(scene.base),
        "trial": side(scene.who),
        "change": float(scene.change[i]),
        "question": text.question if text else None,
        "reference": text.reference if text else None,
    }
