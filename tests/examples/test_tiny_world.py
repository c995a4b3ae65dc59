"""The committed quickstart data and bases are what the tiny-world scripts make."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

ROOT = Path(__file__).parents[2]
MAKE = ROOT / "examples" / "tiny_world" / "make.py"
DATA = ROOT / "examples" / "quickstart" / "data"
BASES = ROOT / "examples" / "quickstart" / "bases"
MADE: dict[str, Any] = json.loads((BASES / "MADE.json").read_text(encoding="utf-8"))
TASKS = ("fact", "add", "rev", "max", "gram")
TOKENIZER = AutoTokenizer.from_pretrained(BASES / "xs")
CHARACTERS = "".join(token for token in TOKENIZER.get_vocab() if len(token) == 1)


def run_make(*arguments: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, str(MAKE), *arguments], check=True, env=environment)


def rows(name: str) -> list[dict[str, Any]]:
    lines = (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def prompts(*names: str) -> set[str]:
    return {row["prompt"] for name in names for row in rows(name)}


def test_data_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    run_make("data", "--out", str(tmp_path))
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in DATA.glob("*.jsonl")}
    assert made == kept
    assert sum(map(len, kept.values())) <= 2_700_000


def test_rows_have_the_promised_form() -> None:
    for path in DATA.glob("*.jsonl"):
        found = rows(path.stem)
        assert len({row["id"] for row in found}) == len(found)
        for row in found:
            assert {"id", "prompt", "answer", "task", "group"} <= row.keys()
            assert row["prompt"].endswith("=") and "=" not in row["answer"]
            assert 0 < len(row["answer"]) and len(row["prompt"] + row["answer"]) <= 28
            assert set(row["prompt"] + row["answer"]) <= set(CHARACTERS)


def test_splits_are_disjoint() -> None:
    held_out = {
        *(f"{domain}_{split}" for domain in ("far", "near") for split in ("validation", "test")),
        *(f"general_{task}_{split}" for task in TASKS for split in ("validation", "test")),
        "fact_replayed",
        "fact_unreplayed",
        "safety",
        "canary_controls",
    }
    training = {path.stem for path in DATA.glob("*.jsonl")} - held_out
    seen: set[str] = set()
    for name in sorted(held_out):
        asked = [row["prompt"] for row in rows(name)]
        assert len(asked) == len(set(asked)), name
        assert not seen & set(asked), name
        seen |= set(asked)
    assert not seen & prompts(*training)
    assert not prompts("far_synthetic") & prompts("far_train")


def test_groups_are_large_enough_to_be_scored() -> None:
    for name in ("far_validation", "far_test", "near_validation", "near_test"):
        counts: dict[str, int] = {}
        for row in rows(name):
            counts[row["group"]] = counts.get(row["group"], 0) + 1
        assert min(counts.values()) >= 30, (name, counts)


def test_controls_are_what_they_say() -> None:
    synthetic = rows("far_synthetic")
    assert sum(row["wrong"] for row in synthetic) == len(synthetic) // 5
    planted: dict[str, list[int]] = {}
    for row in rows("canaries"):
        planted.setdefault(row["prompt"], []).append(row["repeats"])
    assert len(planted) == 10
    assert all(len(found) == found[0] for found in planted.values())
    assert len(prompts("canary_controls")) >= 40
    kinds = [(row["kind"], row["answer"]) for row in rows("safety")]
    assert kinds.count(("unsafe", "no")) == 30
    assert kinds.count(("safe", "ok")) == 30

    def taught(name: str) -> set[str]:
        return {row["prompt"].replace(":", " ") for row in rows(name) if row["task"] == "fact"}

    # The suites ask in another wording, so the exact prompts never meet; the facts do.
    assert taught("fact_replayed") <= taught("general_replay_half")
    assert not taught("fact_unreplayed") & taught("general_replay_half")
    assert taught("general_fact_test") <= taught("general_replay")


@pytest.mark.parametrize("name", ["xs", "s", "m"])
def test_bases_load_and_match_their_record(name: str) -> None:
    weights = (BASES / name / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == MADE[name]["sha256"]["model.safetensors"]
    model = AutoModelForCausalLM.from_pretrained(BASES / name)
    tokenizer = AutoTokenizer.from_pretrained(BASES / name)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    assert tokenizer.chat_template is None
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<pad>", "<eos>")
    assert tokenizer.unk_token == "<unk>"
    assert model.num_parameters() == MADE[name]["parameters"]
    assert model.config.tie_word_embeddings
    assert model.config.eos_token_id == tokenizer.eos_token_id


def test_greedy_decoding_finds_the_recorded_accuracy() -> None:
    """The record counts right argmaxes in one pass; real generation must agree with it."""
    model = AutoModelForCausalLM.from_pretrained(BASES / "xs")
    found = rows("general_add_test")
    batch = TOKENIZER([row["prompt"] for row in found], return_tensors="pt")
    out = model.generate(**batch, do_sample=False, max_new_tokens=6)
    right = 0
    for row, ids in zip(found, out[:, batch["input_ids"].shape[1] :], strict=True):
        right += TOKENIZER.decode(ids).split("<eos>")[0] == row["answer"]
    assert abs(right / len(found) - MADE["xs"]["accuracy"]["test"]["add"]) <= 0.005


@given(st.text(alphabet=CHARACTERS, max_size=40), st.text(alphabet=CHARACTERS, max_size=20))
def test_tokenizer_round_trips(prompt: str, answer: str) -> None:
    ids = TOKENIZER(prompt + answer)["input_ids"]
    assert TOKENIZER.decode(ids) == prompt + answer
    assert len(ids) == len(prompt) + len(answer)
    assert ids == TOKENIZER(prompt)["input_ids"] + TOKENIZER(answer)["input_ids"]


@given(st.text(max_size=20))
def test_unknown_characters_become_unk(text: str) -> None:
    known = TOKENIZER.get_vocab()
    wanted = [known.get(character, TOKENIZER.unk_token_id) for character in text]
    assert TOKENIZER(text)["input_ids"] == wanted


def test_smallest_base_is_made_again(tmp_path: Path) -> None:
    """On one machine the weights are bit-equal. Another CPU rounds differently, and a training
    from scratch drifts away: .383 and .393 on an EPYC of family 25, model 1, against .448 and .465
    where the bases were made, by the same commit. Untrained, it gets nothing right."""
    run_make("bases", "--only", "xs", "--out", str(tmp_path))
    made = json.loads((tmp_path / "MADE.json").read_text(encoding="utf-8"))["xs"]
    for split in ("validation", "test"):
        wanted = MADE["xs"]["accuracy"][split]["mean"]
        assert made["accuracy"][split]["mean"] == pytest.approx(wanted, abs=0.1)
    assert made["parameters"] == MADE["xs"]["parameters"]
