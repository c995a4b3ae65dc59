"""Points between trained models and their base, from the worker's report to the finalists."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from keepgain.core.config import TrialConfig, run_key
from keepgain.core.record import RunRecord
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.candidates import candidates_of
from keepgain.sweeps.recorder import DRIVER, TAG_MADE_FROM
from keepgain.sweeps.reuse import finished_elsewhere
from tests.sweeps.test_program import SEARCH, Sweep, comparable, edit
from tests.sweeps.tiny_models import make_world

SHARES = (0.9, 0.5)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two base models of three trials each, two rungs, two points beside each trial."""
    path = make_world(tmp_path_factory.mktemp("world"))
    edit(path, "search: {trials_per_model: 12}\n", SEARCH)
    edit(path, "confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 4, seeds: 2}")
    training = "budget_tokens: 1000, rungs: [0.5, 1], interpolate: [0.9, 0.5]"
    edit(path, "prices:", f"training: {{{training}}}\nprices:")
    return path


@pytest.fixture(scope="module")
def sweep(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(world, tmp_path_factory.mktemp("sweep")).run()


def points(sweep: Sweep) -> dict[str, RunRecord]:
    return {r.run_key: r for r in sweep.evidence().sweep.runs if r.made_from is not None}


def test_each_completed_search_trial_has_its_points_and_they_are_no_trials(sweep: Sweep) -> None:
    searched = {r.run_key: r for r in sweep.by_stage(Stage.SEARCH)}
    found = points(sweep)
    assert len(searched) == 6 and len(found) == 12
    assert {r.made_from for r in found.values()} == set(searched)
    for record in found.values():
        run = searched[str(record.made_from)]
        share = record.params["interpolation"]
        config = TrialConfig.model_validate({**run.asked.config, "interpolation": share})
        assert record.run_key == run_key(config.trial_id, run.asked.seed)
        assert (record.stage, record.status) == (Stage.SEARCH, TrialStatus.COMPLETED)
        assert record.params == {
            **next(r for r in sweep.evidence().sweep.runs if r.run_key == run.run_key).params,
            "interpolation": share,
        }
        assert (record.number, record.audit) == (None, False)
        assert record.metrics != run.reports[-1].metrics
    assert not found.keys() & sweep.state.runs.keys()
    assert all(len(study.get_trials()) == 3 for study in sweep.search.studies.values())
    tokens = 1000 * len([r for r in sweep.state.runs.values() if r.reports and r.asked.seed])
    assert sweep.program.meter.total().tokens == tokens, "training is counted once"
    assert not any(r.reports[-1].candidates for r in sweep.by_stage(Stage.CONFIRM))


def test_points_have_item_scores_of_their_own(sweep: Sweep) -> None:
    evidence = sweep.evidence()
    means = {(key, s.suite): float(s.values.mean()) for key, s in evidence.items}
    for record in points(sweep).values():
        for suite in ("gain", "forgetting"):
            expected = record.metrics[f"validation/{suite}"]
            assert means[record.run_key, suite] == pytest.approx(expected)


def test_a_point_that_is_best_is_trained_again_and_scored_there(sweep: Sweep) -> None:
    confirmed = {r.asked.trial_id: r for r in sweep.by_stage(Stage.CONFIRM)}
    shares = {t: r.asked.params.get("interpolation", 1.0) for t, r in confirmed.items()}
    assert set(shares.values()) - {1.0}, "the figures of this world make some point the best one"
    for trial_id, run in confirmed.items():
        config = TrialConfig.model_validate(run.asked.config)
        assert (config.trial_id, config.interpolation) == (trial_id, shares[trial_id])
    of = {p.trial_id: p.made_from for p in points(sweep).values()}
    of |= {r.asked.trial_id: r.run_key for r in sweep.by_stage(Stage.SEARCH)}
    assert len({of[t] for t in confirmed}) == len(confirmed), "one place a training"


def test_mlflow_is_told_of_each_point_as_a_run(sweep: Sweep) -> None:
    told = [
        json.loads(line)
        for line in (sweep.folder / "spool" / f"{DRIVER}.jsonl").read_text().splitlines()
    ]
    for key, record in points(sweep).items():
        own = [e for e in told if e["run_key"] == key]
        assert own[0]["event"] == "start" and own[-1]["event"] == "end"
        assert own[0]["tags"][TAG_MADE_FROM] == record.made_from
        assert own[0]["params"]["interpolation"] == record.params["interpolation"]
        assert own[-1]["status"] == "FINISHED"
        (finals,) = [e["values"] for e in own if "final/validation/gain" in e.get("values", {})]
        assert finals["final/validation/gain"] == record.metrics["validation/gain"]


def test_continued_after_a_report_with_points_nothing_is_lost_or_said_twice(
    world: Path, tmp_path: Path, sweep: Sweep
) -> None:
    """Killed before and after the trial's end was noted; what MLflow was told may lag or not."""
    lines = (sweep.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    reports = [i for i, line in enumerate(lines, 1) if '"interpolation":0.5,"metrics"' in line]
    assert len(reports) == 6
    for count, said in ((reports[0], False), (reports[2] + 1, True), (reports[5], True)):
        folder = tmp_path / f"after-{count}"
        shutil.copytree(sweep.folder / "runs", folder / "runs")
        (folder / "ledger.jsonl").write_text("".join(lines[:count]))
        if said:
            (folder / "spool").mkdir()
            text = (sweep.folder / "spool" / f"{DRIVER}.jsonl").read_text()
            spool = folder / "spool" / f"{DRIVER}.jsonl"
            spool.write_text(text.replace(str(sweep.folder), str(folder)))
        again = Sweep(world, folder).run()
        assert comparable(again.evidence()) == comparable(sweep.evidence()), f"after line {count}"
        starts = Counter(
            e["run_key"]
            for e in map(json.loads, (folder / "spool" / f"{DRIVER}.jsonl").open())
            if e["event"] == "start"
        )
        assert {starts[key] for key in points(sweep)} == {1}, f"after line {count}"


def test_points_come_along_with_a_reused_trial_where_all_are_there(
    world: Path, tmp_path: Path, sweep: Sweep
) -> None:
    work = tmp_path / "sweeps"
    shutil.copytree(sweep.folder, work / "earlier-000000")
    reusable = finished_elsewhere(work, "later", sweep.prepared.runtime, print)
    same = Sweep(world, work / "same", reusable=reusable).run()
    assert same.worker.worked == Counter()
    assert comparable(same.evidence())[1] == comparable(sweep.evidence())[1]
    assert {r.reused_from for r in points(same).values()} == {"earlier-000000"}

    for shares, trained in (("[0.5]", 0), ("[0.5, 0.7]", 6)):
        spec = world.with_name(f"sweep-{trained}.yaml")
        spec.write_text(world.read_text().replace("[0.9, 0.5]", shares))
        later = Sweep(spec, work / f"later-{trained}", reusable=reusable).run()
        searched = {r.run_key for r in later.by_stage(Stage.SEARCH)}
        worked = {key for key, _ in later.worker.worked}
        assert len(searched & worked) == trained
        found = [r.params["interpolation"] for r in points(later).values()]
        assert Counter(found) == {float(s): 6 for s in shares.strip("[]").split(",")}
        said = "has not scored it at 0.5, 0.7" in later.said.getvalue()
        assert said == bool(trained)


def test_a_run_that_did_not_complete_has_no_points(sweep: Sweep) -> None:
    run = sweep.by_stage(Stage.SEARCH)[0]
    assert len(candidates_of(run)) == len(SHARES)
    assert candidates_of(replace(run, status=TrialStatus.PRUNED)) == []
    assert candidates_of(replace(run, reports=())) == []
