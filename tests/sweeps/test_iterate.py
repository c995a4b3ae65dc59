"""Sweeps that tune what an earlier sweep has tuned: which run is meant, against what it is
measured, and what is scored beside it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import run_key
from keepgain.core.errors import UserError
from keepgain.core.publish import publish
from keepgain.core.status import Stage
from keepgain.sweeps.check import check
from keepgain.sweeps.iterate import DECISION, find_start
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.reuse import LEDGER_NAME, finished_elsewhere
from keepgain.sweeps.search.ledger import Reused
from keepgain.sweeps.spec import load_spec
from tests.sweeps.test_program import Sweep, edit
from tests.sweeps.tiny_models import make_model, make_world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sweep]:
    """A world, and a finished sweep of it by full fine-tuning; its confirmed runs have weights."""
    folder = tmp_path_factory.mktemp("world")
    spec = make_world(folder, models=1)
    edit(spec, "search: {trials_per_model: 12}", "search: {trials_per_model: 3}")
    edit(spec, "confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 2, seeds: 2}")
    edit(spec, "prices:", "training: {budget_tokens: 1000, rungs: [0.5, 1]}\nprices:")
    edit(spec, "method: [full, lora]", "method: full")
    edit(spec, "  lora.rank: {log_int: [4, 64], when: {method: lora}}\n", "")
    first = Sweep(spec, folder / "store" / "sweeps" / "first").run()
    for run in confirmed(first):
        weights = first.folder / run.last_report.model_folder
        shutil.rmtree(weights)
        tuned = make_model(folder / "tuned" / run.run_key)
        (tuned / "note.txt").write_text(run.run_key)  # one tuned model is not another
        (tuned / "config.json").write_text(
            json.dumps({**json.loads((tuned / "config.json").read_text()), "tuned": run.run_key})
        )
        publish(weights, lambda into, tuned=tuned: shutil.copytree(tuned, into, dirs_exist_ok=True))
    return spec, first


def confirmed(sweep: Sweep) -> list[Any]:
    return sweep.by_stage(Stage.CONFIRM)


def decide(first: Sweep, trial: str | None, status: str = "recommended") -> None:
    path = first.folder / DECISION
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"decision": {"status": status, "trial": trial}}))


@pytest.fixture
def second(made: tuple[Path, Sweep], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The spec of the next round, from the first confirmed trial."""
    spec, first = made
    trial = confirmed(first)[0].asked.trial_id
    text = spec.read_text().replace("[m0]", f"[{{start: first/{trial[:8]}, reference: m0}}]")
    path = spec.with_name("second.yaml")
    path.write_text(text)
    monkeypatch.setenv("KEEPGAIN_STORE", str(first.folder.parents[1]))
    return path


def prepared(spec: Path, folder: Path | None = None) -> Prepared:
    return prepare(load_spec(spec), folder)


# -- which run is meant -----------------------------------------------------------------------


def test_a_trial_is_found_by_the_beginning_of_its_id_and_its_first_seed_is_taken(
    made: tuple[Path, Sweep],
) -> None:
    _, first = made
    one, *others = confirmed(first)
    other = next(r for r in others if r.asked.trial_id == one.asked.trial_id)
    start = find_start(first.folder.parent, f"first/{one.asked.trial_id[:6]}", "w")
    assert (start.trial_id, start.model, start.method) == (one.asked.trial_id, "m0", "full")
    assert start.folder == first.folder / one.last_report.model_folder
    named = find_start(first.folder.parent, f"first/{other.run_key}", "w")
    assert named.folder == first.folder / other.last_report.model_folder


def test_best_is_what_the_sweep_decided_for(made: tuple[Path, Sweep]) -> None:
    _, first = made
    last = confirmed(first)[-1].asked.trial_id
    decide(first, last)
    assert find_start(first.folder.parent, "first/best", "w").trial_id == last


@pytest.mark.parametrize(
    ("trial", "status", "words"),
    [
        (None, "not_resolved", r"has decided for no trial \(not resolved\)"),
        ("abc", "do_not_fine_tune", r"has decided for no trial \(do not fine tune\)"),
    ],
)
def test_a_decision_without_a_trial_has_no_best(
    made: tuple[Path, Sweep], trial: str | None, status: str, words: str
) -> None:
    _, first = made
    decide(first, trial, status)
    with pytest.raises(UserError, match=words):
        find_start(first.folder.parent, "first/best", "w")


def test_an_undecided_sweep_has_no_best(made: tuple[Path, Sweep]) -> None:
    _, first = made
    (first.folder / DECISION).unlink(missing_ok=True)
    with pytest.raises(UserError, match="first has no decision yet"):
        find_start(first.folder.parent, "first/best", "w")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("first", "`start` is SWEEP/TRIAL"),
        ("/abc", "`start` is SWEEP/TRIAL"),
        ("../first/abc", "no confirmed trial|no sweep"),
        ("frist/abc", "no sweep 'frist' in this store.* It has: first"),
        ("first/zzz", "no confirmed trial of first begins with 'zzz'.* Confirmed, with weights"),
    ],
)
def test_what_is_not_there_is_refused(made: tuple[Path, Sweep], text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        find_start(made[1].folder.parent, text, "w")


def test_a_beginning_that_several_trials_share_is_refused(
    made: tuple[Path, Sweep], tmp_path: Path
) -> None:
    first = made[1]
    one, other, *_ = dict.fromkeys(r.asked.trial_id for r in confirmed(first))
    text = (first.folder / LEDGER_NAME).read_text().replace(other, f"{one[:3]}{other[3:]}")
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / LEDGER_NAME).write_text(text)
    with pytest.raises(UserError, match=f"confirmed trials of first begins with '{one[:3]}'"):
        find_start(tmp_path, f"first/{one[:3]}", "w")


