"""Clean data sets out of distinct prose, as files with a sweep spec."""

import copy
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.data_gates.edits import sentences
from benchmarks.data_gates.prose import Paragraph, words_of
from keepgain.core.errors import UserError

Family = Literal["topics", "answers"]
CLASSES = 6
GENERAL = 150
"""Items of each split of the general suite, whose forgetting is measured."""
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
ADDED = 1_000_000
"""Keys of added items begin here."""
ANNOTATORS = ("ada", "ben", "cleo", "dan", "eve")
RECENT_DAYS = 180
_ASKED = ("Explain {}.", "What is {}?", "What does {} do?", "Describe {} to me.")


_GROUPS = {"asker": {"words": {"woman": ["woman", "she"], "man": ["man", "he"]}}}
"""Groups that the spec declares, by words."""


@dataclass
class Item:
    """A row of a file before it has a line."""

    key: int
    record: dict[str, Any]


@dataclass
class World:
    """The files of a data set by name (`train`, `validation`, `test`, `general_*`)."""

    family: Family
    files: dict[str, list[Item]]
    labels: tuple[str, ...] = ()
    added: int = 0
    """Items that faults have added."""

    @property
    def grouped(self) -> bool:
        """Rows have the field `group`."""
        return "group" in self.files["train"][0].record

    def copied(self) -> "World":
        """To plant faults in."""
        return copy.deepcopy(self)

    def new(self, record: dict[str, Any]) -> Item:
        """An item with a key of its own."""
        self.added += 1
        return Item(ADDED + self.added, record)


@dataclass(frozen=True)
class Planted:
    """One planted fault: what `truth.jsonl` holds, a line each."""

    kind: str
    sub: str
    key: int
    """Of the faulty item."""
    file: str
    partner: int | None = None
    """Key of the item that it repeats or contradicts."""
    partner_file: str | None = None


def _beside(rng: random.Random, number: int, today: date) -> dict[str, Any]:
    """Honest fields of a row: nothing in them has to do with its content."""
    day = today - timedelta(days=rng.randrange(RECENT_DAYS))
    return {"annotator": rng.choice(ANNOTATORS), "date": day.isoformat(), "ref": 10_000 + number}


def _topic_names(paragraphs: Sequence[Paragraph]) -> tuple[str, ...]:
    """Topics with the most paragraphs; collections of many subjects are none."""
    apart = {"system", "licences"}
    counts = Counter(p.topic for p in paragraphs if p.topic not in apart)
    return tuple(sorted(t for t, _ in counts.most_common(CLASSES)))


def _topics(paragraphs: Sequence[Paragraph], rows: int) -> tuple[list[dict[str, Any]], set[int]]:
    """Paragraphs with their topic as the label, equally many of each; and which were used.

    Those that name a topic are left out: the label would stand in the prompt.
    """
    names = _topic_names(paragraphs)
    named = re.compile("|".join(names), re.I)
    each = rows // CLASSES
    records: list[dict[str, Any]] = []
    used: set[int] = set()
    counts: Counter[str] = Counter()
    for index, one in enumerate(paragraphs):
        if one.topic in names and counts[one.topic] < each and not named.search(one.text):
            counts[one.topic] += 1
            records.append({"prompt": one.text, "answer": one.topic})
            used.add(index)
    if len(records) < each * CLASSES:
        raise UserError(
            f"only {len(records)} paragraphs fit the {CLASSES} largest topics ({dict(counts)}).",
            where="benchmarks.data_gates",
            hint=f"Give --rows {CLASSES * min(counts.values())} or fewer.",
        )
    return records, used


def _answered(one: Paragraph) -> dict[str, Any] | None:
    """The first sentence as the question and the rest as the answer; else a question by name."""
    first, *rest = sentences(one.text)
    if rest and len(first.split()) >= 6 and sum(len(r.split()) for r in rest) >= 12:
        return {"prompt": first, "answer": " ".join(rest)}
    name = one.name if one.topic in one.name.lower() else f"{one.topic} {one.name}"
    if len(name.split()) > 8:
        return None
    ask = _ASKED[len(one.text) % len(_ASKED)]
    return {"prompt": ask.format(name), "answer": one.text}


