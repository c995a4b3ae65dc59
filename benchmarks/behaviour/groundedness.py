"""Whether a tiny model abstains where the passage has no answer, by what it was tuned on.

    python -m benchmarks.behaviour.groundedness [--seeds 3] [--budget 400000] [--write FILE]

A passage lists three animals with a number (`cow 4 dog 7 hen 2`), and the question names one of
them, or one that is not there: then `none` is right. The tiny base `s` of the quickstart is tuned
on questions that have an answer alone (`answerable`), or on as many tokens of which half have none
(`both`). About 15 s a run on one core.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.behaviour.made import QUICKSTART, Arms, Measured, measure, put, shown
from keepgain.analysis.behaviour.paired import Named, figure
from keepgain.trainers.process import prepare_libraries

SPEC = """\
name: groundedness
models: [{{path: {quickstart}/bases/s}}]
data:
  answerable: {{path: answerable.jsonl, role: task}}
  unanswerable: {{path: unanswerable.jsonl, role: task}}
suites:
  gain: {{validation: validation.jsonl, test: test.jsonl, scorer: exact_match}}
  grounded:
    validation: validation.jsonl
    test: test.jsonl
    scorer: grounded
    measures: behaviour
    abstains: ['^none$']
    equals_reference: true
space: {{learning_rate: [1e-3]}}
training: {{budget_tokens: {budget}, batch_size: 64, max_length: 64, learning_rate: 1e-3}}
"""
ARMS: Arms = {
    "answerable": {"mixture.answerable": 1.0, "mixture.unanswerable": 0.0},
    "both": {"mixture.answerable": 0.5, "mixture.unanswerable": 0.5},
}
KINDS = ("answerable", "unanswerable")
ANIMALS = "dog cat hen cow pig owl bat ram ant bee elk jay".split()
TRAINED, SCORED = 4000, 200
"""Rows of each kind."""


def rows(kind: str, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Questions about passages that follow from the seed."""
    rng = random.Random(seed)
    for _ in range(count):
        there = rng.sample(ANIMALS, 3)
        numbers = [str(rng.randrange(10)) for _ in there]
        passage = " ".join(f"{a} {n}" for a, n in zip(there, numbers, strict=True))
        at = rng.randrange(3)
        asked = there[at]
        if kind == "unanswerable":
            asked = rng.choice([a for a in ANIMALS if a not in there])
        yield {
            "prompt": f"P:{passage}|{asked}=",
            "answer": numbers[at] if kind == "answerable" else "none",
            "passage": passage,
            "kind": kind,
        }


def write(folder: Path) -> None:
    """The files of the spec: rows to train on of each kind, and items of both kinds that no
    training row asks."""
    trained = {kind: list(rows(kind, at, TRAINED)) for at, kind in enumerate(KINDS)}
    seen = {row["prompt"] for found in trained.values() for row in found}
    for kind, found in trained.items():
        _lines(folder / f"{kind}.jsonl", found)
    for seed, split in enumerate(("validation", "test"), len(KINDS)):
        items = []
        for kind in KINDS:
            fresh = {r["prompt"]: r for r in rows(kind, seed, 2 * SCORED)}
            items += [r for prompt, r in fresh.items() if prompt not in seen][:SCORED]
        seen |= {row["prompt"] for row in items}
        _lines(folder / f"{split}.jsonl", items)


def _lines(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


def table(measured: Measured) -> list[str]:
    """Markdown: the score of each kind under both ways to train."""
    lines = ["| tuned on | kind | base | tuned | change | n |", "|---|---|---|---|---|---|"]
    for arm, tuned in measured.tuned.items():
        for kind in KINDS:
            of = np.flatnonzero(measured.items.slices["kind"] == kind).tolist()
            asked = Named(kind, "mean support", "maximize")
            found = figure(asked, measured.items, of, tuned[of], measured.base[of])
            cells = (shown(found.base), shown(found.estimate), shown(found.change))
            lines.append(f"| {' | '.join((arm, kind, *cells, str(len(of))))} |")
    return lines


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=400_000, help="tokens of a run")
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    prepare_libraries()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        spec = SPEC.format(quickstart=QUICKSTART, budget=args.budget)
        measured = measure(folder, spec, "s", "grounded", ARMS, args.seeds)
    put(table(measured), args.write)


if __name__ == "__main__":
    main()