def test_damaged_weights_are_refused(made: tuple[Path, Sweep], tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(made[1].folder, work / "first")
    run = confirmed(made[1])[0]
    (work / "first" / run.last_report.model_folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is not what was written"):
        find_start(work, f"first/{run.run_key}", "w")
    shutil.rmtree(work / "first" / run.last_report.model_folder)
    with pytest.raises(UserError, match=r"the weights of first/.* are gone"):
        find_start(work, f"first/{run.run_key}", "w")


# -- the next round ---------------------------------------------------------------------------


def test_trials_start_from_the_tuned_model_and_are_measured_against_the_original(
    made: tuple[Path, Sweep], second: Path, tmp_path: Path
) -> None:
    spec, first = made
    run = confirmed(first)[0]
    here = prepared(second, tmp_path / "second")
    (model,) = here.models
    assert model.ref.name == f"m0-{run.asked.trial_id[:6]}"
    assert model.folder == first.folder / run.last_report.model_folder
    config = here.trial_config(model.ref.name, {"learning_rate": 1e-4})
    assert config.model == model.ref
    base = here.base_config(model.ref.name)
    original = prepare(load_spec(spec), None)
    assert base.model.digest == original.models[0].ref.digest != model.ref.digest
    assert base.trial_id == original.base_config("m0").trial_id, "its scores can be reused"
    (previous, *_) = here.arms_of(model.ref.name)
    assert here.base_config(model.ref.name, previous).model == model.ref
    assert here.tuned_config(model.ref.name, "test").model == model.ref
    assert "reference" in here.spec_content()["models"][0]
    assert not [f for f in check(here) if f.severity == "error"]


def test_a_round_scores_both_bases_and_ranks_by_the_original(
    made: tuple[Path, Sweep], second: Path, tmp_path: Path
) -> None:
    _, first = made
    reusable = finished_elsewhere(first.folder.parent, "second", first.prepared.runtime, print)
    sweep = Sweep(second, tmp_path / "second", reusable=reusable).run()
    runs = sweep.by_stage(Stage.BASE)
    assert [r.asked.arm for r in runs][:2] == ["base", "previous_round"]
    base, previous = runs[:2]
    reused = [e.run_key for e in sweep.ledger.events() if isinstance(e, Reused)]
    assert base.run_key in reused and previous.run_key not in reused
    trial = sweep.by_stage(Stage.SEARCH)[0]
    found = sweep.program.results.objectives(trial)
    at = "validation/forgetting"
    lost = trial.last_report.metrics[at] - base.last_report.metrics[at]  # bits that rise
    assert found is not None and found.forgetting == pytest.approx(lost)
    tested = [r for r in sweep.by_stage(Stage.TEST) if r.asked.kind == "trial"]
    start = prepared(second).models[0].ref.digest
    assert tested and all(r.asked.config["model"]["digest"] == start for r in tested)
    arms = {r.asked.arm for r in sweep.by_stage(Stage.TEST)}
    assert {"base", "previous_round"} <= arms


def test_a_third_round_still_knows_the_original(
    made: tuple[Path, Sweep], second: Path, tmp_path: Path
) -> None:
    _, first = made
    work = first.folder.parent
    sweep = Sweep(second, work / "second").run()
    try:
        run = confirmed(sweep)[0]
        weights = sweep.folder / run.last_report.model_folder
        shutil.rmtree(weights)
        tuned = make_model(tmp_path / "tuned")
        publish(weights, lambda into: shutil.copytree(tuned, into, dirs_exist_ok=True))
        start = find_start(work, f"second/{run.run_key}", "w")
        assert start.reference.digest == first.prepared.models[0].ref.digest
        assert start.base.digest == sweep.prepared.models[0].ref.digest
    finally:
        shutil.rmtree(work / "second")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("reference: m0", "reference: other", r"models\.0\.reference .*first measured against m0"),
        ("reference: m0", "reference: nowhere/no/such", r"models\.0\.reference .*no model folder"),
        (", reference: m0", "", "`start` and `reference` belong together"),
        ("start: first", "start: frist", r"models\.0\.start .*no sweep 'frist'"),
    ],
)
def test_a_round_that_cannot_be_is_refused(second: Path, old: str, new: str, words: str) -> None:
    if not (second.parent / "other").exists():
        make_model(second.parent / "other", hidden=16)
    edit(second, old, new)
    with pytest.raises(UserError, match=words):
        prepared(second)


def test_run_keys_of_the_two_bases_differ(second: Path) -> None:
    here = prepared(second)
    (name,) = (m.ref.name for m in here.models)
    configs = [here.base_config(name), *(here.base_config(name, a) for a in here.arms_of(name))]
    assert len({run_key(c.trial_id, 0) for c in configs}) == len(configs)
