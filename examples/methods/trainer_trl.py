"""TRL's `SFTTrainer` with LoRA as the trainer of a sweep. Rows are drawn as in `trainer_hf.py`."""

import argparse
import json
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from trainer_hf import Progress, arguments, draw, split
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    config = json.loads(given.config.read_text(encoding="utf-8"))
    folder = config["model"]["path"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows, tokens = draw(config, tokenizer)
    parts = [split(row, tokenizer) for row in rows]
    lora = config["lora"]  # set if the method is lora, rslora or dora
    adapter = None
    if lora is not None:
        adapter = LoraConfig(
            r=lora["rank"],
            lora_alpha=lora["alpha"] or 2 * lora["rank"],
            lora_dropout=lora["dropout"],
            target_modules=lora["targets"],
            use_rslora=config["method"] == "rslora",
            use_dora=config["method"] == "dora",
            task_type="CAUSAL_LM",
        )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        args=SFTConfig(
            **arguments(config, len(rows)),
            max_length=config["max_length"],
            completion_only_loss=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": p, "completion": c} for p, c in parts]),
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=[Progress(given.output, len(rows), tokens)],
    )
    trainer.train()
    trainer.model.save_pretrained(given.output)


if __name__ == "__main__":
    main()
