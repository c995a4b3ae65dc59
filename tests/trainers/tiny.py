"""Models, tokenizers and rows so small that a test trains them in a second."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

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


OF_FAMILY: dict[str, dict[str, Any]] = {
    # Rows are longer than the window of every other layer.
    "gemma4_text": {
        "head_dim": 8,
        "global_head_dim": 8,
        "sliding_window": 8,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": len(SPECIAL) + len(ALPHABET),
    },
}
"""What a family needs to be tiny, beside the sizes that all share."""


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
    config = AutoConfig.for_model(family, **(OF_FAMILY.get(family, {}) | shared))
    if family == "qwen3":
        config.head_dim = width // heads
    model = AutoModelForCausalLM.from_config(config)
    model.to(dtype).save_pretrained(folder)
    tokenizer(template).save_pretrained(folder)
    digest = folder_digest(folder, ("*.json", "*.safetensors"))
    return ModelRef(name=folder.name, path=str(folder), digest=digest)


def llama(folder: Path) -> ModelRef:
    """Without a chat template."""
    return model_folder(folder)


def qwen3(folder: Path) -> ModelRef:
    """With a chat template, in bfloat16, without a padding token."""
    return model_folder(
        folder, "qwen3", template=PLAIN_TEMPLATE, dtype=torch.bfloat16, eos_token_id=5
    )


def processor() -> str:
    """Model name of this machine's processor: sums are rounded alike on equal ones."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    keys = ("vendor_id", "cpu family", "model\t")
    return ", ".join(next(v for v in lines if v.startswith(k)).split(":")[1].strip() for k in keys)


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
