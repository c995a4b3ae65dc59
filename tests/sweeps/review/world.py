"""A finished sweep with stored answers: a base and two trials on items whose texts are known."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keepgain.core.answers import Answers, texts_path, write_answers
from keepgain.core.items import ItemScores
from keepgain.core.record import Evidence, Question
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.names import RECORD_FOLDER
from keepgain.core.store.record_files import save_folder
from tests.analysis.evidence import exact

MODEL = "acme-nano"
BASE, TRIAL, RIVAL = f"base-{MODEL}", "3f9a1c", "77511c"
SWEEP = "exact-123456"


def ids(n: int) -> list[str]:
    """Of the test items."""
    return [f"test-{i:05d}" for i in range(n)]


def evidence_of(
    right: Mapping[str, list[int] | list[list[int]]],
    *,
    groups: tuple[str | None, ...] = (),
    clusters: tuple[str | None, ...] = (),
    question: Question | None = None,
) -> Evidence:
    """`right`: trial id → item scores, one number a seed."""
    n = len(next(iter(right.values())))
    kinds = {BASE: "base", TRIAL: "trial", RIVAL: "trial"}
    made = exact(
        {
            name: (MODEL, kinds[name], {"answers": np.array(values, dtype=float).reshape(n, -1)})
            for name, values in right.items()
        },
        measures={"answers": "gain"},
        question=question,
        sizes={MODEL: 1000},
    )

    def grouped(scores: ItemScores) -> ItemScores:
        return replace(scores, groups=groups, clusters=clusters)

    return Evidence(made.sweep, tuple((key, grouped(s)) for key, s in made.items))


def store_with(
    folder: Path, evidence: Evidence, answers: Mapping[str, list[str]], spec: str | None = None
) -> StoreLocation:
    """Keeps the evidence and the answers to test items where a sweep would.

    Args:
        answers: Trial id → one answer an item.
        spec: Text of `spec.resolved.json`.
    """
    location = resolve_store(str(folder / ".keepgain"), create=True)
    own = location.sweep_folder(evidence.sweep.id)
    own.mkdir(parents=True)
    n = len(next(iter(answers.values())))
    runs = []
    for run in evidence.sweep.runs:
        if run.trial_id in answers:
            name = f"{run.run_key}.parquet"
            given = tuple(answers[run.trial_id])
            write_answers(own / name, [Answers("answers", "test", "d1", tuple(ids(n)), given)])
            run = run.model_copy(update={"answers": (name,)})
        runs.append(run)
    texts = texts_path(own, "d1")
    texts.parent.mkdir()
    columns = [ids(n), [f"Question {i}?" for i in range(n)], [f"reference {i}" for i in range(n)]]
    pq.write_table(pa.table(columns, names=["item_id", "question", "reference"]), texts)
    sweep = evidence.sweep.model_copy(update={"runs": tuple(runs)})
    save_folder(own / RECORD_FOLDER, replace(evidence, sweep=sweep))
    if spec is not None:
        (own / "spec.resolved.json").write_text(spec)
    return location
