"""The plan: counts that follow from the spec, sums that refuse what cannot fit."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.gates.resources import Machine
from keepgain.sweeps.plan.devices import CPU_FLOPS
from keepgain.sweeps.plan.disk import RECORD_BYTES, preflight_disk
from keepgain.sweeps.plan.plan import Plan, make_plan
from keepgain.sweeps.plan.text import render_plan
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
    keys = tuple(line.partition(":")[0] + ":" for line in extra.splitlines())
    kept = [x for x in spec.read_text().splitlines(True) if not keys or not x.startswith(keys)]
    path.write_text("".join(kept) + extra)
    return make_plan(prepare(load_spec(path), None), machine, **given)


def test_runs_follow_from_the_spec(spec: Path) -> None:
    plan = plan_of(spec, SMALL)
    # 2 models: base and 4 examples each; 12 trials each; 4 finalists and a random trial, 3 seeds.
    assert [(s.stage, s.expected.runs) for s in plan.stages] == [
        ("base", 4),
        ("search", 24),
        ("confirm", 15),
        ("test", 19),
    ]
    assert plan.stages[1].expected.training_tokens == 24 * plan.models[0].tokens_per_trial
    # One rung and no looks: open is only whether the random trial is among the finalists anyway.
    assert [s.least.runs for s in plan.stages] == [4, 24, 12, 16]
    assert [s.most for s in plan.stages] == [s.expected for s in plan.stages]
    assert plan.slots == 2


def test_flops_and_time_follow_the_stated_formulas(spec: Path) -> None:
    plan = plan_of(spec, SMALL)
    m0 = plan.models[0]
    full = next(m for m in m0.methods if m.method == "full")
    assert full.flops == 6 * m0.non_embedding_parameters * m0.tokens_per_trial
    assert full.speed.source == "guess" and full.speed.flops_per_second == CPU_FLOPS
    assert "20 GFLOP/s a CPU, assumed" in full.speed.basis
    assert full.train_seconds == full.flops / CPU_FLOPS
    faster = plan_of(spec, SMALL, throughput_flops=2 * CPU_FLOPS)
    assert faster.models[0].methods[0].speed.source == "given"
    assert faster.models[0].train_seconds == pytest.approx(m0.train_seconds / 2)


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


def test_a_run_is_refused_where_the_plan_is_and_nowhere_else(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = spec.with_name("full.yaml")  # adapters are small, and float32 anyway
    lines = spec.read_text().replace("[full, lora]", "[full]").splitlines(True)
    full.write_text("".join(x for x in lines if "lora.rank" not in x))
    prepared = prepare(load_spec(full), None)
    h100 = replace(GPU, gpu_name="NVIDIA H100 80GB HBM3")
    planned = {True: plan_of(full, h100).disk_bytes, False: plan_of(full, SMALL).disk_bytes}
    assert planned[True] < planned[False], "weights are written in bfloat16 and in float32"
    for gpus, enough in planned.items():
        usage = SimpleNamespace(free=enough)
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        assert len(preflight_disk(prepared, tmp_path / "sweep", gpus=gpus)) == 1
        usage.free -= 1
        with pytest.raises(UserError, match="the sweep may keep"):
            preflight_disk(prepared, tmp_path / "sweep", gpus=gpus)


def test_a_sweep_whose_checkpoints_fill_a_disk_apart_may_go_on(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spec.with_name("apart.yaml")
    rungs = "training: {rungs: [0.25, 1.0]}\n"
    kept = [x for x in spec.read_text().splitlines(True) if not x.startswith("training:")]
    path.write_text("".join(kept) + rungs + f"storage: {{checkpoints: {tmp_path}/apart}}\n")
    prepared, sweep = prepare(load_spec(path), None), tmp_path / "sweep"
    needed = plan_of(spec, SMALL, rungs).disk_bytes
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed - 1000))
    with pytest.raises(UserError, match=r"storage\.checkpoints"):
        preflight_disk(prepared, sweep, gpus=False)
    own = tmp_path / "apart" / prepared.sweep_id / "t1-s0" / "checkpoint-r0"
    own.mkdir(parents=True)
    (own / "weights").write_bytes(bytes(1000))
    assert preflight_disk(prepared, sweep, gpus=False), "it is only said that little is left"


def test_paused_trials_need_disk(spec: Path) -> None:
    flat = plan_of(spec, SMALL)
    rungs = plan_of(spec, SMALL, "training: {rungs: [0.1, 1]}\n")
    # 12 trials of each model, 12 bytes a trained parameter of the method that has most
    dearest = [max(p.trainable_parameters for p in m.methods) for m in flat.models]
    assert rungs.disk_bytes - flat.disk_bytes == 12 * 12 * sum(dearest)
    assert flat.disk[-1].bytes == RECORD_BYTES * (4 + 24 + 15 + 19)


def test_a_space_smaller_than_the_search_is_said(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    text = path.read_text().replace("{log: [1e-5, 1e-3]}", "[1e-4, 1e-3]")
    lines = [x for x in text.splitlines() if "lora.rank" not in x and "mixture" not in x]
    path.write_text("\n".join(lines) + "\n")
    plan = make_plan(prepare(load_spec(path), None), SMALL)
    assert plan.warnings[-1:] == (
        "the space has only 4 configurations; repeated ones cost nothing.",
    )


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


RUNGS = "training: {budget_tokens: 900, rungs: [0.1111111, 0.3333333, 1]}\n"


def test_stopping_gives_a_range_of_tokens_and_audits_raise_it(spec: Path) -> None:
    """12 trials of each of 2 models in generations of 6 and 6; a third goes on at each rung."""
    bare = plan_of(
        spec, SMALL, RUNGS + "search: {stopping: {keep: 0.3333333333, audit_trials: 0}}\n"
    )
    search = bare.stages[1]
    # 6 -> 2 -> 1 in the first generation; of the second 6 -> 1 -> 1 at least, and at most all 4
    # places of 12, and then floor(6 / 3) = 2.
    assert search.least.training_tokens == pytest.approx(2 * (12 * 100 + 3 * 200 + 2 * 600), abs=9)
    assert search.most.training_tokens == pytest.approx(2 * (12 * 100 + 6 * 200 + 3 * 600), abs=9)
    assert search.least.training_tokens <= search.expected.training_tokens
    audited = plan_of(spec, SMALL, RUNGS + "search: {stopping: {keep: 0.3333333333}}\n").stages[1]
    # 6 of 12 are quasi-random, so 6 are audits: they all run to the end.
    least = 2 * (12 * 100 + (6 + 1) * 200 + (6 + 1) * 600)
    assert audited.least.training_tokens == pytest.approx(least, abs=9)
    off = plan_of(spec, SMALL, RUNGS + "search: {stopping: {enabled: false}}\n").stages[1]
    assert off.least == off.most
    assert off.most.training_tokens == pytest.approx(2 * 12 * 900, abs=9)


def test_points_beside_a_trial_cost_a_scoring_each_at_its_end_and_no_training(spec: Path) -> None:
    plain, given = (
        plan_of(
            spec,
            SMALL,
            f"training: {{budget_tokens: 900, rungs: [0.5, 1]{more}}}\n"
            "search: {stopping: {enabled: false}}\n",
        )
        for more in ("", ", interpolate: [0.8, 0.9]")
    )
    before, after = plain.stages[1].expected, given.stages[1].expected
    assert after.training_tokens == before.training_tokens and after.flops == before.flops
    # 12 trials of each model, scored at two rungs, and at two points after the second.
    each = 12 * sum(m.scored_tokens for m in plain.models)
    assert (before.scored_tokens, after.scored_tokens) == (2 * each, 4 * each)
    seconds = 12 * sum(2 * m.score_seconds for m in plain.models)
    assert after.busy_seconds - before.busy_seconds == pytest.approx(seconds)
    assert given.stages[2] == plain.stages[2], "confirmation scores one point"


def test_serving_scores_each_finalist_once_and_its_base_in_each_form(spec: Path) -> None:
    # 4 finalists and perhaps a random trial, 2 bases; bf16 not where the sweep computes in it.
    for serve, dtype, forms in (
        ("[bf16]", "auto", 1),
        ("[bf16, nf4]", "auto", 2),
        ("[bf16, nf4]", "bfloat16", 1),
    ):
        extra = f"serve: {serve}\ntraining: {{dtype: {dtype}}}\n"
        test = plan_of(spec, SMALL, extra).stages[3]
        assert (test.least.runs, test.most.runs) == (16 + 6 * forms, 19 + 7 * forms), serve


def test_looks_give_a_range_of_seeds(spec: Path) -> None:
    plan = plan_of(spec, SMALL, "confirm: {finalists: 4, looks: [2, 5]}\n")
    confirm = plan.stages[2]
    assert (confirm.least.runs, confirm.most.runs) == (4 * 2, 5 * 5)
    assert plan.stages[3].most.runs - plan.stages[3].least.runs == 17


def test_a_model_with_trials_of_its_own_is_counted_so(tmp_path: Path) -> None:
    path = make_world(tmp_path)
    text = path.read_text().replace("[m0, m1]", "[{path: m0, trials: 3}, m1]")
    path.write_text(text)
    plan = make_plan(prepare(load_spec(path), None), SMALL)
    assert plan.stages[1].expected.runs == 3 + 12


def test_the_limit_that_ends_the_search_first_is_named(spec: Path) -> None:
    search = plan_of(spec, SMALL).stages[1].expected
    half = search.training_tokens // 2
    plan = plan_of(spec, SMALL, f"limits: {{tokens: {half}, trials: 18, hours: 1000}}\n")
    assert "tokens ends the search first, after about 50% of it (12 trials" in plan.limits[-1]
    assert render_plan(plan).count("limit   ") == 4
    assert plan_of(spec, SMALL).limits == ()


def test_memory_is_listed_by_zero_stage_and_ranks(spec: Path) -> None:
    plan = plan_of(spec, GPU)
    full = plan.models[0].methods[0]
    by = {(s.zero_stage, s.world_size): s.memory_bytes for s in full.memory_by_stage}
    assert set(by) == {(s, w) for s in range(4) for w in (1, 2, 4, 8)}
    assert by[0, 8] > by[1, 8] > by[2, 8] > by[3, 8]
    assert "ZeRO 3" in render_plan(plan)


def test_on_a_gpu_the_guess_is_a_share_of_its_peak_in_the_dtype_used(spec: Path) -> None:
    h100 = Machine(8, 64 << 30, gpus=1, gpu_memory_bytes=80 << 30, gpu_name="NVIDIA H100 80GB HBM3")
    speed = plan_of(spec, h100).models[0].methods[0].speed
    assert speed.flops_per_second == 0.3 * 989e12 and "30% (assumed)" in speed.basis
    v100 = Machine(8, 64 << 30, gpus=1, gpu_memory_bytes=16 << 30, gpu_name="Tesla V100-SXM2-16GB")
    plan = plan_of(spec, v100)
    assert plan.dtype == "float32"
    assert plan.models[0].methods[0].speed.flops_per_second == pytest.approx(0.3 * 15.7e12)
