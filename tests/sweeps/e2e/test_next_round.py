"""A second round on a finished sweep: tunes what it tuned, and learns from its trials."""

import json
from pathlib import Path

import pytest

from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.openings import FILE_NAME
from keepgain.sweeps.search.ledger import Reused, SearchStarted, read_events
from keepgain.sweeps.search.replay import replay
from tests.sweeps.e2e.world import QUICKSTART, Done, Swept, json_of, run, searched, spec_text


@pytest.fixture(scope="module")
def next_round(finished: Swept, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """From a confirmed trial of `xs`, with `s` beside it as it was; two trials each."""
    trial = next(
        r.asked.trial_id
        for r in finished.state().runs.values()
        if r.asked.stage is Stage.CONFIRM and r.asked.model == "xs"
    )
    xs = QUICKSTART / "bases" / "xs"
    text = spec_text(name="next", models=("s",), arms="[]", trials=2)
    start = f"{{start: {finished.id}/{trial[:8]}, reference: {xs}}}"
    text = text.replace("models: [", f"models: [{start}, ", 1)
    text = text.replace("search: {", f"search: {{warm_start: {finished.id}, ", 1)
    spec = tmp_path_factory.mktemp("next") / "next.yaml"
    spec.write_text(text)
    done = finished.sweep("run", spec).expect()
    (folder,) = (finished.store / "sweeps").glob("next-*")
    return done, folder


def opened_before(work: Path, sweep_id: str) -> int:
    """Openings before the sweep's own; other tests may have opened these items in this store."""
    lines = [json.loads(line) for line in (work / FILE_NAME).read_text().splitlines()]
    own = next(i for i, line in enumerate(lines) if line["sweep"] == sweep_id)
    return max(sum(d in line["suites"] for line in lines[:own]) for d in lines[own]["suites"])


def test_the_second_round_ends_and_is_measured_against_the_original_base(
    finished: Swept, next_round: tuple[Done, Path]
) -> None:
    _, folder = next_round
    events = read_events(folder / "ledger.jsonl")
    runs = replay(events).runs.values()
    assert all(r.status is TrialStatus.COMPLETED for r in runs)
    scored = {(r.asked.model[:2], r.asked.arm): r for r in runs if r.asked.stage is Stage.BASE}
    base, previous = scored["xs", "base"], scored["xs", "previous_round"]
    first = next(
        r for r in finished.state().runs.values() if r.asked.arm == "base" and r.asked.model == "xs"
    )
    assert base.run_key == first.run_key
    assert base.run_key in {e.run_key for e in events if isinstance(e, Reused)}
    gain = "validation/gain"
    assert previous.last_report.metrics[gain] > base.last_report.metrics[gain]
    for trial in (r for r in runs if r.asked.kind == "trial" and r.asked.model.startswith("xs-")):
        config = trial.asked.config
        assert config["model"]["digest"] == previous.asked.config["model"]["digest"]


def test_the_report_shows_forgetting_since_the_previous_round(
    finished: Swept, next_round: tuple[Done, Path]
) -> None:
    folder = next_round[1]
    words = ("analyze", folder.name, "--store", finished.store)
    found = json_of(run(*words, "--format", "json", cwd=finished.cwd))
    by_model = {t["model"][:2]: t["objectives"] for t in found["trials"] if t["kind"] == "trial"}
    assert "forgetting_since_previous_round" in by_model["xs"]
    assert "forgetting_since_previous_round" not in by_model["s"]
    text = run(*words, cwd=finished.cwd).expect().out
    assert "since previous" in text and "against the original base" in text


def test_the_sampler_starts_from_the_trials_of_the_same_base(
    finished: Swept, next_round: tuple[Done, Path]
) -> None:
    done, folder = next_round
    (started,) = (e for e in read_events(folder / "ledger.jsonl") if isinstance(e, SearchStarted))
    ids = {r.asked.trial_id for r in searched(finished.state()) if r.asked.model == "s"}
    assert {t.source for t in started.learned["s"]} == {f"{finished.id}/{i}" for i in ids}
    assert f"warm start from {finished.id}" in done.out + done.err
    times = opened_before(finished.store / "sweeps", folder.name)
    assert times >= 1
    said = f"test items of this sweep were opened {times} time{'s' if times > 1 else ''} before"
    assert said in done.out + done.err
