"""Data and numbers that are not what they should be, through the real worker (catalogue N, M23)."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from keepgain.core.config import ModelRef, TrialConfig
from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.rows import Row
from keepgain.core.work import TrainRequest, WorkReply
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.mixture import Mixture
from keepgain.trainers.scorers.user import users_score
from tests.trainers import tiny

BUDGET = 300


def work(config: TrialConfig, folder: Path, seed: int = 0) -> WorkReply:
    """One rung."""
    return Jobs().do(TrainRequest(config=config, seed=seed, rung=0, sweep_folder=str(folder)))


def report_of(reply: WorkReply) -> RungReport:
    assert reply.report is not None, reply.detail
    assert all(map(math.isfinite, reply.report.metrics.values()))
    return reply.report


@pytest.fixture
def llama(tmp_path: Path) -> ModelRef:
    return tiny.llama(tmp_path / "llama")


@pytest.mark.fault("N1")
@pytest.mark.parametrize("where", ["from step 0", "at step 2"])
def test_a_loss_that_is_no_number_fails_the_trial_with_its_step(
    where: str, tmp_path: Path, llama: ModelRef
) -> None:
    options: dict[str, Any] = {"budget": BUDGET, "rungs": (BUDGET,), "warmup_share": 0.0}
    if where == "from step 0":
        path = Path(llama.path) / "model.safetensors"
        weights = load_file(path)
        weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], math.nan)
        save_file(weights, path, metadata={"format": "pt"})
    else:
        options["learning_rate"] = 1e30
    reply = work(tiny.trial(tmp_path, llama, **options), tmp_path)
    assert (reply.report, reply.cause) == (None, "nan")
    assert ("step 0" if where == "from step 0" else "step 1") in str(reply.detail)
    assert not list(tmp_path.glob("runs/*/checkpoint-r*"))


GOOD: dict[str, Any] = {
    "np.float32": np.float32(0.5),
    "np.int64": np.int64(3),
    "boolean": True,
    "integer": 7,
}
BAD: dict[str, Any] = {
    "+inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
    "1e308": 1e308,
    "an integer of 400 digits": 10**400,
    "None": None,
    "text": "abc",
    "0-d tensor": torch.tensor(0.5),
    "0-d array": np.array(0.5),
    "complex": 1 + 2j,
    "np.float32 +inf": np.float32(math.inf),
    "list": [0.5],
}
ROW = Row("r1", "pair", prompt="q", answer="a")


@pytest.mark.fault("N2")
@pytest.mark.parametrize("given", GOOD)
def test_finite_real_numbers_are_scores(given: str) -> None:
    found = users_score(lambda *_: GOOD[given], "m:f", "answer", ROW)
    assert type(found) is float and found == float(GOOD[given])


@pytest.mark.fault("N2")
@pytest.mark.parametrize("given", BAD)
def test_what_is_no_finite_real_number_is_no_score_and_names_the_item(given: str) -> None:
    with pytest.raises(UserError, match=r"m:f, item 'r1': .*must be a finite number") as caught:
        users_score(lambda *_: BAD[given], "m:f", "answer", ROW)
    assert len(str(caught.value)) < 300


@pytest.mark.fault("N5")
@pytest.mark.parametrize(
    ("rows", "items"),
    [
        ([Row("1", "pair", prompt="1+1=", answer="2")], 4),
        (tiny.sums(3), 1),
        ([Row(f"{i}", "pair", prompt=f"{i}=", answer="\u200b") for i in range(3)], 4),
    ],
    ids=["one row", "one item, fewer rows than a batch", "invisible answers"],
)
def test_very_little_data_has_a_defined_score(
    rows: list[Row], items: int, tmp_path: Path, llama: ModelRef
) -> None:
    config = tiny.trial(
        tmp_path,
        llama,
        budget=60,
        rungs=(60,),
        batch_size=16,
        mixture={"task": 1.0},
        sources=(tiny.source(tmp_path, "task", rows),),
        suites=(tiny.suite(tmp_path, "sums", tiny.sums(items, 60), "exact_match"),),
    )
    report = report_of(work(config, tmp_path))
    assert 0 <= report.metrics["validation/sums"] <= 1
    assert report.drawn["task"]["rows"] >= 16, "a batch is full: rows are drawn again"


@pytest.mark.fault("N8")
@pytest.mark.parametrize(
    ("shares", "lengths", "words"),
    [
        ({"a": 0.4, "b": 0.4}, {"a": [1], "b": [1]}, "not 1"),
        ({"a": 0.5, "b": 0.5}, {"a": [1], "b": []}, "no rows"),
        ({"a": 0.0}, {"a": [1]}, "not 1"),
    ],
)
def test_shares_that_are_none_are_refused(
    shares: dict[str, float], lengths: dict[str, list[int]], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        Mixture(shares, lengths, 0)


@pytest.mark.fault("N8")
@pytest.mark.parametrize("share", [-0.5, 1.5, math.nan, math.inf])
def test_no_trial_has_a_share_that_is_none(share: float, tmp_path: Path, llama: ModelRef) -> None:
    with pytest.raises(ValidationError, match=r"mixture\.replay"):
        tiny.trial(tmp_path, llama, mixture={"task": 0.5, "replay": share})


@pytest.mark.fault("N8")
def test_a_source_smaller_than_its_share_is_repeated_and_counted() -> None:
    mixture = Mixture({"a": 1 - 1e-12, "b": 1e-12}, {"a": [3, 3], "b": [3]}, 0)
    list(mixture.rows(20))
    drawn = mixture.drawn()
    assert drawn["a"]["rows"] + drawn.get("b", {"rows": 0})["rows"] == 20
    assert drawn["a"]["rows"] >= 19, "ten times what there is"


@pytest.mark.fault("N10")
def test_the_same_trial_twice_is_the_same_to_the_last_bit(tmp_path: Path, llama: ModelRef) -> None:
    config = tiny.trial(tmp_path, llama, budget=BUDGET, rungs=(BUDGET,))
    reports = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        reports.append(report_of(work(config, tmp_path / name)))
    assert reports[0].metrics == reports[1].metrics
    assert reports[0].drawn == reports[1].drawn


def spoiled(path: Path) -> Callable[[], object]:
    """Changes one letter of the last row; what puts it back."""
    content = path.read_text(encoding="utf-8")
    at = content.rindex('"}') - 1
    path.write_text(f"{content[:at]}~{content[at + 1 :]}", encoding="utf-8")
    return lambda: path.write_text(content, encoding="utf-8")


@pytest.mark.fault("M23")
def test_a_data_file_that_changes_between_trials_is_refused_by_the_worker(
    tmp_path: Path, llama: ModelRef
) -> None:
    config = tiny.trial(tmp_path, llama, budget=BUDGET, rungs=(BUDGET,))
    report_of(work(config, tmp_path))
    for ref in (config.sources[0], config.suites[0]):
        put_back = spoiled(Path(ref.path))
        reply = work(config, tmp_path)
        assert reply.report is None and reply.detail is not None
        assert ref.path in reply.detail and "SHA-256" in reply.detail
        put_back()
    report_of(work(config, tmp_path))
