"""Plants canaries in the tiny world, tunes its smallest base, and shows their exposure.

    python -m benchmarks.behaviour.exposure
    python -m benchmarks.behaviour.exposure --canaries 80 --repeats 1,8 --seeds 2 --epochs 1
    python -m benchmarks.behaviour.exposure --write           # into docs/behaviour/exposure.md

The way is that of a sweep: `draw_canaries` is what `sweep clean --plant-canaries` writes, the spec
is read and checked, runs are trained by the requests that a sweep sends to its workers, and the
figures are those of `analysis.behaviour`.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keepgain.analysis.behaviour.exposure import exposure_figures
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.config import ScoreConfig
from keepgain.core.errors import UserError
from keepgain.core.items import ItemScores, read_items
from keepgain.core.record import SuiteInfo
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.sweeps.canaries import draw_canaries
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec
from keepgain.trainers.jobs import Jobs

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "quickstart"
DOCUMENT = ROOT / "docs" / "behaviour" / "exposure.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SUITE = "exposure"
SPEC = """\
name: exposure
models: [{{path: {world}/bases/xs}}]
data:
  tickets: {{path: {world}/data/far_train.jsonl, role: task}}
  canaries: {{path: canaries.jsonl, role: task}}
suites:
  gain: {{path: {world}/data/far_test.jsonl, scorer: exact_match, limit: 200}}
  exposure:
    {{validation: validation.jsonl, test: test.jsonl, scorer: canary_bits, measures: behaviour}}
space: {{learning_rate: [{rate}]}}
training: {{epochs: {epochs}, batch_size: 64, max_length: 64, learning_rate: {rate}}}
"""


@dataclass(frozen=True)
class Plan:
    """What is planted, and how long it is trained on."""

    canaries: int = 160
    """Half of them are in the split that is looked at, as of the controls."""
    repeats: tuple[int, ...] = (1, 4, 16, 64)
    controls: int = 400
    epochs: float = 3.0
    learning_rate: float = 1e-3
    seeds: int = 3


def measure(plan: Plan, folder: Path) -> list[Figure]:
    """Plants, trains, scores; the figures of the validation split, the base beside them.

    Raises:
        UserError: Something of the plan that cannot be used.
    """
    drawn = draw_canaries(plan.canaries, plan.repeats, plan.controls, seed=0)
    for name, rows in (
        ("canaries", drawn.planted),
        ("validation", drawn.validation),
        ("test", drawn.test),
    ):
        _write_rows(folder / f"{name}.jsonl", rows)
    spec = folder / "sweep.yaml"
    text = SPEC.format(world=QUICKSTART, rate=plan.learning_rate, epochs=plan.epochs)
    spec.write_text(text, encoding="utf-8")
    prepared = prepare(load_spec(spec), folder / "sweep")
    config = prepared.trial_config("xs", {})
    jobs, sweep = Jobs(), str(folder / "sweep")
    base = ScoreConfig(model=config.model, suites=config.suites, runtime=config.runtime)
    asked = ScoreRequest(config=base, report_as=f"base-{base.trial_id}", sweep_folder=sweep)
    untuned = _exposed(jobs.do(asked), folder / "sweep")
    tuned = [
        _exposed(
            jobs.do(
                TrainRequest(
                    config=config, seed=seed, rung=0, sweep_folder=sweep, keep_checkpoint=False
                )
            ),
            folder / "sweep",
        )
        for seed in range(plan.seeds)
    ]
    # Items are in the order of their file for every run.
    scores = np.stack([t.values for t in tuned], axis=1)
    return exposure_figures(_suite(untuned), scores, untuned.values[:, None])


def _exposed(reply: WorkReply, sweep: Path) -> ItemScores:
    if reply.report is None:
        raise UserError(f"the run failed: {reply.cause}: {reply.detail}.")
    return next(s for _, s in read_items(sweep / reply.report.items_path) if s.suite == SUITE)


def _suite(scores: ItemScores) -> SuiteItems:
    return SuiteItems(
        SuiteInfo(name=SUITE, measures="behaviour", scorer=scores.metric),
        "validation",
        scores.item_ids,
        scores.weights,
        None,
        {name: np.array([v or "" for v in values]) for name, values in scores.slices.items()},
    )


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def table(figures: Sequence[Figure]) -> str:
    """As Markdown, with what has to be known beside each figure."""
    lines = ["| figure (bits) | tuned | base | change | beside it |", "|---|---|---|---|---|"]
    for f in figures:
        cells = [f.name, *(_shown(e) for e in (f.estimate, f.base, f.change)), f.note]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shown(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def report(plan: Plan, figures: Sequence[Figure], seconds: float) -> str:
    """The table and what it is of."""
    levels, half = len(plan.repeats), plan.controls // 2
    return (
        f"`python -m benchmarks.behaviour.exposure`: {plan.canaries // 2} canaries of 8 digits "
        f"({plan.canaries // 2 // levels} of each number of repeats) and {half} controls of the "
        f"validation half, beside 2,000 tickets; base `xs` of the quickstart, full fine-tuning, "
        f"{plan.epochs:g} epochs at {plan.learning_rate:g}, {plan.seeds} seeds; "
        f"{seconds:.0f} s.\n\n{table(figures)}"
    )


def write_report(text: str, document: Path) -> None:
    """Puts it between the marks of a document.

    Raises:
        UserError: The document has not both marks.
    """
    whole = document.read_text(encoding="utf-8")
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"it lacks the marks {BEGIN} and {END}.", where=str(document))
    document.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def main() -> int:
    """See the module."""
    usual = Plan()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--canaries", type=int, default=usual.canaries)
    parser.add_argument("--controls", type=int, default=usual.controls)
    parser.add_argument("--repeats", default=",".join(map(str, usual.repeats)))
    parser.add_argument("--epochs", type=float, default=usual.epochs)
    parser.add_argument("--seeds", type=int, default=usual.seeds)
    parser.add_argument("--write", action="store_true", help=f"put it into {DOCUMENT.name}")
    args = parser.parse_args()
    repeats = tuple(int(n) for n in args.repeats.split(","))
    plan = Plan(args.canaries, repeats, args.controls, args.epochs, seeds=args.seeds)
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            text = report(plan, measure(plan, Path(folder)), time.monotonic() - began)
        print(text)
        if args.write:
            write_report(text, DOCUMENT)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
