"""Makes two model folders and data that the package did not grow up with.

Random weights, a byte-level BPE tokenizer of 8,000 tokens and more, chat templates, no
padding token, bfloat16 shards: the awkward traits of real checkpoints at a tiny size.

example:
  python tests/foreign/make_foreign.py /tmp/foreign
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 8192
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MODULES = (
    "argparse ast asyncio collections concurrent.futures configparser csv ctypes datetime "
    "decimal difflib dis doctest email.message enum fractions functools hashlib heapq "
    "http.client inspect ipaddress itertools json logging mailbox math optparse os pathlib "
    "pdb pickle pickletools platform random re shutil smtplib socket sqlite3 ssl statistics "
    "string subprocess tarfile tempfile textwrap threading tkinter.ttk tokenize traceback "
    "turtle typing unittest.case unittest.mock urllib.parse urllib.request uuid warnings "
    "wsgiref.handlers xml.dom.minidom xml.etree.ElementTree zipfile"
).split()

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The same text, but it tells which part the assistant wrote.
MARKED_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|im_end|>{% endif %}"
    "\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

PLACES = "Lisbon Oslo Turin Quito Accra Osaka Perth Delhi Cairo Leeds".split()
GOODS = "copper lamps|oak tables|wool coats|steel bolts|glass jars|paper rolls|rice bags".split("|")
STATES = "delayed delivered damaged missing returned inspected".split()
NAMES = "Ada Boris Chen Dalia Emeka Farid Greta Hugo Imani Jonas".split()


def number(bound: int, *key: object) -> int:
    text = "|".join(["foreign", *map(str, key)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % bound


# ---------------------------------------------------------------- text


def paragraphs() -> list[str]:
    """Prose from the language reference that ships with Python; no paragraph twice."""
    found: dict[str, None] = {}
    for name in sorted(topics.topics):
        for block in re.split(r"\n\s*\n", topics.topics[name]):
            text = " ".join(block.split())
            words = re.findall(r"[A-Za-z]{2,}", text)
            if 140 <= len(text) <= 1500 and len(words) >= 20:
                found.setdefault(text)
    return list(found)


def docstrings() -> Iterator[str]:
    """Docstrings of the standard library; modules that a build lacks are left out."""
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for _, value in sorted(vars(module).items(), key=lambda pair: pair[0]):
            if inspect.isclass(value) or inspect.isroutine(value):
                yield inspect.getdoc(value) or ""


# ---------------------------------------------------------------- rows


def shipment(index: int, line: int) -> dict[str, str]:
    def pick(values: list[str], what: str) -> str:
        return values[number(len(values), what, index, line)]

    return {
        "order": f"{number(9000, 'order', index, line) + 1000}",
        "goods": pick(GOODS, "goods"),
        "amount": f"{number(90, 'amount', index, line) + 10}",
        "place": pick(PLACES, "place"),
        "state": pick(STATES, "state"),
        "agent": pick(NAMES, "agent"),
    }


def task_row(index: int) -> dict[str, object]:
    """A log of shipments and, as answer, a summary that the log determines."""
    lines = [shipment(index, line) for line in range(1 + number(18, "lines", index))]
    log = "\n".join(
        f"- agent={s['agent']}; order={s['order']}; goods={s['goods']}; amount={s['amount']}; "
        f"place={s['place']}; state={s['state']}"
        for s in lines
    )
    asked = lines[number(len(lines), "asked", index)]
    question = f"Report on order {asked['order']} from this log.\n{log}"
    answer = (
        f"Order {asked['order']}: {asked['amount']} {asked['goods']} for {asked['place']}, "
        f"status {asked['state']}. The agent in charge is {asked['agent']}. "
        f"The log has {len(lines)} entries."
    )
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if index % 3 == 0:
        messages.insert(0, {"role": "system", "content": "You write short shipping reports."})
    return {"messages": messages}


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8", newline="\n")


# ---------------------------------------------------------------- folders


def train_tokenizer() -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [topics.topics[name] for name in sorted(topics.topics)]
    texts += [*docstrings(), *(json.dumps(task_row(i)) for i in range(200))]
    core.train_from_iterator(texts, trainer)
    return core


def wrap(core: Tokenizer, template: str) -> PreTrainedTokenizerFast:
    """A fast tokenizer with a chat template and, on purpose, no padding token."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", "<|endoftext|>"],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    tokenizer.chat_template = template
    return tokenizer


def make_models(out: Path, core: Tokenizer) -> None:
    """A Llama of width 64 and a Qwen3 of width 96, in bfloat16 and several shards."""
    shared = {
        "vocab_size": core.get_vocab_size(),
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": None,
        "eos_token_id": core.token_to_id("<|im_end|>"),
        "pad_token_id": None,
    }
    torch.manual_seed(11)
    llama = LlamaForCausalLM(
        LlamaConfig(hidden_size=64, intermediate_size=160, tie_word_embeddings=False, **shared)
    )
    qwen = Qwen3ForCausalLM(
        Qwen3Config(
            hidden_size=96, intermediate_size=256, head_dim=32, tie_word_embeddings=True, **shared
        )
    )
    for name, model, template in (
        ("llama", llama, PLAIN_TEMPLATE),
        ("qwen3", qwen, MARKED_TEMPLATE),
    ):
        folder = out / name
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="300KB")
        wrap(core, template).save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", 1)[0],
        epilog="example: python tests/foreign/make_foreign.py /tmp/foreign",
    )
    parser.add_argument("out", type=Path, help="folder to write")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    make_models(out, train_tokenizer())
    write_rows(out / "tasks.jsonl", [task_row(index) for index in range(240)])
    prose = [{"text": text} for text in paragraphs()]
    held_out = [row for row in prose if number(6, row["text"]) == 0]
    rest = [row for row in prose if number(6, row["text"]) != 0]
    write_rows(out / "general.jsonl", rest[:1000])
    write_rows(out / "general_eval.jsonl", held_out[:150])


if __name__ == "__main__":
    main()
