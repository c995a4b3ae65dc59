"""What a finished sweep has left: ledger, Optuna's journal, MLflow, and answers to readers."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from keepgain.core.items import read_items
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.names import (
    METRIC_COMPLETED,
    METRIC_FAILED,
    TAG_ROLE,
    TAG_RUN_KEY,
    TAG_SWEEP,
)
from keepgain.sweeps.search.ledger import StageFinished
from keepgain.sweeps.served import SCORES_OF
from tests.sweeps.e2e.world import (
    QUICKSTART,
    Done,
    Swept,
    item_scores,
    json_of,
    mlflow_runs,
    run,
    searched,
    write_spec,
)


@pytest.fixture(scope="module")
def runs(finished: Swept) -> list[Any]:
    """The sweep's MLflow runs."""
    return [r for r in mlflow_runs(finished.store) if r.data.tags.get(TAG_SWEEP) == finished.id]


@pytest.fixture(scope="module")
def children(runs: list[Any]) -> dict[str, Any]:
    """Run key → MLflow run, without the parent."""
    return {r.data.tags[TAG_RUN_KEY]: r for r in runs if r.data.tags[TAG_ROLE] != "sweep"}


@pytest.fixture(scope="module")
def parent(runs: list[Any]) -> Any:
    """The sweep's own MLflow run."""
    (found,) = [r for r in runs if r.data.tags[TAG_ROLE] == "sweep"]
    return found


def executions(child: Any) -> list[dict[str, Any]]:
    """Where and when the rungs of a run were carried out."""
    tags = child.data.tags.items()
    return [json.loads(v) for k, v in tags if k.startswith("keepgain.execution.")]


def artifacts(one: Any) -> set[str]:
    """Paths of a run's artifacts."""
    root = Path(one.info.artifact_uri.removeprefix("file://"))
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def test_the_run_says_what_it_uses_and_what_comes_next(first_run: tuple[Swept, Done]) -> None:
    swept, done = first_run
    for words in (
        f"sweep {swept.id}",
        f"store: --store {swept.store}",
        f"files and logs: {swept.folder}",
        "Ray: a local Ray, started for this sweep",
        "trials at a time (",
        f"\nanalyze {swept.id} --store {swept.store}\n",
        f"sweep ui {swept.id} --store {swept.store}\n",
    ):
        assert words in done.out
    assert "Traceback" not in done.out + done.err
    assert [e.stage for e in swept.events() if isinstance(e, StageFinished)] == [
        Stage.BASE,
        Stage.SEARCH,
        Stage.CONFIRM,
        Stage.TEST,
    ]


def test_trials_overlapped_in_time_in_different_processes(children: dict[str, Any]) -> None:
    spans = [e for child in children.values() for e in executions(child)]
    assert all(e["began"] < e["ended"] and e["host"] == os.uname().nodename for e in spans)
    overlapping = [
        (a["pid"], b["pid"])
        for a, b in itertools.combinations(spans, 2)
        if a["began"] < b["ended"] and b["began"] < a["ended"]
    ]
    assert overlapping
    assert all(a != b for a, b in overlapping)


def test_every_run_of_the_ledger_is_one_mlflow_run(
    finished: Swept, runs: list[Any], children: dict[str, Any]
) -> None:
    # Test scores are recorded on the run that they score.
    keys = {k for k, r in finished.state().runs.items() if r.asked.stage is not Stage.TEST}
    assert set(children) == keys
    assert len(runs) == len(keys) + 1
    assert {r.info.status for r in runs} == {"FINISHED"}


