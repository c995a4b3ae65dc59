"""One new MLflow store per session; each test gets a copy of its SQLite file."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from keepgain.core.items import ItemScores
from keepgain.core.record import Evidence, ModelInfo, Question, RunRecord, SuiteInfo, SweepRecord
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.location import STORE_VARIABLES, StoreLocation, resolve_store

SWEEP = "tickets-7f3a2c"


@pytest.fixture(autouse=True)
def no_store_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in STORE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def template_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    location = resolve_store(str(tmp_path_factory.mktemp("template") / "store"), create=True)
    prepare_store(location, "template")
    assert location.database is not None
    return location.database


@pytest.fixture
def location(template_store: Path, tmp_path: Path) -> StoreLocation:
    location = resolve_store(None, create=True, cwd=tmp_path)
    assert location.database is not None
    shutil.copy(template_store, location.database)
    return location


def scores(suite: str, split: str, values: list[float], *, tokens: int = 0) -> ItemScores:
    return ItemScores(
        suite=suite,
        split=split,
        metric="exact_match",
        item_ids=np.array([f"{suite}-{i}" for i in range(len(values))], dtype=np.str_),
        values=np.array(values),
        weights=np.ones(len(values)),
        tokens=tokens,
        groups=tuple(None if i % 2 else "g" for i in range(len(values))),
    )


@pytest.fixture
def evidence() -> Evidence:
    def run(key: str, **fields: object) -> RunRecord:
        base = {
            "run_key": key,
            "trial_id": key.rpartition("-")[0],
            "seed": 0,
            "kind": "trial",
            "model": "xs",
            "stage": Stage.SEARCH,
            "status": TrialStatus.COMPLETED,
        }
        return RunRecord.model_validate({**base, **fields})

    record = SweepRecord(
        id=SWEEP,
        name="tickets",
        stage=Stage.DECIDED,
        question=Question(),
        suites=(SuiteInfo(name="gain", measures="gain", scorer="exact_match"),),
        models=(ModelInfo(name="xs", digest="d" * 12, parameters=30_000),),
        runs=(
            run("base-s0", kind="base", arm="base", stage=Stage.BASE),
            run("aaaaaaaaaaaa-s0", params={"learning_rate": 1e-5, "lora.rank": 4}, tokens=640),
            run("bbbbbbbbbbbb-s0", status=TrialStatus.FAILED, reason="nan at step 3"),
        ),
    )
    items = (
        ("base-s0", scores("gain", "validation", [0.0, 1.0, 0.0])),
        ("aaaaaaaaaaaa-s0", scores("gain", "validation", [1.0, 1.0, 0.0], tokens=320)),
        ("aaaaaaaaaaaa-s0", scores("gain", "validation", [1.0, 1.0, 1.0], tokens=640)),
    )
    return Evidence(sweep=record, items=items)


def same_evidence(a: Evidence, b: Evidence) -> bool:
    """Equality that numpy columns leave undefined."""
    return a.sweep == b.sweep and [flat(k, s) for k, s in a.items] == [
        flat(k, s) for k, s in b.items
    ]


def flat(key: str, s: ItemScores) -> tuple[object, ...]:
    return (
        *(key, s.suite, s.split, s.metric, s.tokens, s.groups, s.clusters),
        *(s.item_ids.tolist(), s.values.tolist(), s.weights.tolist()),
    )
