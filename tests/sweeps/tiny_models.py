"""Model folders of a few kilobytes, made without torch: enough for everything before training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def make_model(
    folder: Path, *, hidden: int = 8, template: str | None = None, **config: Any
) -> Path:
    """A Llama-like folder: character tokenizer, one layer, random weights."""
    folder.mkdir(parents=True)
    characters = [chr(c) for c in range(32, 127)]
    vocab = {token: i for i, token in enumerate(["<unk>", "</s>", *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    described: dict[str, Any] = {"eos_token": "</s>"}
    if template is not None:
        described["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    defaults = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(vocab),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(defaults | config))
    rng = np.random.default_rng(hidden)
    shapes = {
        "model.embed_tokens.weight": (len(vocab), hidden),
        "model.layers.0.self_attn.q_proj.weight": (hidden, hidden),
        "model.layers.0.mlp.up_proj.weight": (2 * hidden, hidden),
        "model.norm.weight": (hidden,),
    }
    tensors = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    save_file(tensors, str(folder / "model.safetensors"))
    return folder


def make_world(folder: Path, *, models: int = 2, rows: int = 400) -> Path:
    """Models, data and a `sweep.yaml` in `folder`; returns the path of the spec."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(models):
        make_model(folder / f"m{index}", hidden=8 * (index + 1))
    write_jsonl(
        folder / "tickets.jsonl",
        [{"prompt": f"route ticket {i}", "answer": f"desk {i % 7}"} for i in range(rows)],
    )
    write_jsonl(folder / "general.jsonl", [{"text": f"general fact {i}"} for i in range(100)])
    write_jsonl(folder / "general_eval.jsonl", [{"text": f"other fact {i}"} for i in range(300)])
    path = folder / "sweep.yaml"
    path.write_text(spec_text([f"m{i}" for i in range(models)]))
    return path


def spec_text(models: list[str]) -> str:
    """The spec of the README, on these models."""
    return f"""\
name: ticket-routing
models: [{", ".join(models)}]
data:
  tickets: {{path: tickets.jsonl, role: task, split: auto}}
  general: {{path: general.jsonl, role: replay}}
suites:
  gain: {{from: tickets, scorer: exact_match}}
  forgetting: {{path: general_eval.jsonl, scorer: bits_per_byte}}
space:
  method: [full, lora]
  learning_rate: {{log: [1e-5, 1e-3]}}
  lora.rank: {{log_int: [4, 64], when: {{method: lora}}}}
  mixture: {{tickets: [0.5, 1], general: [0, 0.5]}}
search: {{trials_per_model: 12}}
confirm: {{finalists: 4, seeds: 3}}
question: {{delta: 0.02, max_forgetting: 0.03, cost: usd_per_million_tokens}}
prices: {{gpu_hour_usd: 2.5}}
profiles:
  smoke:
    search: {{trials_per_model: 4}}
    confirm.finalists: 2
"""


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """One object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
