"""Models, tokenizers and rows so small that a test trains them in a second."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from keepgain.core.config import LoraSettings, ModelRef, SourceRef, SuiteRef, TrialConfig
from keepgain.core.identity import file_digest, folder_digest
from keepgain.core.rows import Row, write_rows
from keepgain.trainers.tokens import Codec, codec_of

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 =+?:.\n"
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]

PLAIN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(template: str | None = None, **special: Any) -> PreTrainedTokenizerFast:
    """One token a character; without a padding token unless `pad_token` is given."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *ALPHABET])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    options: dict[str, Any] = {"unk_token": "<unk>", "eos_token": "</s>", **special}
    if template is not None:
        options["additional_special_tokens"] = ["<|im_start|>", "<|im_end|>"]
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, clean_up_tokenization_spaces=False, **options
    )
    made.chat_template = template
    return made


def codec(template: str | None = None, **special: Any) -> Codec:
    return codec_of(tokenizer(template, **special), "tiny", len(SPECIAL) + len(ALPHABET))


def model_folder(
    folder: Path,
    family: str = "llama",
    *,
    width: int = 16,
    layers: int = 2,
    heads: int = 2,
    template: str | None = None,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    **options: Any,
) -> ModelRef:
    """Writes a random model with the tokenizer above."""
    torch.manual_seed(seed)
    shared: dict[str, Any] = {
        "vocab_size": len(SPECIAL) + len(ALPHABET),
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": None,
        **options,
    }
    model = (
        LlamaForCausalLM(LlamaConfig(**shared))
        if family == "llama"
        else Qwen3ForCausalLM(Qwen3Config(head_dim=width // heads, **shared))
    )
    model.to(dtype).save_pretrained(folder)
    tokenizer(template).save_pretrained(folder)
    digest = folder_digest(folder, ("*.json", "*.safetensors"))
    return ModelRef(name=folder.name, path=str(folder), digest=digest)


def sums(count: int, first: int = 0) -> list[Row]:
    """`12+7=` with its sum: pairs without a template."""
    pairs = [(i * 7 % 50, i * 13 % 40) for i in range(first, first + count)]
    return [
        Row(f"sum{i}", "pair", prompt=f"{a}+{b}=", answer=str(a + b), group=f"g{i % 3}")
        for i, (a, b) in enumerate(pairs, first)
    ]


def words(count: int, first: int = 0) -> list[Row]:
    """Lines of letters: plain text."""
    return [
        Row(f"text{i}", "text", text=f"row {i} says {'abcdefgh'[i % 5 :]} and {i * i % 97}.")
        for i in range(first, first + count)
    ]


def source(folder: Path, name: str, rows: list[Row], role: str = "task") -> SourceRef:
    path = folder / f"{name}.jsonl"
    write_rows(path, rows)
    return SourceRef(name=name, role=role, path=str(path), digest=file_digest(path), rows=len(rows))


def suite(folder: Path, name: str, rows: list[Row], scorer: str, **options: Any) -> SuiteRef:
    path = folder / f"suite-{name}.jsonl"
    write_rows(path, rows)
    fields: dict[str, Any] = {"measures": "gain", "split": "validation", **options}
    return SuiteRef(
        name=name,
        scorer=scorer,
        path=str(path),
        digest=file_digest(path),
        items=len(rows),
        **fields,
    )


def trial(folder: Path, model: ModelRef, **options: Any) -> TrialConfig:
    """A trial of two rungs on sums with some text replayed."""
    fields: dict[str, Any] = {
        "model": model,
        "learning_rate": 3e-3,
        "batch_size": 8,
        "max_length": 64,
        "budget": 4000,
        "rungs": (2000, 4000),
        "mixture": {"task": 0.75, "replay": 0.25},
        **options,
    }
    if "sources" not in fields:
        fields["sources"] = (
            source(folder, "task", sums(60)),
            source(folder, "replay", words(30), "replay"),
        )
    if "suites" not in fields:
        fields["suites"] = (
            suite(folder, "sums", sums(20, 60), "exact_match"),
            suite(folder, "words", words(12, 30), "bits_per_byte", measures="forgetting"),
        )
    if fields.get("method") == "lora" and "lora" not in fields:
        fields["lora"] = LoraSettings(rank=4, dropout=0.1)
    return TrialConfig(**fields)
