"""A model that brings its own Python files: not run unless the spec says so, and then pinned."""

import json
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.base_models import BaseModel, find_models
from keepgain.sweeps.model_code import builtin_types
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world

OWN = {
    "model_type": "own_llama",
    "architectures": ["OwnForCausalLM"],
    "auto_map": {"AutoConfig": "code.OwnConfig", "AutoModelForCausalLM": "code.OwnForCausalLM"},
}


def world(folder: Path, model: str, **config: object) -> Path:
    """A spec whose one model is written as `model`; its config.json says `config` beside."""
    path = make_world(folder, models=1)
    path.write_text(path.read_text().replace("models: [m0]", f"models: [{model}]"))
    described = folder / "m0" / "config.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | config))
    (folder / "m0" / "code.py").write_text("# a model\n")
    return path


def found(path: Path) -> BaseModel:
    (model,) = find_models(load_spec(path))
    return model


def test_own_code_is_refused_by_its_name_and_says_which_key_runs_it(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        found(world(tmp_path, "m0", **OWN))
    assert "brings its own code (code.OwnForCausalLM), which is not run" in refused.value.problem
    assert "`trust_remote_code: true`" in str(refused.value.hint)


def test_code_that_is_trusted_is_part_of_the_model(tmp_path: Path) -> None:
    path = world(tmp_path, "{path: m0, trust_remote_code: true}", **OWN)
    first = found(path)
    assert first.ref.trust_remote_code
    assert first.ref.model_dump(mode="json")["trust_remote_code"] is True, "workers are told"
    sweep = prepare(load_spec(path), None).sweep_id
    (tmp_path / "m0" / "code.py").write_text("# another model\n")
    assert found(path).ref.digest != first.ref.digest
    assert prepare(load_spec(path), None).sweep_id != sweep


def test_without_trust_a_python_file_is_no_part_of_the_model(tmp_path: Path) -> None:
    path = world(tmp_path, "m0")
    first = found(path)
    assert not first.ref.trust_remote_code
    (tmp_path / "m0" / "code.py").write_text("# another\n")
    assert found(path).ref.digest == first.ref.digest


def test_a_known_type_with_code_beside_it_needs_no_trust(tmp_path: Path) -> None:
    path = world(tmp_path, "m0", auto_map=OWN["auto_map"])
    assert not found(path).ref.trust_remote_code


@pytest.mark.parametrize("revision", ["", ", revision: main", f", revision: {'a' * 39}"])
def test_code_of_the_hub_is_run_at_a_full_commit_hash_only(tmp_path: Path, revision: str) -> None:
    with pytest.raises(UserError, match="at a full commit hash only"):
        found(world(tmp_path, f"{{id: team/own, trust_remote_code: true{revision}}}"))


def test_code_of_another_repository_is_refused(tmp_path: Path) -> None:
    elsewhere = {**OWN, "auto_map": {"AutoModelForCausalLM": "team/other--code.OwnForCausalLM"}}
    with pytest.raises(UserError, match="takes code from another repository"):
        found(world(tmp_path, "{path: m0, trust_remote_code: true}", **elsewhere))


def test_code_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = world(tmp_path, "{path: m0, trust_remote_code: true}", **OWN)
    (tmp_path / "m0" / "code.py").unlink()
    with pytest.raises(UserError, match=r"has no code\.py, which its config\.json names"):
        found(path)


def test_a_type_that_transformers_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no causal language model of the type 'own_llama'"):
        found(world(tmp_path, "m0", model_type="own_llama"))


def test_types_are_those_of_the_library() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert builtin_types() == frozenset(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
