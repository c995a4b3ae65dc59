"""A `transformers.Trainer` as a trainer of trials; docs/trainers.md says what it is given."""

import argparse
import json
import random
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


def split(row, tokenizer):
    """A row as (prompt, answer); the loss is on the answer."""
    if "text" in row:
        return "", row["text"] + tokenizer.eos_token
    if tokenizer.chat_template is None:
        return row["prompt"], row["answer"] + tokenizer.eos_token
    turns = row.get("messages") or [
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row["answer"]},
    ]
    prompt = tokenizer.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
    return prompt, tokenizer.apply_chat_template(turns, tokenize=False).removeprefix(prompt)


def encode(row, tokenizer, limit):
    """Token ids, and labels that leave the prompt out; long prompts are cut at the left."""
    parts = split(row, tokenizer)
    prompt, answer = (tokenizer(p, add_special_tokens=False)["input_ids"] for p in parts)
    labels = [-100] * len(prompt) + answer
    return {"input_ids": (prompt + answer)[-limit:], "labels": labels[-limit:]}


def draw(config, tokenizer):
    """Rows until the budget is spent: always of the source that is furthest behind its share."""
    rng, shares = random.Random(config["seed"]), config["mixture"]
    files = {s["name"]: Path(s["path"]) for s in config["sources"] if shares.get(s["name"])}
    rows = {n: [json.loads(line) for line in p.open(encoding="utf-8")] for n, p in files.items()}
    queues, tokens, drawn = {n: [] for n in rows}, dict.fromkeys(rows, 0), []
    in_tokens = config["budget_unit"] == "tokens"
    while (sum(tokens.values()) if in_tokens else len(drawn)) < config["budget"]:
        name = min(rows, key=lambda n: tokens[n] / shares[n])
        queues[name] = queues[name] or rng.sample(rows[name], len(rows[name]))
        drawn.append(queues[name].pop())
        tokens[name] += len(encode(drawn[-1], tokenizer, config["max_length"])["input_ids"])
    return drawn, sum(tokens.values())


class Progress(TrainerCallback):
    """Appends to progress.jsonl, which Keepgain reads while the trainer runs."""

    def __init__(self, output, rows, tokens):
        self.file, self.rows, self.tokens = output / "progress.jsonl", rows, tokens

    def on_log(self, args, state, control, logs, **kwargs):
        share = state.global_step / state.max_steps
        line = {"tokens": round(share * self.tokens), "examples": round(share * self.rows)}
        line |= {n: float(logs[n]) for n in ("loss", "learning_rate", "grad_norm") if n in logs}
        with self.file.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")


def arguments(config, rows):
    """What Trainer and TRL's SFTTrainer share."""
    gpu, steps = torch.cuda.is_available(), -(-rows // config["batch_size"])
    wsd = config["schedule"] == "wsd"
    return {
        "output_dir": "checkpoints",  # in the temporary working folder
        "per_device_train_batch_size": config["batch_size"],
        "num_train_epochs": 1,  # of the rows drawn
        **{n: config[n] for n in ("learning_rate", "weight_decay", "max_grad_norm", "seed")},
        "lr_scheduler_type": "warmup_stable_decay" if wsd else config["schedule"],
        "lr_scheduler_kwargs": {"num_decay_steps": round(config["decay_share"] * steps)}
        if wsd
        else {},
        "warmup_steps": round(config["warmup_share"] * steps),
        "bf16": gpu and torch.cuda.is_bf16_supported(),
        "logging_steps": max(1, steps // 100),
        "save_strategy": "no",
        "report_to": "none",
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    config = json.loads(given.config.read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(config["model"]["path"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows, tokens = draw(config, tokenizer)
    model = AutoModelForCausalLM.from_pretrained(config["model"]["path"], dtype=torch.float32)
    data = [encode(row, tokenizer, config["max_length"]) for row in rows]
    args = TrainingArguments(**arguments(config, len(rows)))
    reports = Progress(given.output, len(rows), tokens)
    pad = DataCollatorForSeq2Seq(tokenizer)
    Trainer(model, args, train_dataset=data, data_collator=pad, callbacks=[reports]).train()
    model.save_pretrained(given.output)


if __name__ == "__main__":
    main()
