"""What typos and their like cost a tuned tiny model, and what training on changed rows restores.

    python -m benchmarks.behaviour.robustness [--seeds 3] [--budget 400000] [--write FILE]

The tiny base `s` of the quickstart learns to route tickets, on the tickets alone (`clean`), or on
as many tokens of which half are of copies with typos and changed case (`augmented`). Both are
scored on validation tickets as they are and under six changes, of which the copies show two. All is
one spec with `perturb` and `augment`, read as `sweep run` reads it. About 12 s a run on one core.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.behaviour.made import QUICKSTART, Arms, Measured, measure, put, shown
from keepgain.analysis.behaviour.robustness import robustness_figures
from keepgain.trainers.process import prepare_libraries

SPEC = """\
name: robustness
models: [{{path: {quickstart}/bases/{base}}}]
data:
  tickets: {{path: {quickstart}/data/far_train.jsonl, role: task}}
  copies: {{augment: tickets, by: [typos, casing], copies: 2, changed_words: 0.5, role: synthetic}}
suites:
  gain: {{validation: {quickstart}/data/far_validation.jsonl,
    test: {quickstart}/data/far_test.jsonl, scorer: exact_match, limit: {items}}}
  shaken:
    perturb:
      of: gain
      by: [typos, casing, insertion, paraphrase, distractors, suffix]
      templates: {{from: 'T:{{what}} {{rank}} {{count}}=', to: ['T:{{rank}} {{what}} {{count}}=']}}
      distractors: ['M:4711=7 ', 'G:cat=sits ']
      suffixes: [' ', '?']
space: {{learning_rate: [1e-3]}}
training: {{budget_tokens: {budget}, batch_size: 64, max_length: 64, learning_rate: 1e-3}}
"""
ARMS: Arms = {
    "clean": {"mixture.tickets": 1.0, "mixture.copies": 0.0},
    "augmented": {"mixture.tickets": 0.5, "mixture.copies": 0.5},
}


def run(folder: Path, base: str, seeds: int, budget: int, items: int) -> Measured:
    """Trains both ways; `items` tickets are scored, each with its changed copies."""
    spec = SPEC.format(quickstart=QUICKSTART, base=base, budget=budget, items=items)
    return measure(folder, spec, base, "shaken", ARMS, seeds)


def table(measured: Measured) -> list[str]:
    """Markdown: drops and flips of each kind, under both ways to train."""
    by_arm = {
        arm: {f.name: f for f in robustness_figures(measured.items, tuned, measured.base)}
        for arm, tuned in measured.tuned.items()
    }
    plain = measured.items.slices["perturbation"] == "none"
    means = [s[plain].mean() for s in (measured.base, *measured.tuned.values())]
    lines = [
        f"| change | figure | base | {' | '.join(measured.tuned)} | n |",
        "|---|---|---|---|---|---|",
        f"| none | score | {' | '.join(f'{m:.3f}' for m in means)} | {int(plain.sum())} |",
    ]
    for name, figure in by_arm["clean"].items():
        what, _, kind = name.partition(" under ")
        cells = [figure.base, *(found[name].estimate for found in by_arm.values())]
        row = (kind, what, *map(shown, cells), str(figure.estimate.n_items))
        lines.append(f"| {' | '.join(row)} |")
    return lines


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", default="s", choices=("xs", "s", "m"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=400_000, help="tokens of a run")
    parser.add_argument("--items", type=int, default=400, help="tickets that are scored")
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    prepare_libraries()
    with tempfile.TemporaryDirectory() as folder:
        measured = run(Path(folder), args.base, args.seeds, args.budget, args.items)
    put(table(measured), args.write)


if __name__ == "__main__":
    main()
