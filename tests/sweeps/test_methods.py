"""Methods in a spec: what each needs, what reaches the trial, what is refused before anything."""

from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.check import check
from keepgain.sweeps.evidence import flat_params
from keepgain.sweeps.gates.resources import Machine
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.search.dimensions import ends
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world

CPU = Machine(cpus=2, memory_bytes=16 << 30)
GPU = Machine(cpus=16, memory_bytes=64 << 30, gpus=1)
METHODS = ("  method: [full, lora]\n", "when: {method: lora}")


def spec_of(folder: Path, methods: str, training: str = "", more: str = "") -> Path:
    path = make_world(folder, models=1)
    text = path.read_text().replace(METHODS[0], f"  method: [{methods}]\n")
    text = text.replace(f", {METHODS[1]}", "")
    if not set(methods.split(", ")) & {"lora", "rslora", "dora", "qlora"}:
        text = text.replace("  lora.rank: {log_int: [4, 64]}\n", "")
    path.write_text(text + (f"training: {{{training}}}\n" if training else "") + more)
    return path


def prepared_of(folder: Path, *args: str) -> Prepared:
    return prepare(load_spec(spec_of(folder, *args)), None)


def test_the_settings_of_a_method_reach_its_trials_and_no_others(tmp_path: Path) -> None:
    tuner = "peft: {type: vera, r: 32, target_modules: [q_proj, up_proj]}"
    prepared = prepared_of(tmp_path, "full, rslora, dora, peft", tuner)

    def config(method: str, **params: Any) -> Any:
        mixture = {"mixture.tickets": 0.6, "mixture.general": 0.4}
        params = {"method": method, "learning_rate": 1e-4, **mixture, **params}
        return prepared.trial_config("m0", params)

    for method in ("rslora", "dora"):
        found = config(method, **{"lora.rank": 8})
        assert found.lora.rank == 8 and found.peft is None
    assert config("full").lora is None
    peft = config("peft")
    assert peft.lora is None
    assert (peft.peft.type, peft.peft.options["r"]) == ("VERA", 32)
    assert len({config(m).trial_id for m in ("full", "rslora", "dora", "peft")}) == 4
    flat = flat_params(peft.model_dump(mode="json"))
    assert flat["peft.type"] == "VERA" and "peft" not in flat


@pytest.mark.parametrize(
    ("methods", "keys", "said"),
    [
        ("full, dora", "interpolate: [0.9]", "method dora has no point between"),
        (
            "full, peft",
            "interpolate: [0.9], peft: {type: VERA, r: 32, target_modules: [q_proj]}",
            "method peft has no point between",
        ),
        ("full", "interpolate: [0.9], engine: deepspeed, zero_stage: 3", "under ZeRO-3"),
    ],
)
def test_points_between_base_and_tuned_model_are_refused_where_there_are_none(
    tmp_path: Path, methods: str, keys: str, said: str
) -> None:
    with pytest.raises(UserError, match=said) as refused:
        load_spec(spec_of(tmp_path, methods, keys))
    assert "training.interpolate (line" in str(refused.value.where)


@pytest.mark.parametrize("shares", ["[0.9, 0.9]", "[0]", "[1]", "[1.5]", "0.9"])
def test_points_are_different_shares_of_the_way(tmp_path: Path, shares: str) -> None:
    with pytest.raises(UserError) as refused:
        load_spec(spec_of(tmp_path, "full", f"interpolate: {shares}"))
    assert "training.interpolate" in str(refused.value.where)


def test_the_points_that_are_scored_change_no_trial(tmp_path: Path) -> None:
    plain = prepared_of(tmp_path / "a", "full")
    given = prepared_of(tmp_path / "b", "full", "interpolate: [0.8, 0.9]")
    params = {"learning_rate": 1e-4, "mixture.tickets": 0.6, "mixture.general": 0.4}
    configs = [p.trial_config("m0", params) for p in (plain, given)]
    assert configs[0].trial_id == configs[1].trial_id
    assert plain.sweep_id != given.sweep_id
    point = given.trial_config("m0", {**params, "interpolation": 0.8})
    assert point.trial_id != point.training_id == configs[0].trial_id
    assert flat_params(point.model_dump(mode="json"))["interpolation"] == 0.8
    assert "interpolation" not in flat_params(configs[0].model_dump(mode="json"))


