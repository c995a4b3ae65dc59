"""A sweep of one size with behaviour suites whose scores are given."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from keepgain.core.items import Floats
from keepgain.core.record import Evidence, Question
from tests.analysis.evidence import exact, ones

N = 400
SLICE = "half"


def behaviour_world(
    suites: Mapping[str, tuple[Floats, Floats]],
    *,
    task: int = 360,
    second: tuple[int, Mapping[str, Floats]] | None = None,
    clusters: Mapping[str, tuple[str, ...]] | None = None,
    scorer: str = "exact_match",
    task_seeds: int = 2,
) -> Evidence:
    """A base, one trial `tuned` with two seeds, and behaviours.

    Of the behaviour suites items are in one slice, `half`: `first` or `second`; of the task's 400
    the first 200 have the answer `fraud`.

    Args:
        suites: Behaviour suite → scores of base [n, 1] and tuned [n, 2].
        task: Right answers of the trial, of 400; the base has none.
        second: Another trial: its right answers and behaviours.
        clusters: Behaviour suite → clusters of its items.
        scorer: Of the behaviour suites.
        task_seeds: Of the trial `tuned`, on its task as on behaviours.
    """
    configurations = {
        "base": ("s", "base", {"task": ones(0, N, 1), **{n: b for n, (b, _) in suites.items()}}),
        "tuned": (
            "s",
            "trial",
            {"task": ones(task, N, task_seeds), **{n: t for n, (_, t) in suites.items()}},
        ),
    }
    if second is not None:
        configurations["second"] = ("s", "trial", {"task": ones(second[0], N), **second[1]})
    measures = {"task": "gain", **dict.fromkeys(suites, "behaviour")}
    made = exact(configurations, measures=measures, question=Question(), sizes={"s": 1000})
    items = []
    for key, scores in made.items:
        n = len(scores.item_ids)
        half = ("first",) * (n // 2) + ("second",) * (n - n // 2)
        if scores.suite in suites:
            changes = {"slices": {SLICE: half}, "metric": scorer}
            changes["clusters"] = (clusters or {}).get(scores.suite, ())
        else:
            answers = tuple("fraud" if i < N // 2 else None for i in range(n))
            changes = {"slices": {"answer": answers}}
        items.append((key, replace(scores, **changes)))
    infos = tuple(
        s.model_copy(update={"scorer": scorer}) if s.name in suites else s
        for s in made.sweep.suites
    )
    return Evidence(made.sweep.model_copy(update={"suites": infos}), tuple(items))


def flat(value: float, n: int, seeds: int = 2) -> Floats:
    """n items that all score alike."""
    return np.full((n, seeds), value)
