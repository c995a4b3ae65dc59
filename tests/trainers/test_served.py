"""Models as served: the whole path in bfloat16 on a CPU, and quantised on a GPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keepgain.core.config import LoraSettings, ModelRef, Runtime, ScoreConfig, ServeForm
from keepgain.core.items import read_items
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.merge import merge
from keepgain.trainers.models import load_model
from keepgain.trainers.served import held_bytes
from tests.trainers import tiny

LORA = {"method": "lora", "lora": LoraSettings(rank=4)}


class Tuned:
    """A base and a model tuned from it, to be scored in any form."""

    def __init__(self, folder: Path, base: ModelRef, **options: Any) -> None:
        self.folder, self.base, self.jobs = folder, base, Jobs()
        fields = {"learning_rate": 3e-2, "budget": 800, "rungs": (800,), **options}
        self.config = tiny.trial(folder, base, **fields)
        request = TrainRequest(
            config=self.config, seed=3, rung=0, sweep_folder=str(folder), keep_model=True
        )
        self.report = self._of(self.jobs.do(request))
        assert self.report.model_folder is not None

    def reply(self, form: ServeForm | None, *, tuned: bool = True, **of: Any) -> WorkReply:
        report = self.report
        weights = {"checkpoint": report.model_folder, "trained_by": report.run_key}
        fields = {"model": self.base, "suites": self.config.suites, "served": form}
        config = ScoreConfig.model_validate(fields | (weights if tuned else {}) | of)
        name = f"score-{config.trial_id}"
        return self.jobs.do(
            ScoreRequest(config=config, report_as=name, sweep_folder=str(self.folder))
        )

    def scored(self, form: ServeForm | None, **of: Any) -> RungReport:
        return self._of(self.reply(form, **of))

    def words(self, report: RungReport) -> np.ndarray:
        items = read_items(self.folder / report.items_path)
        return next(s.values for _, s in items if s.suite == "words")

    @staticmethod
    def _of(reply: WorkReply) -> RungReport:
        assert reply.report is not None, reply.detail
        return reply.report


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, llama: ModelRef) -> Tuned:
    return Tuned(tmp_path_factory.mktemp("whole"), llama)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, llama: ModelRef) -> Tuned:
    return Tuned(tmp_path_factory.mktemp("adapter"), llama, **LORA)


def test_bf16_is_the_same_weights_rounded(whole: Tuned, llama: ModelRef) -> None:
    own, served = whole.scored(None), whole.scored("bf16")
    assert np.array_equal(whole.words(own), whole.words(whole.report))
    change = np.abs(whole.words(served) - whole.words(own))
    assert 0 < change.max() < 0.05, "bits per byte differ by what rounding moves"
    assert (served.numerics["dtype"], served.numerics["served"]) == ("bfloat16", "bf16")
    assert own.numerics["dtype"] == "float32" and "served" not in own.numerics
    full = held_bytes(load_model(llama.path, torch.float32))
    assert served.cost["weight_bytes"] == full / 2
    # Of float32 weights, by the configuration of the model.
    assert own.cost["weight_bytes"] == full == 4 * own.cost["parameters"]


def test_scores_are_those_of_a_sweep_that_computes_in_this_form(whole: Tuned) -> None:
    """Which is why such a sweep scores nothing twice."""
    served = whole.scored("bf16")
    computed = whole.scored(None, runtime=Runtime(dtype="bfloat16"))
    assert np.array_equal(whole.words(served), whole.words(computed))


def test_an_adapter_is_served_on_its_base_in_that_form(adapter: Tuned) -> None:
    own, served = adapter.scored(None), adapter.scored("bf16")
    assert 0 < np.abs(adapter.words(served) - adapter.words(own)).max() < 0.05
    base = adapter.scored("bf16", tuned=False)
    assert np.abs(adapter.words(served) - adapter.words(base)).max() > 1e-3, "the adapter is on"
    # Adapters stay in float32, as they are saved.
    trained = adapter.report.cost["trainable_parameters"]
    assert served.cost["weight_bytes"] == base.cost["weight_bytes"] + 4 * trained


def test_forms_have_identities_of_their_own_and_scorings_without_one_keep_theirs(
    llama: ModelRef,
) -> None:
    config = ScoreConfig(model=llama, suites=())
    assert "served" not in config.model_dump(exclude_defaults=True)
    ids = {config.model_copy(update={"served": f}).trial_id for f in (None, "bf16", "int8", "nf4")}
    assert len(ids) == 4
    assert ScoreConfig(model=llama, suites=(), served=None).trial_id == config.trial_id


@pytest.mark.skipif(torch.cuda.is_available(), reason="it can be served here")
@pytest.mark.parametrize("form", ["int8", "nf4"])
@pytest.mark.parametrize("tuned", [True, False])
def test_quantised_forms_are_refused_without_a_gpu(
    whole: Tuned, form: ServeForm, tuned: bool
) -> None:
    reply = whole.reply(form, tuned=tuned)
    assert reply.cause is FailureCause.EXCEPTION and reply.report is None
    assert f"serve: {form} needs a CUDA GPU and the package bitsandbytes" in str(reply.detail)


@pytest.mark.gpu
@pytest.mark.parametrize(("form", "bits"), [("int8", 8), ("nf4", 4)])
@pytest.mark.parametrize("method", [{"method": "full"}, LORA], ids=["full", "lora"])
def test_quantised_models_are_smaller_and_near_their_own_scores(
    tmp_path: Path, form: ServeForm, bits: int, method: dict[str, Any]
) -> None:
    pytest.importorskip("bitsandbytes")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    base = tiny.model_folder(tmp_path / "m", width=128)
    tuned = Tuned(tmp_path, base, **method)
    own, served = tuned.scored("bf16"), tuned.scored(form)
    change = np.abs(tuned.words(served) - tuned.words(own))
    assert 0 < change.max() < 1
    assert bits / 16 < served.cost["weight_bytes"] / own.cost["weight_bytes"] < 0.9
    if method["method"] == "lora":
        merge(Path(base.path), tmp_path / str(tuned.report.model_folder), tmp_path / "merged")
        merged = ModelRef(name="m", path=str(tmp_path / "merged"), digest="m")
        joined = tuned.scored(form, tuned=False, model=merged)
        assert np.abs(tuned.words(joined) - tuned.words(own)).max() < 1
