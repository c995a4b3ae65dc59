"""Real trainings of the tiny world's committed bases, each done once a session.

Everything goes through the requests that a sweep sends to its workers, with fixed seeds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from keepgain.cluster.ranks import Ranks
from keepgain.core.config import ScoreConfig, TrialConfig
from keepgain.core.items import ItemScores, read_items
from keepgain.core.record import RungReport
from keepgain.core.rows import read_rows
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from keepgain.trainers.jobs import Jobs
from keepgain.trainers.methods import load_adapter
from keepgain.trainers.models import BaseCache, load_model
from keepgain.trainers.reference import Prompting
from keepgain.trainers.scoring import kl_to_base
from keepgain.trainers.suites import prepare_suite

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
DATA = QUICKSTART / "data"
SEED = 11
TASKS = ("fact", "add", "rev", "max", "gram")
GENERAL = tuple(f"forgetting_{task}" for task in TASKS)

SPEC = """\
name: controls
models: [{{path: {bases}/xs}}, {{path: {bases}/s}}, {{path: {bases}/m}}]
data:
  tickets: {{path: {data}/far_train.jsonl, role: task}}
  shuffled: {{path: {shuffled}, role: task}}
  general: {{path: {data}/general_replay.jsonl, role: replay}}
  half: {{path: {data}/general_replay_half.jsonl, role: replay}}
  random: {{path: {data}/general_random.jsonl, role: replay}}
suites:
  gain: {{validation: {data}/far_validation.jsonl, test: {data}/far_test.jsonl,
    scorer: exact_match}}
  bits: {{validation: {data}/far_validation.jsonl, test: {data}/far_test.jsonl,
    scorer: bits_per_byte, measures: behaviour, limit: 100}}
  replayed: {{path: {data}/fact_replayed.jsonl, scorer: exact_match, measures: forgetting}}
  unreplayed: {{path: {data}/fact_unreplayed.jsonl, scorer: exact_match, measures: forgetting}}
{general}
space: {{learning_rate: [1e-3]}}
training: {{budget_tokens: 1000, batch_size: 64, max_length: 64, learning_rate: 1e-3}}
"""
GENERAL_SUITE = """\
  forgetting_{task}: {{validation: {data}/general_{task}_validation.jsonl,
    test: {data}/general_{task}_test.jsonl, scorer: exact_match, limit: 150}}
"""


@dataclass(frozen=True)
class Scored:
    """A report with the item scores behind it."""

    report: RungReport
    sweep: Path

    @property
    def items(self) -> dict[str, ItemScores]:
        """By suite."""
        return {s.suite: s for _, s in read_items(self.sweep / self.report.items_path)}

    @property
    def values(self) -> dict[str, list[float]]:
        """Item scores by suite, for equality."""
        return {name: s.values.tolist() for name, s in self.items.items()}

    @property
    def domain(self) -> float:
        """Exact match on tickets."""
        return self.items["gain"].mean

    @property
    def general(self) -> float:
        """Mean exact match over the five general tasks."""
        items = self.items
        return float(np.mean([items[name].mean for name in GENERAL]))

    def weights(self) -> dict[str, torch.Tensor]:
        """Of the tuned model (full) or the adapter, as written for serving."""
        assert self.report.model_folder is not None
        (path,) = (self.sweep / self.report.model_folder).glob("*.safetensors")
        return load_file(path)


@dataclass
class World:
    """The bases, the data, and what has been trained on them so far."""

    prepared: Prepared
    folder: Path
    jobs: Jobs = field(default_factory=Jobs)
    done: dict[tuple[str, str], Scored] = field(default_factory=dict)

    def config(
        self, model: str, *, tokens: int, rungs: tuple[float, ...] = (1,),
        suites: tuple[str, ...] = ("gain", *GENERAL), **params: Any,
    ) -> TrialConfig:  # fmt: skip
        """A trial of `tokens` tokens, with the parameters of a space, scored on some suites."""
        made = self.prepared.trial_config(model, params)
        changes = {
            "budget": tokens,
            "rungs": tuple(round(tokens * share) for share in rungs),
            "suites": tuple(s for s in made.suites if s.name in suites),
        }
        return TrialConfig(**(dict(made) | changes))

    def train(self, config: TrialConfig, seed: int = SEED) -> Scored:
        """Trains to the end in one go, or gives what was trained so before."""
        key = (config.trial_id, str(seed))
        if key not in self.done:
            sweep = self.folder / "once"
            request = TrainRequest(
                config=config,
                seed=seed,
                rung=len(config.rungs) - 1,
                sweep_folder=str(sweep),
                keep_checkpoint=False,
                keep_model=True,
            )
            self.done[key] = scored(self.jobs.do(request), sweep)
        return self.done[key]

    def train_elsewhere(self, worker: Ranks, config: TrialConfig, **asked: Any) -> Scored:
        """Trains in another process; nothing of it is kept for other tests."""
        request = TrainRequest(config=config, **asked)
        reply = worker.request(request.model_dump(mode="json"), timeout_seconds=200)
        return scored(WorkReply.model_validate(reply), Path(request.sweep_folder))

    def base(self, config: TrialConfig) -> Scored:
        """The untuned model on the suites of a trial."""
        score = ScoreConfig(model=config.model, suites=config.suites, runtime=config.runtime)
        key = (score.trial_id, "base")
        if key not in self.done:
            sweep = self.folder / "once"
            request = ScoreRequest(
                config=score, report_as=f"base-{score.trial_id}", sweep_folder=str(sweep)
            )
            self.done[key] = scored(self.jobs.do(request), sweep)
        return self.done[key]

    def kl_to_base(self, tuned: Scored, config: TrialConfig, suite: str) -> float:
        """KL(base || tuned) in nats a token on a suite, from the weights as they were written."""
        folder = tuned.sweep / str(tuned.report.model_folder)
        bases = BaseCache()
        base = bases.load(config.model, torch.float32, torch.device("cpu"))
        if config.method == "lora":
            own = bases.load(config.model, torch.float32, torch.device("cpu")).model
            model = load_adapter(own, str(folder))
        else:
            model = load_model(folder, torch.float32)
        (ref,) = (s for s in config.suites if s.name == suite)
        items = prepare_suite(base.codec, ref, list(read_rows(Path(ref.path))), Prompting(), None)
        return kl_to_base(base.model, model, base.codec, items)


def scored(reply: WorkReply, sweep: Path) -> Scored:
    """The report of a reply; fails with the cause if it has none."""
    assert reply.report is not None, f"{reply.cause}: {reply.detail}"
    return Scored(reply.report, sweep)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def with_shuffled_answers(rows: list[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The same prompts and the same answers, each prompt with some row's answer."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return [{**row, "answer": rows[i]["answer"]} for row, i in zip(rows, order, strict=True)]


def make_world(folder: Path) -> World:
    """Reads bases and data, and writes the shuffled copy of the tickets, to `folder`."""
    shuffled = folder / "shuffled.jsonl"
    rows = with_shuffled_answers(rows_of(DATA / "far_train.jsonl"), SEED)
    shuffled.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    general = "".join(GENERAL_SUITE.format(task=task, data=DATA) for task in TASKS)
    text = SPEC.format(
        bases=QUICKSTART / "bases", data=DATA, shuffled=shuffled, general=general.rstrip()
    )
    spec = folder / "sweep.yaml"
    spec.write_text(text, encoding="utf-8")
    return World(prepare(load_spec(spec), folder / "sweep"), folder)
