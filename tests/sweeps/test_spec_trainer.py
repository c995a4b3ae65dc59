"""A trainer of the user's own in a spec: what reaches the trial, its identity, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import Runtime
from keepgain.core.errors import UserError
from keepgain.sweeps.evidence import flat_params
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.plan.calibrate import calibrate
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.search.space_record import space_record
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_trainer import OURS
from keepgain.sweeps.spec_training import TrainingSpec
from tests.sweeps.tiny_models import make_world

COMMAND = "trainer: {command: [python, train.py]}\n"
PARAMS: dict[str, Any] = {"method": "full", "learning_rate": 1e-4, "mixture.tickets": 1.0}


def spec_of(folder: Path, more: str = COMMAND, space: str = "") -> Path:
    path = make_world(folder, models=1)
    (folder / "train.py").write_text("print(1)\n")
    text = path.read_text().replace("space:\n", f"space:\n{space}")
    path.write_text(text + more)
    return path


def prepared_of(folder: Path, *args: str) -> Prepared:
    return prepare(load_spec(spec_of(folder, *args)), None)


def test_trials_without_a_trainer_of_their_own_do_not_name_one(tmp_path: Path) -> None:
    plain = prepared_of(tmp_path / "a", "").trial_config("m0", PARAMS)
    given = prepared_of(tmp_path / "b").trial_config("m0", PARAMS)
    assert plain.trainer is None and given.trainer is not None
    assert plain.trial_id == given.model_copy(update={"trainer": None}).trial_id
    assert plain.trial_id != given.trial_id
    assert "trainer" not in prepared_of(tmp_path / "c", "").spec_content()


def test_settings_of_the_spec_and_of_the_space_reach_the_trainer(tmp_path: Path) -> None:
    more = "trainer: {command: [python, train.py], settings: {a: 1, b: [x, {y: 2}]}}\n"
    space = "  trainer.a: {log_int: [1, 8]}\n  trainer.c: [adamw, muon]\n"
    path = spec_of(tmp_path, more, space)
    prepared = prepare(load_spec(path), None)
    config = prepared.trial_config("m0", {**PARAMS, "trainer.a": 3, "trainer.c": "muon"})
    assert config.trainer is not None
    assert config.trainer.settings == {"a": 3, "b": ["x", {"y": 2}], "c": "muon"}
    flat = flat_params(config.model_dump(mode="json"))
    assert (flat["trainer"], flat["trainer.a"], flat["trainer.c"]) == ("python train.py", 3, "muon")
    other = prepared.trial_config("m0", {**PARAMS, "trainer.a": 4, "trainer.c": "muon"})
    assert other.trial_id != config.trial_id
    names = {d.name: d for d in space_record(spec_space(prepared.loaded))}
    assert (names["trainer.a"].least, names["trainer.c"].choices) == (None, ("adamw", "muon"))


def test_identity_follows_the_content_of_the_files_and_not_their_place(tmp_path: Path) -> None:
    def ids(folder: Path) -> tuple[str, str]:
        prepared = prepare(load_spec(folder / "sweep.yaml"), None)
        return prepared.sweep_id, prepared.trial_config("m0", PARAMS).trial_id

    more = "trainer: {command: [python, train.py], files: [helper.py]}\n"
    for name in ("a", "b"):
        path = spec_of(tmp_path / name, more)
        (tmp_path / name / "helper.py").write_text("one")
        path.rename(tmp_path / name / "sweep.yaml")
    first = ids(tmp_path / "a")
    assert ids(tmp_path / "b") == first
    for name, text in (("helper.py", "two"), ("train.py", "print(2)")):
        (tmp_path / "b" / name).write_text(text)
        now = ids(tmp_path / "b")
        assert now[0] != first[0] and now[1] != first[1]
        first = now


def test_a_function_is_known_by_its_module(tmp_path: Path) -> None:
    prepared = prepared_of(tmp_path, "trainer: train:main\n")
    trainer = prepared.trial_config("m0", PARAMS).trainer
    assert trainer is not None and (trainer.function, trainer.command) == ("train:main", ())
    assert trainer.code is not None and trainer.path == str(tmp_path)


@pytest.mark.parametrize(
    "more, space, where, part",
    [
        (COMMAND + "training: {engine: torch}\n", "", "training.engine", "settings: {engine:"),
        (COMMAND + "training: {packing: true}\n", "", "training.packing", "trainer of your own"),
        (COMMAND + "training: {micro_batch_size: 4}\n", "", "training.micro_batch_size", "own"),
        (COMMAND + "training: {rungs: [0.5, 1]}\n", "", "training.rungs", "called once"),
        (
            COMMAND + "training: {early_stopping: {patience_tokens: 9, check_every_tokens: 9}}\n",
            "",
            "training.early_stopping",
            "trainer of your own",
        ),
        (
            COMMAND + "resources: {workers_per_trial: 2}\n",
            "",
            "resources.workers_per_trial",
            "gpus_per_trial",
        ),
        ("", "  trainer.a: [1, 2]\n", "space.trainer.a", "there is none"),
        (COMMAND, "  trainer.path: [a, b]\n", "space.trainer.path", "unknown parameter"),
        ("trainer: train\n", "", "trainer", "module:function"),
        ("trainer: {settings: {a: 1}}\n", "", "trainer", "exactly one of"),
        ("trainer: {command: [a], function: b:c}\n", "", "trainer", "exactly one of"),
        ("trainer: {command: [a], settings: {b: [{path: c}]}}\n", "", "settings", "`path`"),
        ("trainer: {command: [python, no.py]}\n", "", "trainer", "no file 'no.py'"),
        ("trainer: {command: [no-such]}\n", "", "trainer", "no program 'no-such'"),
        ("trainer: {command: [python, train.py], files: [x]}\n", "", "trainer", "no file 'x'"),
        ("trainer: nowhere.at_all:train\n", "", "trainer", "no module 'nowhere.at_all'"),
    ],
)
def test_what_cannot_work_is_refused_by_field(
    tmp_path: Path, more: str, space: str, where: str, part: str
) -> None:
    with pytest.raises(UserError) as caught:
        prepared_of(tmp_path, more, space)
    assert where in str(caught.value.where) and "line" in str(caught.value.where)
    assert part in str(caught.value)


def test_every_key_that_says_how_keepgain_trains_is_refused() -> None:
    of_scoring = {"dtype", "attention", "scoring_batch_size"}
    shared = set(Runtime.model_fields) & set(TrainingSpec.model_fields)
    assert (shared - of_scoring) | {"early_stopping"} == set(OURS)


def test_its_speed_is_not_measured_in_place_of_ours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trainer of its own"):
        calibrate(prepared_of(tmp_path), None, print)  # type: ignore[arg-type]
