"""The plan: counts that follow from the spec, sums that refuse what cannot fit."""

from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.gates.resources import Machine
from keepgain.sweeps.plan import CPU_FLOPS, Plan, make_plan
from keepgain.sweeps.plan_text import render_plan
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world

SMALL = Machine(cpus=2, memory_bytes=8 << 30)
GPU = Machine(cpus=8, memory_bytes=64 << 30, gpus=2, gpu_memory_bytes=80 << 30)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


def plan_of(spec: Path, machine: Machine, extra: str = "", **given: float) -> Plan:
    path = spec.with_name("edited.yaml")
    path.write_text(spec.read_text() + extra)
    return make_plan(prepare(load_spec(path), None), machine, **given)


def test_runs_follow_from_the_spec(spec: Path) -> None:
    plan = plan_of(spec, SMALL)
    # 2 models: base and 4 examples each; 12 trials each; 4 finalists and a random trial, 3 seeds.
    assert [(s.stage, s.runs) for s in plan.stages] == [
        ("base", 4),
        ("search", 24),
        ("confirm", 15),
        ("test", 19),
    ]
    assert plan.stages[1].training_tokens == 24 * plan.models[0].tokens_per_trial
    assert plan.slots == 2


def test_flops_and_time_follow_the_stated_formulas(spec: Path) -> None:
    plan = plan_of(spec, SMALL)
    m0 = plan.models[0]
    full = next(m for m in m0.methods if m.method == "full")
    assert full.flops == 6 * m0.non_embedding_parameters * m0.tokens_per_trial
    assert plan.throughput_basis.startswith("guess") and plan.throughput_flops == CPU_FLOPS
    faster = plan_of(spec, SMALL, throughput_flops=2 * CPU_FLOPS)
    assert faster.throughput_basis == "given"
    assert faster.stages[1].seconds == pytest.approx(plan.stages[1].seconds / 2)


def test_money_is_gpu_hours_at_the_users_price(spec: Path) -> None:
    assert plan_of(spec, SMALL).usd is None
    plan = plan_of(spec, GPU)
    assert (plan.slots, plan.gpus_per_trial) == (2, 1.0)
    assert plan.usd == pytest.approx(2.5 * plan.gpu_hours)
    assert "GPU-hours" in render_plan(plan)


def test_a_trial_beyond_memory_is_refused_with_the_sum(spec: Path) -> None:
    machine = Machine(cpus=2, memory_bytes=1 << 20)
    with pytest.raises(UserError) as caught:
        plan_of(spec, machine)
    text = str(caught.value)
    assert "2 × " in text and "AdamW moments" in text and "resources.slots" in text


def test_a_trial_near_the_limit_is_warned(spec: Path) -> None:
    need = max(m.memory_bytes for p in plan_of(spec, SMALL).models for m in p.methods)
    plan = plan_of(spec, Machine(cpus=1, memory_bytes=int(need * 1.1)))
    assert any("tens of percent" in w for w in plan.warnings)


def test_unknown_gpu_memory_is_said(spec: Path) -> None:
    plan = plan_of(spec, Machine(cpus=2, memory_bytes=8 << 30, gpus=1))
    assert plan.memory_available_bytes is None
    assert any("not known" in w for w in plan.warnings)


def test_more_slots_than_fit_are_refused(spec: Path) -> None:
    with pytest.raises(UserError, match="5 trials × 1 CPUs = 5 CPUs"):
        plan_of(spec, SMALL, "resources: {slots: 5}\n")


def test_a_full_disk_is_refused(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match="10 B are free"):
        plan_of(spec, SMALL)


def test_paused_trials_need_disk(spec: Path) -> None:
    flat = plan_of(spec, SMALL).disk_bytes
    rungs = plan_of(spec, SMALL, "training: {rungs: [0.1, 1]}\n").disk_bytes
    # 12 trials of each model, 12 bytes a parameter
    assert rungs - flat == 12 * 12 * sum(m.parameters for m in plan_of(spec, SMALL).models)


def test_a_space_smaller_than_the_search_is_said(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    text = path.read_text().replace("{log: [1e-5, 1e-3]}", "[1e-4, 1e-3]")
    lines = [x for x in text.splitlines() if "lora.rank" not in x and "mixture" not in x]
    path.write_text("\n".join(lines) + "\n")
    plan = make_plan(prepare(load_spec(path), None), SMALL)
    assert plan.warnings == ("the space has only 4 configurations; repeated ones cost nothing.",)


def test_the_text_names_every_stage_and_calls_guesses_guesses(spec: Path) -> None:
    text = render_plan(plan_of(spec, SMALL))
    for word in ("base", "search", "confirm", "test", "guess", "estimates", "no GPU is used"):
        assert word in text


def test_a_model_type_of_unknown_layers_is_planned_from_its_tensors(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    config = tmp_path / "m0" / "config.json"
    config.write_text(config.read_text().replace('"llama"', '"mpt"'))
    plan = make_plan(prepare(load_spec(path), None), SMALL)
    assert plan.models[0].non_embedding_parameters == 64 + 128 + 8
    assert "not estimated for this model type" in plan.models[0].methods[0].memory_arithmetic