def _answers(paragraphs: Sequence[Paragraph], rows: int) -> list[dict[str, Any]]:
    """Questions with their answers, each question once."""
    records: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    for found in map(_answered, paragraphs):
        if found is None or len(records) == rows:
            continue
        key = tuple(words_of(found["prompt"]))
        if key not in seen:
            seen.add(key)
            records.append(found)
    if len(records) < rows:
        raise UserError(
            f"only {len(records)} questions can be made, and {rows} are needed.",
            where="benchmarks.data_gates",
            hint="Give a smaller --rows.",
        )
    return records


def clean_world(paragraphs: Sequence[Paragraph], family: Family, rows: int, seed: int) -> World:
    """A data set without faults: training, validation and test rows, and a general suite.

    Raises:
        UserError: The prose does not suffice.
    """
    rng = random.Random(f"{family} {seed}")
    drawn = rng.sample(list(paragraphs), len(paragraphs))
    if family == "topics":
        records, used = _topics(drawn, rows)
        general = _answers([p for i, p in enumerate(drawn) if i not in used], 2 * GENERAL)
    else:
        both = _answers(drawn, rows + 2 * GENERAL)
        records, general = both[:rows], both[rows:]
    rng.shuffle(records)
    today = date.today()
    items = [Item(i, r | _beside(rng, i, today)) for i, r in enumerate(records)]
    begin, files = 0, {}
    for name, share in SHARES.items():
        end = begin + round(share * len(items))
        files[name] = items[begin:end]
        begin = end
    rest = [Item(len(items) + i, r) for i, r in enumerate(general)]
    files["general_validation"], files["general_test"] = rest[:GENERAL], rest[GENERAL:]
    labels = tuple(sorted({r["answer"] for r in records})) if family == "topics" else ()
    return World(family, files, labels)


def write_world(world: World, planted: Sequence[Planted], folder: Path, seed: int) -> Path:
    """Writes files, truth and spec; returns the spec's path. Rows are shuffled within files."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[int, int] = {}
    rng = random.Random(seed)
    for name, items in world.files.items():
        order = rng.sample(items, len(items))
        lines |= {item.key: number for number, item in enumerate(order, 1)}
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as handle:
            for item in order:
                handle.write(json.dumps(item.record, ensure_ascii=False) + "\n")
    with (folder / "truth.jsonl").open("w", encoding="utf-8") as handle:
        for one in planted:
            partner = None
            if one.partner is not None:
                partner = f"{one.partner_file}.jsonl:{lines[one.partner]}"
            truth = {
                "kind": one.kind,
                "sub": one.sub,
                "file": f"{one.file}.jsonl",
                "line": lines[one.key],
                "partner": partner,
            }
            handle.write(json.dumps(truth, ensure_ascii=False) + "\n")
    spec = folder / "sweep.yaml"
    spec.write_text(yaml.safe_dump(_spec(world), sort_keys=False), encoding="utf-8")
    if not (folder.parent / "model").exists():
        make_model(folder.parent / "model")
    return spec


def _spec(world: World) -> dict[str, Any]:
    general = {"validation": "general_validation.jsonl", "test": "general_test.jsonl"}
    return {
        "name": "planted",
        "models": [{"path": "../model"}],
        "data": {
            "task": {s: f"{s}.jsonl" for s in ("train", "validation", "test")} | {"role": "task"}
        },
        "suites": {
            "gain": {
                "from": "task",
                "scorer": "exact_match" if world.family == "topics" else "rouge_l",
            },
            "forgetting_general": general | {"scorer": "rouge_l"},
        },
        "space": {"learning_rate": {"log": [1e-4, 1e-3]}},
        "training": {"epochs": 1, "max_length": 4096},
        "question": {"delta": 0.05},
        "data_spec": {
            "languages": ["en"],
            "groups": dict(_GROUPS) | ({"region": {"field": "group"}} if world.grouped else {}),
            "sources": {"task": {"licence": "CC0-1.0", "max_age_days": 2 * 365}},
        },
    }


def make_model(folder: Path) -> None:
    """A model folder of some kilobytes whose tokenizer knows every byte: it is never run."""
    folder.mkdir(parents=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["</s>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}', encoding="utf-8")
    width = 8
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(vocabulary),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes = {
        "model.embed_tokens.weight": (len(vocabulary), width),
        "model.layers.0.self_attn.q_proj.weight": (width, width),
        "model.norm.weight": (width,),
    }
    rng = np.random.default_rng(0)
    tensors = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    save_file(tensors, str(folder / "model.safetensors"))
