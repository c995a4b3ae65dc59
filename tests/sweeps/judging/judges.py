"""Judges whose rule is known, for the loopback server, and a small sweep whose answers they read.

Model `tiny` has a base and one trial with two confirmed seeds and a search run; 40 items in 20
clusters. The base answers "x" to all. Both confirmed runs answer "xxx" to the first 30 items and
"x" to the last 10.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keepgain.core.answers import Answers, keep_texts, write_answers
from keepgain.core.items import ItemScores
from keepgain.core.record import Evidence, ModelInfo, Question, RunRecord, SuiteInfo, SweepRecord
from keepgain.core.rows import Row
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.names import RECORD_FOLDER
from keepgain.core.store.record_files import save_folder

SWEEP = "tickets-7f3a2c"
ITEMS = tuple(f"i{n:02d}" for n in range(40))
BASE, ONE, TWO, SEARCH = "base-s0", "abc123-s1", "abc123-s2", "abc123-s0"
GIVEN: Mapping[str, tuple[str, ...]] = {
    BASE: ("x",) * 40,
    ONE: ("xxx",) * 30 + ("x",) * 10,
    TWO: ("xxx",) * 30 + ("x",) * 10,
}


def by_length(user: str) -> str:
    """A character is a point, to 5; the longer answer wins, equal ones tie."""
    asked = json.loads(user)
    if "answer" in asked:
        return json.dumps({"score": min(5, len(asked["answer"]))})
    first, second = len(asked["first"]), len(asked["second"])
    better = "tie" if first == second else "first" if first > second else "second"
    return json.dumps({"better": better})


def always_first(user: str) -> str:
    """The first place wins, whatever stands there."""
    return json.dumps({"score": 3} if "answer" in json.loads(user) else {"better": "first"})


def cluster(item: str) -> str:
    """Two neighbours are one."""
    return f"c{int(item[1:]) // 2}"


def sweep_with_answers(
    folder: Path,
    judge: Mapping[str, Any] | None,
    url: str | None,
    given: Mapping[str, tuple[str, ...]] = GIVEN,
    **endpoint: Any,
) -> StoreLocation:
    """A store with one sweep, written as a driver writes it."""
    location = resolve_store(str(folder), create=True)
    own = location.sweep_folder(SWEEP)
    own.mkdir(parents=True)
    rows = [Row(kind="pair", id=i, prompt=f"Q {i}", answer="xxx") for i in ITEMS]
    keep_texts(own, "d1", rows)
    runs, items = [], []
    for key, answers in given.items():
        path = f"runs/{key}/answers.parquet"
        (own / path).parent.mkdir(parents=True)
        write_answers(own / path, [Answers("gain", "test", "d1", ITEMS, answers)])
        runs.append(_run(key, (path,)))
        items.append((key, _exact(answers)))
    sweep = SweepRecord(
        id=SWEEP,
        name="tickets",
        stage=Stage.DECIDED,
        question=Question(),
        suites=(SuiteInfo(name="gain", measures="gain", scorer="exact_match"),),
        models=(ModelInfo(name="tiny", digest="d", parameters=1000),),
        runs=(*runs, _run(SEARCH, ())),
    )
    save_folder(own / RECORD_FOLDER, Evidence(sweep, tuple(items)))
    suite: dict[str, Any] = {"path": "x.jsonl", "scorer": "exact_match"}
    spec: dict[str, Any] = {"suites": {"gain": suite | ({"judge": judge} if judge else {})}}
    if url is not None:
        spec["endpoints"] = {"grader": {"base_url": url, "model": "m-1", "max_attempts": 1}}
        spec["endpoints"]["grader"] |= endpoint
    (own / "spec.resolved.json").write_text(json.dumps(spec), encoding="utf-8")
    return location


def _run(key: str, answers: tuple[str, ...]) -> RunRecord:
    trial, _, seed = key.partition("-s")
    stage = Stage.BASE if key == BASE else Stage.SEARCH if key == SEARCH else Stage.CONFIRM
    return RunRecord(
        run_key=key,
        trial_id=trial,
        seed=int(seed),
        kind="base" if key == BASE else "trial",
        arm="base" if key == BASE else None,
        model="tiny",
        stage=stage,
        status=TrialStatus.COMPLETED,
        answers=answers,
    )


def _exact(answers: tuple[str, ...]) -> ItemScores:
    return ItemScores(
        suite="gain",
        split="test",
        metric="exact_match",
        item_ids=np.array(ITEMS),
        values=np.array([float(a == "xxx") for a in answers]),
        weights=np.ones(len(ITEMS)),
        clusters=tuple(cluster(i) for i in ITEMS),
    )


def labels(path: Path, score: Callable[[str], int], count: int = 40) -> None:
    """As people would fill in a sheet: one answer of each item."""
    lines = [
        {"id": item, "answer": GIVEN[ONE][n], "score": score(GIVEN[ONE][n])}
        for n, item in enumerate(ITEMS[:count])
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
