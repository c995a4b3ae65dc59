"""`sweep judge`: a model behind an endpoint scores what a sweep's models have answered.

It comes after the sweep, since trials have no network. What it says is recorded beside the sweep's
record (`core.judged`), never in it, and only whole suites are. Where the endpoint is not there, the
suite is skipped with a warning: nothing is ever scored in its place.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from keepgain.core.endpoint.client import CostLimitError, Endpoint, Usage
from keepgain.core.errors import UserError
from keepgain.core.items import ItemScores, write_items
from keepgain.core.judged import (
    KIND,
    ORDERS,
    PAIR,
    SCORE,
    Judged,
    JudgedItems,
    JudgeFacts,
    Labelled,
)
from keepgain.core.later import read_later
from keepgain.core.schema import parse
from keepgain.core.store.location import StoreLocation
from keepgain.sweeps.judging.ask import Replies, ask_judge
from keepgain.sweeps.judging.labels import Label
from keepgain.sweeps.judging.material import Material
from keepgain.sweeps.judging.prompts import consistent
from keepgain.sweeps.judging.task import SkippedError, Task
from keepgain.sweeps.later_evidence import append

LOG = "log.jsonl"
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Result:
    """One suite that was judged."""

    judged: Judged
    items: JudgedItems
    usage: Usage
    paid: float
    """US dollars that the cache's replies have cost, in this run and before."""
    recorded: bool
    """False: the same stands in the record already."""


def judge(
    location: StoreLocation, folder: Path, task: Task, cache: Path, where: str, tick: Tick
) -> Result:
    """Asks, and records.

    Args:
        location: The store.
        folder: Of the sweep.
        task: From `make_task`.
        cache: File of replies.
        where: The endpoint's place in the spec, for messages.
        tick: Called with the number of questions that are done.

    Raises:
        SkippedError: The endpoint cannot be reached, takes no question, or says nothing that can be
            read; nothing is recorded then but what it took.
        CostLimitError: `max_usd` does not suffice; run again with more.
        EndpointError: It failed under way; run again. Replies are kept in both cases.
    """
    try:
        with Endpoint(task.endpoint, cache, where) as endpoint:
            replies = ask_judge(endpoint, task.questions(), tick)
            usage, paid = endpoint.usage, endpoint.paid
    except CostLimitError:
        raise
    except UserError as error:
        raise SkippedError(error.problem, where=error.where, hint=error.hint) from None
    items = judged_items(task, replies)
    earlier = _earlier(folder, task.material)
    judged = _described(task, replies, earlier)
    path = folder / judged.items
    path.parent.mkdir(exist_ok=True)
    if replies.said and all(said is None for said in replies.said.values()):
        _log(folder / KIND / LOG, judged, usage, paid)
        raise SkippedError(
            f"none of its {len(replies.said):,} replies could be read.",
            where=where,
            hint="They are kept, and not asked for again: take another model, or other parameters.",
        )
    write_items(path, [*items.scores.items(), *items.pairs.items()])
    new = earlier[-1:] != [judged]
    if new:
        append(location, folder.name, KIND, judged.model_dump(mode="json"))
    _log(folder / KIND / LOG, judged, usage, paid)
    return Result(judged, items, usage, paid, new)


