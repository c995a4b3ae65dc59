"""A worker that trains and answers what each rank holds afterwards; see `test_ranks`."""

import json
import os
import sys
from typing import Any

import torch

from keepgain.core.work import TrainRequest
from keepgain.trainers.data import DataCache
from keepgain.trainers.models import BaseCache
from keepgain.trainers.process import prepare_libraries
from keepgain.trainers.run import Run


def held(run: Run) -> dict[str, int]:
    """Numbers that this rank keeps between steps: of weights in the module and in the optimizer's
    float32 copies, and of the optimizer's moments."""
    weights = 0
    for parameter in run.model.parameters():
        own = getattr(parameter, "ds_tensor", None)
        weights += parameter.data.numel() + (0 if own is None else own.numel())
    optimizer: Any = run.engine._optimizer  # type: ignore[attr-defined]
    states = getattr(optimizer, "optimizer", optimizer).state.values()
    moments = sum(s["exp_avg"].numel() + s["exp_avg_sq"].numel() for s in states)
    return {"weights": weights, "moments": moments}


def settings(run: Run) -> dict[str, Any]:
    """What this rank trained with, read where it takes effect."""
    engine: Any = run.engine
    groups = engine._optimizer.param_groups
    made = engine._engine
    rates = {m.attention_dropout for m in run.model.modules() if hasattr(m, "attention_dropout")}
    return {
        "learning_rate": sorted({group["lr"] for group in groups}),
        "weight_decay": sorted({group["weight_decay"] for group in groups}),
        "max_grad_norm": made.gradient_clipping(),
        "batch_size": made.train_batch_size(),
        "micro_batch_size": made.train_micro_batch_size_per_gpu(),
        "accumulation": made.gradient_accumulation_steps(),
        "dropout": sorted(rates),
        "label_smoothing": run._accumulate.config.label_smoothing,
        "examples": run.progress.examples,
        "steps": made.global_steps,
    }


def main() -> None:
    prepare_libraries()
    replies = os.fdopen(int(os.environ["KEEPGAIN_REPLY_FD"]), "w", encoding="utf-8")
    for line in sys.stdin:
        request = TrainRequest.model_validate_json(line)
        run = Run(request.config, request.seed, BaseCache(), DataCache())
        run.train(0, lambda *_: None)
        everyone: list[Any] = [None] * run.place.world
        torch.distributed.all_gather_object(everyone, {**held(run), "settings": settings(run)})
        answer = {"ranks": everyone, "parameters": run.counts["parameters"]}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
