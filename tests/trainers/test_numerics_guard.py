"""Losses of fixed runs, step by step: a change that is not meant to change numbers changes none.

`losses.json` holds what the runs below gave. On the processor model that it names they must be
equal bit for bit; elsewhere sums are rounded otherwise, and a relative difference of 1e-4 is
allowed over these few steps, of 2e-3 where weights and sums are in bfloat16, whose own step is
4e-3 (5.4e-4 was seen between two processor models). A change that is meant to change numbers
records them again and says so in its message:

    python -m tests.trainers.test_numerics_guard
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from keepgain.core.config import LoraSettings, ModelRef, Runtime, TrialConfig
from keepgain.trainers.data import DataCache
from keepgain.trainers.models import BaseCache
from keepgain.trainers.process import prepare_libraries
from keepgain.trainers.run import Run
from tests.trainers import tiny

FILE = Path(__file__).with_name("losses.json")
ELSEWHERE = 1e-4
"""Relative difference that is allowed on another processor model."""
ELSEWHERE_BFLOAT16 = 2e-3

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("llama", {}),
    "full, micro-batches": ("llama", {"runtime": Runtime(micro_batch_size=3)}),
    "full, decay and cosine": ("llama", {"weight_decay": 0.1, "schedule": "cosine"}),
    "lora with dropout": ("llama", {"method": "lora", "lora": LoraSettings(rank=4, dropout=0.1)}),
    "lora, bfloat16 base with a template": ("qwen3", {"method": "lora"}),
    "full in bfloat16": ("qwen3", {"runtime": Runtime(dtype="bfloat16")}),
    "deepspeed, stage 2": ("llama", {"runtime": Runtime(engine="deepspeed", zero_stage=2)}),
}


def curve(folder: Path, model: ModelRef, options: dict[str, Any]) -> list[list[float]]:
    """[loss, gradient norm] of every step."""
    config: TrialConfig = tiny.trial(folder, model, budget=1500, rungs=(1500,), **options)
    run = Run(config, 3, BaseCache(), DataCache())
    points: list[list[float]] = []
    run.train(0, lambda _, v: points.append([v["train/loss"], v["train/grad_norm"]]))
    run.close()
    return points


@pytest.mark.parametrize("case", CASES)
def test_losses_are_what_they_were(tmp_path, request, case):
    recorded = json.loads(FILE.read_text())
    family, options = CASES[case]
    now = curve(tmp_path, request.getfixturevalue(family), options)
    assert len(now) >= 5, "every step is a point"
    if recorded["processor"] == tiny.processor() and recorded["torch"] == torch.__version__:
        assert now == recorded["losses"][case]
    else:
        rough = options.get("runtime", Runtime()).dtype == "bfloat16"
        rel = ELSEWHERE_BFLOAT16 if rough else ELSEWHERE
        assert now == [pytest.approx(p, rel=rel) for p in recorded["losses"][case]]


def main() -> None:
    """Records the losses of all cases, or of those named."""
    prepare_libraries()
    known = json.loads(FILE.read_text())["losses"] if FILE.exists() else {}
    names = sys.argv[1:] or list(CASES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in names:
            family, options = CASES[case]
            known[case] = curve(folder, models(folder)[family], options)
    text = {"processor": tiny.processor(), "torch": torch.__version__, "losses": known}
    FILE.write_text(json.dumps(text, indent=1) + "\n")


def models(folder: Path) -> dict[str, ModelRef]:
    """The models of the fixtures with the same names."""
    return {"llama": tiny.llama(folder / "llama"), "qwen3": tiny.qwen3(folder / "qwen3")}


if __name__ == "__main__":
    main()