def _log(path: Path, judged: Judged, usage: Usage, paid: float) -> None:
    """A line for each judging: who was asked, how much, and for what."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": judged.suite,
        "split": judged.split,
        "base_url": judged.judge.base_url,
        "model": judged.judge.model,
        "judge": judged.judge.identity,
        **vars(usage),
        "paid_usd": paid,
    }
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def judged_items(task: Task, replies: Replies) -> JudgedItems:
    """What was said as item scores; what is missing is left out."""
    scores = {}
    for run, given in task.material.answers.items():
        said = {i: replies.said[task.of_answer(i, answer)] for i, answer in given.items()}
        values = {i: float(s) for i, s in said.items() if isinstance(s, int)}
        if values:
            scores[run] = _item_scores(task.material, SCORE, values)
    found: dict[str, dict[str, tuple[float, str]]] = {}
    silent: dict[str, bool] = {}  # equal texts alone are no figure where the judge said nothing
    for run, item, mine, other in task.pairs():
        verdict = _pair(task, replies, item, mine, other)
        if verdict is not None:
            found.setdefault(run, {})[item] = verdict
        if mine != other:
            silent[run] = silent.get(run, True) and verdict is None
    pairs = {
        run: _item_scores(
            task.material, PAIR, {i: v for i, (v, _) in of.items()}, [o for _, o in of.values()]
        )
        for run, of in found.items()
        if not silent.get(run, False)
    }
    return JudgedItems(scores, pairs)


def _pair(
    task: Task, replies: Replies, item: str, mine: str, other: str
) -> tuple[float, str] | None:
    """How mine fared, and whether both orders agree; None: a reply is missing."""
    if mine == other:
        return 0.5, "same"
    forth, back = (replies.said[q] for q in task.of_pair(item, mine, other))
    assert not isinstance(forth, int) and not isinstance(back, int), "pairs get no scores"
    found = consistent(forth, back)
    return found and (found[0], "agree" if found[1] else "differ")


def _item_scores(
    material: Material, metric: str, values: Mapping[str, float], orders: list[str] | None = None
) -> ItemScores:
    """In the order of `values`, with clusters, groups and slices of the suite's own scores."""
    like = material.like
    at = {item: n for n, item in enumerate(like.item_ids.tolist())}
    places = [at[item] for item in values]
    slices = {f: tuple(of[p] for p in places) for f, of in like.slices.items()}
    return ItemScores(
        suite=material.suite,
        split=material.split,
        metric=metric,
        item_ids=np.array(list(values), dtype=np.str_),
        values=np.array(list(values.values()), dtype=np.float64),
        weights=np.ones(len(values)),
        groups=tuple(like.groups[p] for p in places) if like.groups else (),
        clusters=tuple(like.clusters[p] for p in places) if like.clusters else (),
        slices=slices if orders is None else {**slices, ORDERS: tuple(orders)},
    )


def _earlier(folder: Path, material: Material) -> list[Judged]:
    """What was recorded of this suite and split, oldest first."""
    entries = (parse(Judged, e.data, source=str(folder)) for e in read_later(folder, KIND))
    return [e for e in entries if (e.suite, e.split) == (material.suite, material.split)]


def _described(task: Task, replies: Replies, earlier: Sequence[Judged]) -> Judged:
    material, spec = task.material, task.material.spec
    facts = JudgeFacts(
        endpoint=spec.endpoint,
        base_url=task.endpoint.base_url,
        model=task.endpoint.model,
        rubric=spec.rubric,
        scale=spec.scale,
        prompts=task.prompts.hash,
        min_agreement=spec.min_agreement,
        min_labels=spec.min_labels,
    )
    name = f"{material.suite}-{material.split}-{facts.identity}.parquet"
    return Judged(
        suite=material.suite,
        split=material.split,
        judge=facts,
        items=f"{KIND}/{name}",
        scores=replies.counts(task.of_scores()),
        pairs=None if spec.pairs == "none" else replies.counts(task.of_pairs()),
        labelled=tuple(_labelled(task, replies, label) for label in task.labels),
        strange_labels=task.strange_labels,
        judges=len({facts.identity, *(e.judge.identity for e in earlier)}),
    )


def _labelled(task: Task, replies: Replies, label: Label) -> Labelled:
    judge: float | None
    if len(label.answers) == 1:
        said = replies.said[task.of_label(label)[0]]
        judge = float(said) if isinstance(said, int) else None
        return Labelled(of="scores", item=label.item, people=label.people, judge=judge)
    verdict = _pair(task, replies, label.item, *label.answers)
    judge = None if verdict is None else 2 * verdict[0] - 1
    return Labelled(of="pairs", item=label.item, people=label.people, judge=judge)
