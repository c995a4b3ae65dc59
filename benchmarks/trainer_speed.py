"""Useful tokens per second of training: ours, unpacked and packed, beside `transformers.Trainer`.

    python benchmarks/trainer_speed.py                     # on the CPU, one thread
    python benchmarks/trainer_speed.py --device cuda --width 2048 --layers 16 --rows 512

All three train the same random Llama on the same rows of uneven length for one epoch, with AdamW
(fused), the same batches, the same loss tokens and the same dtype. Each turn has an order of its
own, since chance decides how much padding the batches of an order need. They take turns in one
process, after one warm-up each. Useful tokens are those of the rows, padding apart. What is printed
is the median over the repeats with its range, and the median of the ratios to the Trainer of the
same turn.
"""

import argparse
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import transformers
from torch.utils.data import SequentialSampler
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from keepgain.core.config import ModelRef, Runtime, SourceRef, TrialConfig
from keepgain.trainers.accumulate import Accumulator
from keepgain.trainers.data import collate
from keepgain.trainers.encode import Encoded
from keepgain.trainers.engine import make_engine
from keepgain.trainers.loop import train_to
from keepgain.trainers.methods import prepare
from keepgain.trainers.mixture import Mixture
from keepgain.trainers.models import numerics_of
from keepgain.trainers.progress import Progress

VOCABULARY = 1024
PAD = 0


def uneven_rows(count: int, longest: int, seed: int = 0) -> list[Encoded]:
    """Rows of log-normal length (median an eighth of the longest), the last 40 % with loss."""
    generator = np.random.default_rng(seed)
    lengths = np.exp(generator.normal(np.log(longest / 8), 0.9, count)).astype(int)
    rows = []
    for length in np.clip(lengths, 8, longest):
        ids = generator.integers(1, VOCABULARY, length).astype(np.int32)
        rows.append(Encoded(ids, int(0.6 * length), False))
    return rows


def model(width: int, layers: int) -> LlamaForCausalLM:
    """A random Llama in float32."""
    torch.manual_seed(0)
    heads = max(width // 64, 1)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=width, intermediate_size=3 * width,
            num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
            max_position_embeddings=8192,
        )
    )  # fmt: skip


def mixture_of(rows: list[Encoded], turn: int) -> Mixture:
    """Its seed is the turn."""
    return Mixture({"rows": 1.0}, {"rows": [len(r.ids) for r in rows]}, turn)


def seconds_of_ours(
    rows: list[Encoded], options: argparse.Namespace, turn: int, *, packing: bool
) -> float:
    """One epoch by our loop."""
    config = TrialConfig(
        model=ModelRef(name="random", path="", digest=""),
        learning_rate=1e-4,
        batch_size=options.batch,
        max_length=max(len(r.ids) for r in rows),
        budget=len(rows),
        budget_unit="examples",
        rungs=(len(rows),),
        mixture={"rows": 1.0},
        sources=(SourceRef(name="rows", role="task", path="", digest="", rows=len(rows)),),
        suites=(),
        runtime=Runtime(packing=packing, device=options.device, dtype=options.dtype),
    )
    numerics = numerics_of(config.runtime)
    prepared = prepare(model(options.width, options.layers).to(numerics.device), config, 0)
    engine = make_engine(prepared, config, numerics)
    progress = Progress()
    train_to(
        len(rows), config, 0, Accumulator(engine, config, PAD), mixture_of(rows, turn),
        {"rows": rows}, progress, lambda *_: None,
    )  # fmt: skip
    engine.close()
    return progress.train_seconds


class InOrder(Trainer):
    """Takes the rows as they come; its own sampler would draw other batches than ours."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


def seconds_of_trainer(rows: list[Encoded], options: argparse.Namespace, turn: int) -> float:
    """One epoch by `transformers.Trainer` as it comes, with a collator that pads."""
    ordered = [rows[i] for _, i in mixture_of(rows, turn).rows(len(rows))]

    def pad(part: list[Encoded]) -> dict[str, torch.Tensor]:
        batch = collate(part, PAD)
        return {**batch.inputs(torch.device("cpu")), "labels": batch.labels}

    with tempfile.TemporaryDirectory() as folder:
        arguments: dict[str, Any] = {
            "output_dir": folder, "num_train_epochs": 1, "learning_rate": 1e-4,
            "per_device_train_batch_size": options.batch, "optim": "adamw_torch_fused",
            "report_to": "none", "logging_strategy": "no", "save_strategy": "no",
            "disable_tqdm": True, "use_cpu": options.device == "cpu",
            "bf16": options.dtype == "bfloat16", "remove_unused_columns": False,
        }  # fmt: skip
        trainer = InOrder(
            model=model(options.width, options.layers),
            args=TrainingArguments(**arguments),
            train_dataset=ordered,  # type: ignore[arg-type]
            data_collator=pad,  # type: ignore[arg-type]
        )
        began = time.perf_counter()
        trainer.train()
        if options.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--longest", type=int, default=512, help="tokens of the longest row")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    options.dtype = options.dtype or ("bfloat16" if options.device == "cuda" else "float32")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    rows = uneven_rows(options.rows, options.longest)
    tokens = sum(len(r.ids) for r in rows)
    ways: dict[str, Callable[[int], float]] = {
        "transformers.Trainer": partial(seconds_of_trainer, rows, options),
        "Keepgain": partial(seconds_of_ours, rows, options, packing=False),
        "Keepgain, packed": partial(seconds_of_ours, rows, options, packing=True),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.repeats + 1):
        for name, run in ways.items():
            speed = tokens / run(turn)
            if turn:
                speeds[name].append(speed)
    print(_machine(options, len(rows), tokens))
    theirs = speeds["transformers.Trainer"]
    for name, own in speeds.items():
        ratio = statistics.median(a / b for a, b in zip(own, theirs, strict=True))
        print(
            f"{name:<22} {statistics.median(own):9.0f} tokens/s "
            f"({min(own):.0f} to {max(own):.0f})  {ratio:.2f}"
        )


def _machine(options: argparse.Namespace, count: int, tokens: int) -> str:
    if options.device == "cuda":
        hardware = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        hardware = next((v.split(":")[1].strip() for v in lines if v.startswith("model name")), "?")
    return (
        f"{hardware}, one thread; torch {torch.__version__}, transformers "
        f"{transformers.__version__}, Python {platform.python_version()}; Llama of width "
        f"{options.width} and {options.layers} layers in {options.dtype}; {count} rows, {tokens} "
        f"tokens, batches of {options.batch}; {options.repeats} turns"
    )


if __name__ == "__main__":
    main()