def test_how_a_run_is_carried_out_is_not_its_identity(tmp_path: Path) -> None:
    keys = "attention: eager, gradient_checkpointing: true, compile: true"
    plain, given = prepared_of(tmp_path / "a", "full"), prepared_of(tmp_path / "b", "full", keys)
    runtime = given.runtime
    assert (runtime.attention, runtime.gradient_checkpointing, runtime.compile) == (
        "eager", True, True,
    )  # fmt: skip
    params = {"method": "full", "learning_rate": 1e-4, "mixture.tickets": 1.0}
    configs = [p.trial_config("m0", params) for p in (plain, given)]
    assert configs[0].trial_id == configs[1].trial_id


@pytest.mark.parametrize(
    ("methods", "training", "key", "words"),
    [
        ("full", "peft: {type: IA3}", "training.peft", "no trial has the method peft"),
        ("peft", "peft: {type: IA4}", "training.peft.type", "Did you mean IA3"),
        ("peft", "peft: {type: IA3, r: 4}", "training.peft.r", "no option 'r'"),
        ("peft", "peft: {type: P_TUNING}", "training.peft.type", "virtual tokens"),
        ("peft", "peft: {r: 4}", "training.peft.type", "required key 'type'"),
        ("full, qlora", "engine: deepspeed", "training.engine", "qlora"),
        ("full", "engine: deepspeed, compile: true", "training", "`compile` needs"),
        ("full", "attention: flash", "training.attention", "flash_attention_2"),
    ],
)
def test_faults_name_the_key_and_its_line(
    tmp_path: Path, methods: str, training: str, key: str, words: str
) -> None:
    path = spec_of(tmp_path, methods, training)
    with pytest.raises(UserError) as refused:
        load_spec(path)
    assert refused.value.where == f"{path}:{key} (line {len(path.read_text().splitlines())})"
    assert words in str(refused.value)


def test_the_method_peft_needs_a_tuner(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"space\.method \(line \d+\): .*needs a tuner"):
        load_spec(spec_of(tmp_path, "full, peft"))


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ("lora: {targets: [c_attn]}", r"training\.lora\.targets .*m0 has no module 'c_attn'"),
        (
            "peft: {type: IA3, target_modules: [c_attn]}",
            r"training\.peft\.target_modules .*m0 has no module 'c_attn'",
        ),
    ],
)
def test_modules_that_a_model_lacks_are_refused(tmp_path: Path, training: str, words: str) -> None:
    methods = "lora, peft" if "peft" in training else "lora"
    with pytest.raises(UserError, match=words):
        prepared_of(tmp_path, methods, training)


@pytest.mark.parametrize(
    ("methods", "training", "where"),
    [
        ("full, qlora", "", "space.method"),
        ("full", "attention: flash_attention_2", "training.attention"),
    ],
)
def test_what_needs_a_gpu_is_refused_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, methods: str, training: str, where: str
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    prepared = prepared_of(tmp_path / "any", methods, training)
    (found,) = [f for f in check(prepared, CPU) if f.code == "needs_gpu"]
    assert (found.severity, found.where) == ("error", where)
    assert found.hint and "Use " in found.hint
    assert not [f for f in check(prepared, GPU) if f.code == "needs_gpu"]
    path = spec_of(tmp_path / "cpu", methods, training, "resources: {device: cpu}\n")
    with pytest.raises(UserError, match="needs a CUDA GPU, not `device: cpu`"):
        load_spec(path)


def test_the_method_may_be_any_of_them(tmp_path: Path) -> None:
    loaded = load_spec(spec_of(tmp_path, "full, lora, rslora, dora, qlora"))
    space = spec_space(loaded)
    found = {p.name: p for p in space.parameters}
    assert ends(found["method"].dimension) == ("full", "lora", "rslora", "dora", "qlora")
    assert found["lora.rank"].when == (("method", ("lora", "rslora", "dora", "qlora")),)
