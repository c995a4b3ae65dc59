"""Suites of harness tasks: from the spec to what a worker gets, and what is refused where."""

import json
from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest
import yaml

from keepgain.core.errors import UserError
from keepgain.core.rows import read_rows
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.presets import GENERAL, LIMIT
from keepgain.sweeps.spec import load_spec
from keepgain.trainers.harness import load_tasks
from tests.harness_tasks import COUNT, write_tasks
from tests.sweeps.tiny_models import make_world

pytest.importorskip("lm_eval")
FORGETTING = "{path: general_eval.jsonl, scorer: bits_per_byte}"


def spec_with(folder: Path, forgetting: str) -> Path:
    path = make_world(folder, models=1)
    path.write_text(path.read_text().replace(FORGETTING, forgetting))
    return path


def prepared_with(folder: Path, task: str, store: Path | None = None) -> Prepared:
    if not (folder / "tasks").exists():
        write_tasks(folder / "tasks")
    return prepare(load_spec(spec_with(folder, f"{{lm_eval: {task}}}")), store)


def refused(folder: Path, forgetting: str) -> str:
    path = spec_with(folder, forgetting)
    with pytest.raises(UserError) as caught:
        prepare(load_spec(path), None)
    return str(caught.value)


def test_documents_become_the_items_of_both_splits(tmp_path):
    given = "{task: pick, include: tasks, metric: acc_norm}"
    prepared = prepared_with(tmp_path, given, tmp_path / "sweep")
    rows = []
    for split in ("validation", "test"):
        ref = prepared.score_suites(split)[1]
        assert ref.scorer == "lm_eval" and ref.options is not None
        assert ref.options.path == str(tmp_path / "tasks")
        assert ref.options.lm_eval is not None and ref.options.lm_eval.metric == "acc_norm,none"
        rows += list(read_rows(Path(ref.path)))
    assert sorted(r.id for r in rows) == sorted(f"pick/{i}" for i in range(COUNT))
    first = next(r for r in rows if r.id == "pick/3")
    assert (first.prompt, first.choices, first.answer) == ("what is 3 + 3 =", ("3", "6", "10"), "6")
    assert prepared.suite_infos[1].chance == pytest.approx(1 / 3)


def test_the_identity_follows_the_content_and_not_the_folder(tmp_path):
    given = "{task: echo, include: tasks, metric: 'exact_match,strict'}"

    def suites(folder: Path) -> list[object]:
        load_tasks.cache_clear()
        found: list[object] = prepared_with(folder, given).spec_content()["suites"]
        return found

    first = suites(tmp_path / "a")
    assert suites(tmp_path / "b") == first
    task = tmp_path / "c" / "tasks" / "echo.yaml"
    write_tasks(task.parent)
    task.write_text(yaml.safe_dump(yaml.safe_load(task.read_text()) | {"description": "Say it."}))
    assert suites(tmp_path / "c") != first


def test_a_limit_takes_a_sample_and_not_the_first(tmp_path):
    given = "{task: echo, include: tasks, metric: 'exact_match,strict', limit: 8}"
    suite = prepared_with(tmp_path, given).suites["forgetting"]
    numbers = [int(r.id.partition("/")[2]) for r in (*suite.validation.rows, *suite.test.rows)]
    assert len(numbers) == 8 and max(numbers) > 8
    assert suite.choice_counts("validation") == []