def test_the_optuna_journal_equals_the_mlflow_runs(
    finished: Swept, children: dict[str, Any]
) -> None:
    storage = JournalStorage(JournalFileBackend(str(finished.folder / "optuna.journal")))
    by_model = {name: optuna.load_study(study_name=name, storage=storage)
                for name in optuna.get_all_study_names(storage) if "@rung" not in name}  # fmt: skip
    assert set(by_model) == {f"{finished.id}/xs", f"{finished.id}/s"}
    recorded = {
        (c.data.tags["keepgain.model"], int(c.data.tags["keepgain.optuna_number"])): c
        for c in children.values()
        if "keepgain.optuna_number" in c.data.tags
    }
    assert len(recorded) == len(searched(finished.state())) == 6
    seen = set()
    for name, study in by_model.items():
        for trial in study.get_trials():
            child = recorded[name.rpartition("/")[2], trial.number]
            seen.add(child.info.run_id)
            assert trial.state is TrialState.COMPLETE
            assert child.data.tags["keepgain.optuna_state"] == trial.state.name
            metrics = child.data.metrics
            assert trial.values == [metrics["final/gain"], metrics["final/forgetting"]]
            limits = {
                k.removeprefix("constraint/"): v
                for k, v in metrics.items()
                if k.startswith("constraint/")
            }
            assert trial.constraints == limits and limits
            drawn = trial.user_attrs["draw"]["params"]
            rate = float(child.data.params["learning_rate"])
            assert rate == drawn["learning_rate"]
    assert seen == {c.info.run_id for c in recorded.values()}


def test_the_parent_keeps_record_decision_and_spec(parent: Any, finished: Swept) -> None:
    files = artifacts(parent)
    assert {"sweep.yaml", "decision/decision.json", "decision/decision.txt"} <= files
    resolved = json.loads((finished.folder / "spec.resolved.json").read_text())
    assert "spec.resolved.json" in files and resolved["confirm"]["seeds"] == 2
    assert any(f.startswith("record/") and f.endswith(".parquet") for f in files)
    tags = parent.data.tags
    assert tags["keepgain.stage"] == "decided"
    for name in ("host", "platform", "python", "version.torch", "version.optuna", "started"):
        assert tags[f"keepgain.{name}"]
    assert parent.data.metrics[METRIC_FAILED] == 0
    assert parent.data.metrics[METRIC_COMPLETED] == 6 + 4


def test_the_parent_shows_the_decision_as_note_tags_figure_and_report(
    parent: Any, finished: Swept
) -> None:
    decision = json.loads((finished.folder / "decision" / "decision.json").read_text())["decision"]
    tags = parent.data.tags
    assert tags["keepgain.decision.status"] == decision["status"]
    assert tags["keepgain.decision.trial"] == (decision["trial"] or "")
    assert decision["reason"][:40] in tags["mlflow.note.content"]
    named = "decision/task_score" in parent.data.metrics
    assert named == (decision["trial"] is not None)
    assert {"figures/gain_forgetting.svg", "decision/report.html"} <= artifacts(parent)


def test_datasets_are_on_the_parent_alone(
    parent: Any, children: dict[str, Any], finished: Swept
) -> None:
    found = {
        i.dataset.name: (i.tags[0].value, json.loads(i.dataset.profile)["num_rows"])
        for i in parent.inputs.dataset_inputs
    }
    rows = {
        p.name: len(p.read_text().splitlines()) for p in (finished.folder / "data").glob("*.jsonl")
    }
    assert found == {
        **{f"{n}/train": ("training", rows[f"{n}.train.jsonl"]) for n in ("tickets", "general")},
        **{
            f"{n}/{split}": (split, 60)
            for n in ("gain", "forgetting_fact")
            for split in ("validation", "test")
        },
    }
    assert not any(c.inputs.dataset_inputs for c in children.values())


def test_every_child_can_be_compared_by_gain_forgetting_and_task_score(
    finished: Swept, children: dict[str, Any]
) -> None:
    base = {c.data.tags["keepgain.model"]: c.data.metrics for c in children.values()
            if c.data.tags["keepgain.kind"] == "base"}  # fmt: skip
    for key, child in children.items():
        metrics, zero = child.data.metrics, base[child.data.tags["keepgain.model"]]
        for prefix, split in (("", "validation"), ("test_", "test")):
            if f"{split}/gain" in metrics:
                gain = metrics[f"{split}/gain"] - zero[f"{split}/gain"]
                lost = zero[f"{split}/forgetting_fact"] - metrics[f"{split}/forgetting_fact"]
                assert metrics[f"{prefix}gain"] == pytest.approx(gain), key
                assert metrics[f"{prefix}forgetting"] == pytest.approx(lost), key
                assert metrics[f"{prefix}task_score"] == pytest.approx(metrics[f"{split}/gain"])
    assert all("gain" in c.data.metrics for c in children.values())


