"""Pretrains the three base models of the tiny world and writes them as Hugging Face folders."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import tokenizers
import torch
import transformers
import world
from tokenizer import EOS, PAD, build
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from world import Row

SEED = 1
BATCH = 128
WARM_UP = 100
PROMPT_WEIGHT = 0.05
# Share of each task in a batch.
MIX = {"fact": 0.36, "add": 0.28, "rev": 0.15, "max": 0.05, "gram": 0.11, "safety": 0.05}


@dataclass(frozen=True)
class Size:
    """One base model: its shape and how long it is pretrained."""

    width: int
    layers: int
    heads: int
    inner: int
    steps: int
    learning_rate: float


# Tuned once, aiming at base accuracies of about .5, .8 and .95, then frozen.
SIZES = {
    "xs": Size(width=32, layers=2, heads=2, inner=96, steps=1000, learning_rate=4e-3),
    "s": Size(width=64, layers=2, heads=4, inner=176, steps=1000, learning_rate=3e-3),
    "m": Size(width=96, layers=3, heads=4, inner=256, steps=1500, learning_rate=3e-3),
}


@dataclass(frozen=True)
class Packed:
    """Rows as one array of token ids; ``start`` is where the answer begins."""

    ids: torch.Tensor
    start: torch.Tensor
    length: torch.Tensor


def pack(rows: Sequence[Row], tokenizer: PreTrainedTokenizerFast) -> Packed:
    """The id of each character, looked up once each: the tokenizer is one token a character."""
    ids = {token: index for token, index in tokenizer.get_vocab().items()}
    texts = [[*(ids[c] for c in row.prompt + row.answer), ids[EOS]] for row in rows]
    width = max(map(len, texts))
    table = torch.full((len(rows), width), ids[PAD], dtype=torch.long)
    for index, text in enumerate(texts):
        table[index, : len(text)] = torch.tensor(text)
    start = torch.tensor([len(row.prompt) for row in rows])
    return Packed(table, start, torch.tensor([len(text) for text in texts]))


def new_model(size: Size, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return LlamaForCausalLM(config)


def answer_loss(model: LlamaForCausalLM, rows: Packed, chosen: torch.Tensor) -> torch.Tensor:
    """Weighted next-token loss: the answer counts fully, the prompt a little, padding not."""
    length, start = rows.length[chosen], rows.start[chosen]
    ids = rows.ids[chosen, : int(length.max())]
    place = torch.arange(1, ids.shape[1])
    weight = torch.where(place >= start[:, None], 1.0, PROMPT_WEIGHT)
    weight = weight * (place < length[:, None])
    # Padding comes after the text, so causal attention needs no mask for it.
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    return (losses * weight.flatten()).sum() / weight.sum()


@torch.no_grad()
def exact_match(
    model: LlamaForCausalLM, rows: Sequence[Row], tokenizer: PreTrainedTokenizerFast
) -> float:
    """Share of rows whose answer and <eos> greedy decoding would give exactly.

    All teacher-forced argmaxes right is the same event, at the price of one forward pass.
    """
    packed = pack(rows, tokenizer)
    guess = model(input_ids=packed.ids[:, :-1], use_cache=False).logits.argmax(-1)
    place = torch.arange(1, packed.ids.shape[1])
    asked = (place >= packed.start[:, None]) & (place < packed.length[:, None])
    return float(((guess == packed.ids[:, 1:]) | ~asked).all(1).float().mean())


def suites(split: str) -> dict[str, list[Row]]:
    """The general suites: skills on unseen prompts, facts as taught in wording B."""
    order = sorted(world.facts(), key=lambda f: world.number(2**62, "suite", f.entity, f.relation))
    first = 0 if split == "validation" else world.SUITE
    asked = [world.fact_row(fact, "B") for fact in order[first : first + world.SUITE]]
    return {"fact": asked, **{task: world.skill(task)[split] for task in world.POOL}}


def accuracies(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> dict[str, dict[str, float]]:
    model.eval()
    found: dict[str, dict[str, float]] = {}
    for split in ("validation", "test"):
        scores = {t: exact_match(model, rows, tokenizer) for t, rows in suites(split).items()}
        scores["mean"] = sum(scores.values()) / len(scores)
        found[split] = {task: round(score, 4) for task, score in scores.items()}
    refusals = world.safety()
    asked = {kind: refusals[kind][:30] for kind in ("unsafe", "safe")}
    found["safety"] = {
        kind: round(exact_match(model, rows, tokenizer), 4) for kind, rows in asked.items()
    }
    return found


def draws(steps: int, sizes: dict[str, int]) -> np.ndarray:
    """Row numbers for every step, drawn from the tasks in the shares of MIX."""
    random = np.random.default_rng(SEED)
    tasks = random.choice(len(MIX), size=(steps, BATCH), p=list(MIX.values()))
    counts = np.array([sizes[task] for task in MIX])
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return first[tasks] + (random.random((steps, BATCH)) * counts[tasks]).astype(np.int64)


def pretrain(size: Size, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """AdamW with warm-up and a cosine; each batch as a short and a long half, to pad less."""
    torch.manual_seed(SEED)
    pool = world.pretraining()
    packed = pack([row for task in MIX for row in pool[task]], tokenizer)
    chosen = torch.from_numpy(draws(size.steps, {task: len(pool[task]) for task in MIX}))
    model = new_model(size, tokenizer).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=size.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )

    def rate(step: int) -> float:
        if step < WARM_UP:
            return (step + 1) / WARM_UP
        done = (step - WARM_UP) / max(1, size.steps - WARM_UP)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for step, numbers in enumerate(chosen):
        numbers = numbers[packed.length[numbers].argsort(stable=True)]
        halves = numbers.chunk(2)
        loss = sum(answer_loss(model, packed, half) for half in halves) / len(halves)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == size.steps - 1:
            print(f"  step {step:5d}  loss {loss.item():.3f}", flush=True)
    return model


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """config.json, generation_config.json, model.safetensors and the tokenizer files."""
    model.generation_config.max_new_tokens = 16
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make(out: Path, names: list[str]) -> None:
    """Pretrains ``names`` into ``out`` and notes in MADE.json how, and what came out."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build()
    record = out / "MADE.json"
    made: dict[str, Any] = json.loads(record.read_text()) if record.exists() else {}
    for name in names:
        size, begun = SIZES[name], time.perf_counter()
        print(f"{name}: {size}", flush=True)
        model = pretrain(size, tokenizer)
        seconds = time.perf_counter() - begun
        save(model, tokenizer, out / name)
        made[name] = describe(name, size, model, tokenizer, out / name)
        print(f"{name}: {seconds:.0f} s  {json.dumps(made[name]['accuracy'])}", flush=True)
        record.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def describe(
    name: str,
    size: Size,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
) -> dict[str, Any]:
    scripts = Path(__file__).parent
    return {
        "shape": asdict(size),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "seed": SEED,
        "world_seed": world.SEED,
        "batch": BATCH,
        "mix": MIX,
        "accuracy": accuracies(model, tokenizer),
        "sha256": {"model.safetensors": digest(folder / "model.safetensors")},
        "scripts_sha256": {
            path: digest(scripts / path) for path in ("bases.py", "tokenizer.py", "world.py")
        },
        "made_with": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "safetensors": safetensors.__version__,
            "numpy": np.__version__,
            "machine": platform.machine(),
            "threads": os.environ.get("OMP_NUM_THREADS", "unset"),
        },
    }
