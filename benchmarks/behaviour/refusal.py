"""Over- and under-refusal of a tiny model after tuning on refusals, beside a clean mixture.

    python benchmarks/behaviour/refusal.py [--seeds 3] [--budget 100000] [--write FILE]

The tiny base `xs` of the quickstart answers `ok` to harmless requests and `no` to harm of a being.
Both mixtures are half tickets and half harmless requests (a harmless verb and a thing); in one of
them every such request is refused. Scored are the safe prompts that look like harm (a harmful verb
and a thing, a harmless verb and a being) and the unsafe ones; none of them is trained on. Changes
are paired by prompt, prompts of one verb are a cluster, and seed variance is pooled over both arms.
About 5 s a run on one core.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from keepgain.analysis import stats
from keepgain.analysis.stats import Block, Estimate
from keepgain.core.config import (
    ModelRef,
    ScoreConfig,
    ScorerOptions,
    SourceRef,
    SuiteRef,
    TrialConfig,
)
from keepgain.core.identity import file_digest, folder_digest
from keepgain.core.items import ItemScores, read_items
from keepgain.core.refusals import Refusals
from keepgain.core.row_files import read_row_file
from keepgain.core.rows import Row, facts_of, write_rows
from keepgain.core.users_code import load_function
from keepgain.core.work import ScoreRequest, TrainRequest
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.process import prepare_libraries

EXAMPLES = Path(__file__).parents[2] / "examples"
BASE = EXAMPLES / "quickstart" / "bases" / "xs"
TICKETS = EXAMPLES / "quickstart" / "data" / "far_train.jsonl"
NO = ScorerOptions(refusal=Refusals(patterns=("^no$",), defaults=False))
ARMS = ("clean", "refusals")
SUITES = ("over_refusal", "under_refusal")
Scored = dict[str, ItemScores]


def prompts(kind: str) -> list[Row]:
    """Requests of the tiny world: `safe`, `unsafe` or `plain`."""
    safety = load_function("world:safety", str(EXAMPLES / "tiny_world"))
    found = []
    for row in safety()[kind]:
        verb = row.prompt[2:-1].split(" ")[0]
        facts = facts_of({"pair": verb})
        item = Row(row.prompt, "pair", prompt=row.prompt, answer=row.answer)
        found.append(replace(item, cluster=verb, facts=facts))
    return found


def source(folder: Path, name: str, rows: Sequence[Row]) -> SourceRef:
    """Rows to train on, as a file."""
    path = folder / f"{name}.jsonl"
    write_rows(path, rows)
    return SourceRef(
        name=name, role="task", path=str(path), digest=file_digest(path), rows=len(rows)
    )


def suite(folder: Path, scorer: str, rows: Sequence[Row]) -> SuiteRef:
    """Rows to score, as a file."""
    path = folder / f"suite-{scorer}.jsonl"
    write_rows(path, rows)
    return SuiteRef(
        name=scorer,
        measures="behaviour",
        split="validation",
        scorer=scorer,
        path=str(path),
        digest=file_digest(path),
        items=len(rows),
        options=NO,
    )


def scores_of(jobs: Jobs, request: TrainRequest | ScoreRequest) -> tuple[Scored, dict[str, float]]:
    """Item scores by suite, and the metrics, of one job."""
    reply = jobs.do(request)
    if reply.report is None:
        raise SystemExit(f"{request.run_key}: {reply.cause}: {reply.detail}")
    items = read_items(Path(request.sweep_folder) / reply.report.items_path)
    return {scores.suite: scores for _, scores in items}, dict(reply.report.metrics)


def run(folder: Path, seeds: int, budget: int) -> list[str]:
    """Trains both arms with each seed, and returns the lines of the table."""
    jobs = Jobs()
    digest = folder_digest(BASE, ("*.json", "*.safetensors"))
    model = ModelRef(name="xs", path=str(BASE), digest=digest)
    suites = (
        suite(folder, "over_refusal", prompts("safe")),
        suite(folder, "under_refusal", prompts("unsafe")),
    )
    tickets = source(folder, "tickets", read_row_file(TICKETS, limit=2000).rows)
    plain = prompts("plain")
    asked = ScoreConfig(model=model, suites=suites)
    base, _ = scores_of(jobs, ScoreRequest(config=asked, report_as="b", sweep_folder=str(folder)))
    tuned: dict[str, list[Scored]] = {}
    shown: dict[str, list[dict[str, float]]] = {}
    for arm in ARMS:
        rows = plain if arm == "clean" else [replace(row, answer="no") for row in plain]
        config = TrialConfig(
            model=model,
            learning_rate=1e-3,
            batch_size=64,
            max_length=64,
            budget=budget,
            rungs=(budget,),
            mixture={"tickets": 0.5, arm: 0.5},
            sources=(tickets, source(folder, arm, rows)),
            suites=suites,
        )
        for seed in range(seeds):
            job = TrainRequest(config=config, seed=seed, rung=0, sweep_folder=str(folder))
            found, metrics = scores_of(jobs, job)
            tuned.setdefault(arm, []).append(found)
            shown.setdefault(arm, []).append(metrics)
    return table(base, tuned, shown)


def table(
    base: Scored, tuned: dict[str, list[Scored]], shown: dict[str, list[dict[str, float]]]
) -> list[str]:
    """Markdown: each arm's score and change in points; empty and broken-off answers, as means over
    seeds, beside."""
    lines = [
        "| suite | mixture | base | tuned | change, points | n | empty | truncated | early |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in SUITES:
        blocks = {
            arm: change(base[name], [run[name] for run in runs]) for arm, runs in tuned.items()
        }
        pooled = stats.pool_seeds([[block] for block in blocks.values()])
        for arm, block in blocks.items():
            seeds = block.values.shape[1]
            found = stats.combine([block.averaged()], [(pooled, 1 / seeds)], seeds).estimate()
            after = base[name].mean + float(block.means().mean())
            parts = ("empty", "truncated", "stopped_early")
            keys = [f"generation/validation/{name}/{part}_share" for part in parts]
            beside = [f"{np.mean([metrics[key] for metrics in shown[arm]]):.0%}" for key in keys]
            figures = (f"{base[name].mean:.1%}", f"{after:.1%}", points(found), str(found.n_items))
            lines.append(f"| {' | '.join((name, arm, *figures, *beside))} |")
    return lines


def change(base: ItemScores, runs: Sequence[ItemScores]) -> Block:
    """Tuned minus base by item, shape [n, seeds], in clusters of one verb."""
    assert all(run.item_ids.tolist() == base.item_ids.tolist() for run in runs), "not paired"
    values = np.stack([run.values - base.values for run in runs], axis=1)
    clusters = np.unique([str(c) for c in base.clusters], return_inverse=True)[1]
    return Block(values, base.weights, clusters.astype(np.int64))


def points(found: Estimate) -> str:
    """A change of shares with its 95 % interval, in points of a hundred."""
    if found.value is None or found.low is None or found.high is None:
        return "unknown" if found.value is None else f"{100 * found.value:+.1f} (no interval)"
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=100_000, help="tokens of a run")
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    prepare_libraries()
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(run(Path(folder), args.seeds, args.budget)) + "\n"
    print(text, end="")
    if args.write is not None:
        args.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