def test_a_promoted_model_loads_with_plain_transformers_and_scores_the_same(
    finished: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import mlflow
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    confirmed = [r for r in finished.state().runs.values() if r.asked.stage is Stage.CONFIRM]
    key = confirmed[0].run_key
    done = finished.sweep("promote", finished.id, "--trial", key, "--name", "tiny").expect()
    assert "models:/tiny@champion" in done.out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{finished.store / 'mlflow.db'}")
    folder = mlflow.artifacts.download_artifacts("models:/tiny@champion", dst_path=str(tmp_path))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (scores,) = [
        s
        for k, s in read_items(finished.folder / "record" / "items.parquet")
        if k == key and (s.suite, s.split) == ("gain", "test")
    ]
    recorded = dict(zip(scores.item_ids.tolist(), scores.values.tolist(), strict=True))
    lines = (finished.folder / "data" / "gain.test.jsonl").read_text().splitlines()
    again = {}
    for row in map(json.loads, lines):
        asked = tokenizer(row["prompt"], return_tensors="pt", add_special_tokens=False)
        end = tokenizer.eos_token_id
        made = model.generate(**asked, max_new_tokens=16, do_sample=False, pad_token_id=end)
        answer = tokenizer.decode(made[0, asked.input_ids.shape[1] :], skip_special_tokens=True)
        again[row["id"]] = float(answer.strip() == row["answer"].strip())
    assert again == recorded and len(again) == 60


def test_a_trial_has_settings_curves_scores_and_logs(
    finished: Swept, children: dict[str, Any]
) -> None:
    from mlflow import MlflowClient

    run_state = searched(finished.state())[0]
    child = children[run_state.run_key]
    params = child.data.params
    assert params["model"] in ("xs", "s") and params["method"] == "full"
    assert {"learning_rate", "batch_size", "budget", "seed", "mixture.tickets"} <= set(params)
    assert not any("/" in v for v in params.values()), "no paths among the settings"
    client = MlflowClient(tracking_uri=f"sqlite:///{finished.store / 'mlflow.db'}")
    last = run_state.last_report
    for name in ("train/loss", "train/learning_rate", "train/grad_norm"):
        steps = [m.step for m in client.get_metric_history(child.info.run_id, name)]
        assert len(set(steps)) >= 3 and 0 < max(steps) <= last.tokens, name
    scores = client.get_metric_history(child.info.run_id, "validation/gain")
    assert [m.step for m in scores] == [r.tokens for r in run_state.reports]
    files = artifacts(child)
    assert {"items/items-r0.parquet", "items/items-r1.parquet", "logs/worker.log"} <= files
    assert child.data.tags["drawn.tickets.rows"]
    assert child.data.tags["mlflow.parentRunId"]


def test_a_confirmed_run_has_its_test_scores(finished: Swept, children: dict[str, Any]) -> None:
    confirmed = [r for r in finished.state().runs.values() if r.asked.stage is Stage.CONFIRM]
    assert len(confirmed) == 2 * 2 or len(confirmed) == 3 * 2  # the best random one may go along
    for one in confirmed:
        metrics = children[one.run_key].data.metrics
        assert {"test/gain", "validation/gain", "final/test/gain"} <= set(metrics)


def test_finished_trials_keep_no_checkpoints(finished: Swept) -> None:
    assert not list(finished.folder.glob("runs/*/checkpoint-*"))
    kept = {p.parent.name for p in finished.folder.glob("runs/*/model")}
    confirmed = {k for k, r in finished.state().runs.items() if r.asked.stage is Stage.CONFIRM}
    assert kept == confirmed


def test_analyze_reads_the_same_from_mlflow_alone(finished: Swept) -> None:
    local = run("analyze", finished.id, "--format", "json", "--store", finished.store,
                cwd=finished.cwd)  # fmt: skip
    aside = finished.store / "aside"
    folder = finished.folder
    folder.rename(aside)
    try:
        words = ("analyze", "last", "--format", "json", "--store", finished.store)
        remote = run(*words, cwd=finished.cwd)
    finally:
        aside.rename(folder)
    assert json_of(local) == json_of(remote)
    kept = json.loads((folder / "decision" / "decision.json").read_text())
    assert kept == json_of(local)


def test_the_json_contract_is_whole(finished: Swept) -> None:
    answer = json_of(
        run("analyze", "--format", "json", "--store", finished.store, cwd=finished.cwd)
    )
    assert answer["schema"] == 1
    assert set(answer["sweep"]) >= {"id", "name", "stage", "store", "test_opened"}
    assert answer["sweep"]["test_opened"] == 1
    assert {o["name"] for o in answer["objectives"]} >= {"gain", "forgetting"}
    for entry in answer["objectives"]:
        assert set(entry) == {"name", "direction", "unit", "metric_version"}
    keys = (
        "id label model kind params stage split replicates status rank rank_group objectives cost "
        "candidate on_front near_front front_membership"
    ).split()
    for trial in answer["trials"]:
        assert set(keys) <= set(trial)
        for estimate in trial["objectives"].values():
            assert set(estimate) == {
                *("value", "low", "high", "n_items", "n_seeds", "interval_method")
            }
    assert {t["kind"] for t in answer["trials"]} == {"trial", "base", "reference"}
    for size in answer["sizes"]:
        assert {"model", "parameters", "trial", "objectives", "cost"} <= set(size)
        assert "probability_adequate" in size
    assert {s["model"] for s in answer["sizes"]} == {"xs", "s"}
    assert set(answer["decision"]) >= {
        *("status", "model", "trial", "probability", "reason", "tied_with", "flips", "guards")
    }
    assert answer["excluded"] == []


def test_status_and_list_agree_with_the_ledger(finished: Swept) -> None:
    (listed,) = [s for s in json_of(finished.sweep("list", "--json")) if s["id"] == finished.id]
    assert (listed["status"], listed["stage"], listed["failed"]) == ("finished", "decided", 0)
    status = json_of(finished.sweep("status", finished.id, "--json"))
    assert status["runs"]["search"] == {"completed": 6}
    assert status["failures"] == []
    table = finished.sweep("status", finished.id).expect().out
    assert finished.id in table and "finished" in table


def test_logs_are_found_by_the_first_digits_of_a_run(finished: Swept) -> None:
    key = searched(finished.state())[0].run_key
    log = finished.sweep("logs", finished.id, "--trial", key[:8]).expect().out
    assert key in log
    assert "worker" in finished.sweep("logs", finished.id).expect().out
    refused = finished.sweep("logs", finished.id, "--trial", "zzzz").expect(2)
    assert "no run has a log and a key that starts with 'zzzz'" in refused.err


def test_the_same_spec_again_trains_nothing(finished: Swept) -> None:
    before = (finished.folder / "ledger.jsonl").read_bytes()
    then = {r.info.run_id: r.info for r in mlflow_runs(finished.store)}
    scores = item_scores(finished.folder)
    done = finished.run().expect()
    assert "nothing is started" in done.out and "Ray:" not in done.out
    assert (finished.folder / "ledger.jsonl").read_bytes() == before
    now = {r.info.run_id: r.info for r in mlflow_runs(finished.store)}
    assert set(now) == set(then)
    assert all(now[k].start_time == then[k].start_time for k in now)
    children = [k for k in now if not now[k].run_name.startswith(finished.id)]
    assert all(now[k].end_time == then[k].end_time for k in children)
    assert item_scores(finished.folder) == scores


def test_an_edited_spec_reuses_finished_trials_and_counts_the_opening(finished: Swept) -> None:
    """More trials: a new sweep. The store is shared, so the test items are opened again."""
    edited = write_spec(
        finished.cwd / "edited", name="tiny4", models=("xs",), arms="[{few_shot: 2}]", trials=4
    )
    done = finished.sweep("run", edited).expect()
    (folder,) = (finished.store / "sweeps").glob("tiny4-*")
    old = finished.state().runs
    new = Swept(finished.cwd, edited, finished.store)
    events = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    reused = {e["run_key"] for e in events if e["event"] == "reused"}
    assert f"{len(reused)} finished runs of other sweeps were reused" in done.out
    searched_before = {
        k
        for k, r in old.items()
        if r.asked.stage is Stage.SEARCH
        and r.asked.model == "xs"
        and r.status is TrialStatus.COMPLETED
    }
    # The first generation is the same whatever the number of trials.
    assert len(reused & searched_before) >= 2
    scores, before = item_scores(folder), item_scores(finished.folder)
    assert all(scores[k] == before[k] for k in reused)
    answer = json_of(
        run("analyze", folder.name, "--format", "json", "--store", new.store, cwd=new.cwd)
    )
    assert answer["sweep"]["test_opened"] == 2


@pytest.mark.fault("M43")
@pytest.mark.processes
def test_newer_items_are_scored_as_the_old_ones_were_and_kept_apart(
    finished: Swept, tmp_path: Path
) -> None:
    before = finished.events()
    run_of = next(r for r in finished.state().runs.values() if r.asked.stage is Stage.CONFIRM)
    rows = (QUICKSTART / "data" / "far_test.jsonl").read_text(encoding="utf-8").splitlines()
    new = tmp_path / "new.jsonl"
    new.write_text("\n".join(rows[30:110]) + "\n", encoding="utf-8")  # the first 30 are old ones
    words = ("rescore", finished.id, "--suite", new, "--model", run_of.run_key, "--json")
    found = json_of(finished.sweep(*words))
    assert (found["run_key"], found["scored_now"], found["opened"]) == (run_of.run_key, True, 1)
    assert (found["old"]["items"], found["new"]["items"]) == (60, 80)
    assert (found["shared_items"], found["threshold"]) == (30, 0.05)
    (place,) = (finished.folder / "rescores").iterdir()
    record = json.loads((place / "rescore.json").read_text())
    ((_, scored),) = read_items(place / record["items"]["tuned"])
    now = dict(zip(scored.item_ids.tolist(), scored.values.tolist(), strict=True))
    assert np.mean(list(now.values())) == pytest.approx(found["new"]["tuned"]["value"])
    test = next(
        r for r in finished.state().runs.values()
        if r.asked.stage is Stage.TEST and r.asked.params[SCORES_OF] == run_of.run_key
    )  # fmt: skip
    assert test.last_report is not None
    old = next(
        s for _, s in read_items(finished.folder / test.last_report.items_path) if s.suite == "gain"
    )
    then = dict(zip(old.item_ids.tolist(), old.values.tolist(), strict=True))
    assert {i: now[i] for i in then.keys() & now.keys()} == {
        i: then[i] for i in then.keys() & now.keys()
    }
    again = json_of(finished.sweep(*words))
    assert not again["scored_now"] and again["new"] == found["new"]
    assert finished.events() == before


def test_an_unknown_sweep_names_the_store_and_the_nearest_ids(finished: Swept) -> None:
    wrong = finished.id[:-1] + ("0" if finished.id[-1] != "0" else "1")
    for command in (("sweep", "status"), ("analyze",)):
        done = run(*command, wrong, "--store", finished.store, cwd=finished.cwd).expect(2)
        assert str(finished.store) in done.err and finished.id in done.err
        said = [line for line in done.err.splitlines() if "asking MLflow" not in line]
        assert len(said) == 1