@pytest.mark.parametrize(
    ("task", "problem", "hint"),
    [
        ("{task: pick, metric: mcc}", "'mcc' of task 'pick' is no mean of item scores", "acc_norm"),
        ("{task: cloze, metric: perplexity}", "is no mean of item scores", "acc,none"),
        ("{task: echo, metric: exact_match}", "has several filters", "exact_match,letter"),
        ("{task: echo, metric: 'exact_match,letter', num_fewshot: 3}", "without worked", "num_few"),
        ("{task: nothing, metric: acc}", "has no task 'nothing'", "lm-eval ls tasks"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_what_can(tmp_path, monkeypatch, task, problem, hint):
    # To look through the package's 14,000 files takes seconds; the preset's tests do.
    monkeypatch.setattr("keepgain.trainers.harness._package_folders", lambda name: [])
    write_tasks(tmp_path / "tasks")
    message = refused(tmp_path, f"{{lm_eval: {task[:-1]}, include: tasks}}}}")
    assert problem in message and hint in message
    assert "sweep.yaml:suites.forgetting.lm_eval (line" in message


def test_a_document_that_is_no_item_is_named(tmp_path):
    load_tasks.cache_clear()
    asked = write_tasks(tmp_path / "tasks") / "asked.jsonl"
    lines = asked.read_text().splitlines()
    lines[5] = json.dumps(json.loads(lines[5]) | {"options": None})
    asked.write_text("\n".join(lines))
    said = refused(tmp_path, "{lm_eval: {task: pick, include: tasks, metric: acc}}")
    assert "suites.forgetting.lm_eval" in said
    assert "document 5 of the task 'pick' is no item (TypeError" in said


def test_keys_that_do_not_fit_are_refused_with_their_line(tmp_path):
    message = refused(tmp_path / "a", "{lm_eval: {task: pick, metric: acc}, scorer: exact_match}")
    assert "`lm_eval` belongs to the scorer lm_eval" in message
    message = refused(tmp_path / "b", "{path: general_eval.jsonl, scorer: lm_eval}")
    assert "the scorer lm_eval needs `lm_eval`" in message
    message = refused(tmp_path / "c", "{lm_eval: {task: pick, metric: acc, include: no}}")
    assert "no such folder" in message and "suites.forgetting.lm_eval" in message


def test_without_the_package_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("keepgain.trainers.harness.find_spec", lambda name: None)
    load_tasks.cache_clear()
    message = refused(tmp_path, "{lm_eval: {task: pick, metric: acc}}")
    assert "lm-eval" in message and "pip install 'keepgain[lm-eval]'" in message


def test_without_a_hub_the_preset_names_the_first_task_that_cannot_be_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    # Whatever this machine has in its caches.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    message = refused(tmp_path, "{preset: general}")
    assert "the task 'mmlu' cannot be loaded" in message
    assert "sweep.yaml:suites.forgetting_mmlu.lm_eval (line" in message
    assert "`include`" in message


def test_the_preset_becomes_one_suite_of_each_task_and_local_tasks_stand_for_those_of_a_hub(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = write_tasks(tmp_path / "tasks")
    local = yaml.safe_load((folder / "pick.yaml").read_text()) | {"task": "mmlu"}
    (folder / "mmlu.yaml").write_text(yaml.safe_dump(local))
    path = spec_with(tmp_path, "{preset: general, include: tasks}")
    suites = load_spec(path).spec.suites
    assert list(suites) == ["gain", *(f"forgetting_{t.task}" for t in GENERAL)]
    assert {s.lm_eval.limit for s in suites.values() if s.lm_eval} == {LIMIT}
    assert len({s.metric_name for n, s in suites.items() if n != "gain"}) == 1
    with pytest.raises(UserError) as caught:
        prepare(load_spec(path), None)
    # The first one was found in the folder.
    assert "the task 'hellaswag' cannot be loaded" in str(caught.value)


def test_a_preset_is_checked_like_other_keys(tmp_path):
    message = refused(tmp_path / "a", "{preset: genral}")
    assert "sweep.yaml:suites.forgetting.preset (line" in message and "general" in message
    message = refused(tmp_path / "b", "{preset: general}\n  forgetting_mmlu: {from: general}")
    assert "the preset makes a suite 'forgetting_mmlu', and there is one" in message


def test_the_page_shows_the_tasks_of_the_preset():
    page = (Path(__file__).parents[2] / "docs" / "spec.md").read_text()
    for t in GENERAL:
        shots = "as the task says" if t.num_fewshot is None else t.num_fewshot
        assert f"| `{t.task}` | `{t.metric}` | {shots} | {t.capability} | {t.licence} |" in page
    assert f"`limit` (default {LIMIT})" in page
