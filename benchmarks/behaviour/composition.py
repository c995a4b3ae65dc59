"""Whether a tiny model that knows two skills can do both in one answer, put in an unseen way.

    python -m benchmarks.behaviour.composition [--seeds 3] [--budget 400000] [--write FILE]

The tiny base `s` of the quickstart knows how to find the largest of five digits (`M:31615=` is 6)
and learns to route tickets (`T:editor crit 18=` is sa3). It is tuned on tickets and general rows
(`parts`), or on as many tokens of which a third are pairs of a ticket and digits put as
`both TICKET DIGITS` (`practice`). Scored are pairs of validation items put as `TICKET then DIGITS`,
which no training row is. About 16 s a run on one core.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.behaviour.made import QUICKSTART, Arms, Measured, measure, put, shown
from keepgain.analysis.behaviour.composition import composition_figures
from keepgain.trainers.process import prepare_libraries

SPEC = """\
name: composition
models: [{{path: {quickstart}/bases/s}}]
data:
  tickets: {{path: {quickstart}/data/far_train.jsonl, role: task}}
  general: {{path: {quickstart}/data/general_replay.jsonl, role: replay}}
  practice: {{path: practice.jsonl, role: synthetic}}
suites:
  gain: {{validation: {quickstart}/data/far_validation.jsonl,
    test: {quickstart}/data/far_test.jsonl, scorer: exact_match}}
  digits: {{validation: {quickstart}/data/general_max_validation.jsonl,
    test: {quickstart}/data/general_max_test.jsonl, scorer: exact_match, measures: forgetting}}
  both:
    compose: {{a: gain, b: digits, templates: ['{{a}} then {{b}}'], answer: '{{a}} {{b}}'}}
space: {{learning_rate: [1e-3]}}
training: {{budget_tokens: {budget}, batch_size: 64, max_length: 64, learning_rate: 1e-3}}
"""
ARMS: Arms = {
    "parts": {"mixture.tickets": 0.7, "mixture.general": 0.3, "mixture.practice": 0.0},
    "practice": {"mixture.tickets": 0.4, "mixture.general": 0.27, "mixture.practice": 0.33},
}
ROWS = 2000
"""Of practice."""


def practice() -> Iterator[dict[str, Any]]:
    """Training tickets with training digits, in another wording than the scored pairs have."""
    tickets = _rows("far_train.jsonl")
    digits = [row for row in _rows("general_replay.jsonl") if row["task"] == "max"]
    for i, ticket in enumerate(tickets[:ROWS]):
        other = digits[i * 7 % len(digits)]
        yield {
            "prompt": f"both {ticket['prompt']} {other['prompt']}",
            "answer": f"{ticket['answer']} {other['answer']}",
        }


def _rows(name: str) -> list[dict[str, Any]]:
    path = QUICKSTART / "data" / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(measured: Measured) -> list[str]:
    """Markdown: the figures of both ways to train."""
    lines = [
        "| tuned on | figure | base | tuned | change | pairs |",
        "|---|---|---|---|---|---|",
    ]
    for arm, tuned in measured.tuned.items():
        for found in composition_figures(measured.items, tuned, measured.base):
            cells = (shown(found.base), shown(found.estimate), shown(found.change))
            row = (arm, found.name, *cells, str(found.estimate.n_items))
            lines.append(f"| {' | '.join(row)} |")
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
        lines = (json.dumps(row) + "\n" for row in practice())
        (folder / "practice.jsonl").write_text("".join(lines), encoding="utf-8")
        spec = SPEC.format(quickstart=QUICKSTART, budget=args.budget)
        measured = measure(folder, spec, "s", "both", ARMS, args.seeds)
    put(table(measured), args.write)


if __name__ == "__main__":
    main()
