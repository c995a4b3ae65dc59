"""Finalists as served, in a sweep: what is asked for, what is refused, where results go."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keepgain.analysis.analyze import analyze
from keepgain.core.errors import UserError
from keepgain.core.record import RungReport, Served
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.check import check
from keepgain.sweeps.gates.resources import Machine
from keepgain.sweeps.job import Job
from keepgain.sweeps.model_card import _served
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.recorder import DRIVER
from keepgain.sweeps.search.ledger import Asked
from keepgain.sweeps.search.replay import RunState
from keepgain.sweeps.served import SCORES_OF, form_of, served_results, to_serve
from keepgain.sweeps.spec import load_spec
from tests.analysis.evidence import ones
from tests.analysis.test_served import of
from tests.sweeps.test_program import Sweep, comparable, edit
from tests.sweeps.tiny_models import make_world

CPU = Machine(cpus=2, memory_bytes=16 << 30)
GPU = Machine(cpus=16, memory_bytes=64 << 30, gpus=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_world(tmp_path_factory.mktemp("world"), models=1)
    edit(path, "trials_per_model: 12", "trials_per_model: 2")
    edit(path, "{finalists: 4, seeds: 3}", "{finalists: 1, seeds: 2}")
    edit(path, "prices:", "training: {budget_tokens: 1000}\nserve: [bf16]\nprices:")
    return path


@pytest.fixture(scope="module")
def undisturbed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(world, tmp_path_factory.mktemp("undisturbed")).run()


def fail_served(kinds: set[str]) -> Callable[[Job, int], FailureCause | None]:
    def fail(job: Job, attempt: int) -> FailureCause | None:
        served = form_of(job.asked) is not None and job.asked.kind in kinds
        return FailureCause.OUT_OF_MEMORY if served else None

    return fail


def served_runs(sweep: Sweep) -> list[RunState]:
    return [r for r in sweep.by_stage(Stage.TEST) if form_of(r.asked) is not None]


def test_the_first_seed_of_each_finalist_and_its_base_are_scored_once_more(
    undisturbed: Sweep,
) -> None:
    assert undisturbed.program.aborted is None
    confirmed = undisturbed.by_stage(Stage.CONFIRM)
    first: dict[str, str] = {}
    for run in confirmed:
        first.setdefault(run.asked.trial_id, run.run_key)
    (base,) = [r.run_key for r in undisturbed.by_stage(Stage.BASE) if r.asked.kind == "base"]
    served = served_runs(undisturbed)
    assert [r.asked.params[SCORES_OF] for r in served] == [*first.values(), base]
    assert len(served) < len(confirmed) + 1
    for run in served:
        own = next(
            r
            for r in undisturbed.by_stage(Stage.TEST)
            if r.asked.params == {SCORES_OF: run.asked.params[SCORES_OF]}
        )
        configs = [dict(r.asked.config) for r in (own, run)]
        assert [c.pop("served") for c in configs] == [None, "bf16"]
        assert configs[0] == configs[1], "the same items, weights and runtime"
        assert own.run_key != run.run_key
    (opened,) = undisturbed.opened
    assert len(opened) == len(undisturbed.by_stage(Stage.TEST)) - len(served)


def test_the_record_keeps_them_beside_the_run_and_not_in_it(undisturbed: Sweep) -> None:
    evidence = undisturbed.evidence()
    runs = {r.run_key: r for r in evidence.sweep.runs}
    assert not any(r.stage is Stage.TEST for r in runs.values())
    for served in served_runs(undisturbed):
        run, report = runs[str(served.asked.params[SCORES_OF])], served.last_report
        assert report is not None
        assert run.served == (Served(form="bf16", metrics=report.metrics, cost=report.cost),)
        assert run.metrics["test/gain"] != report.metrics["test/gain"]
        items = {s.suite: s for k, s in evidence.items if k == run.run_key and s.split == "test"}
        assert set(items) == {n for s in ("gain", "forgetting") for n in (s, f"served/bf16/{s}")}
        assert items["gain"].mean == run.metrics["test/gain"]
        assert items["served/bf16/gain"].mean == report.metrics["test/gain"]
    assert sum(bool(r.served) for r in runs.values()) == len(served_runs(undisturbed))


def test_mlflow_has_them_on_the_run_under_names_of_their_own(undisturbed: Sweep) -> None:
    (run, *_) = served_runs(undisturbed)
    lines = (undisturbed.folder / "spool" / f"{DRIVER}.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert not any(e["run_key"] == run.run_key for e in events), "no run of its own"
    mine = [e for e in events if e["run_key"] == run.asked.params[SCORES_OF]]
    points = [e["values"] for e in mine if e["event"] == "metrics"]
    (served,) = [p for p in points if any(k.startswith("served/") for k in p)]
    assert run.last_report is not None
    gain = run.last_report.metrics["test/gain"]
    assert served["served/bf16/test/gain"] == gain
    assert served["served/bf16/cost/train_seconds"] == 1.0
    assert all(k.startswith("served/bf16/") for k in served)
    assert gain not in [p.get("final/test/gain") for p in points]


def test_an_interrupted_or_failed_one_is_scored_by_the_next_driver(
    world: Path, tmp_path: Path, undisturbed: Sweep
) -> None:
    steps = len(undisturbed.reported) - 1
    stopped = Sweep(world, tmp_path, fail=fail_served({"trial"})).run(slots=1, steps=steps)
    assert TrialStatus.FAILED in {r.status for r in served_runs(stopped)}
    assert Stage.TEST not in stopped.stages
    again = Sweep(world, tmp_path).run()
    assert again.stages == [Stage.TEST]
    served = {r.run_key for r in served_runs(again)}
    assert {key for key, _ in again.worker.worked} <= served, "nothing else is done again"
    assert comparable(again.evidence()) == comparable(undisturbed.evidence())


def test_without_them_the_decision_is_made_and_says_so(world: Path, tmp_path: Path) -> None:
    sweep = Sweep(world, tmp_path, fail=fail_served({"trial", "base"})).run()
    assert sweep.program.aborted is None and sweep.stages[-1] is Stage.TEST
    served = served_runs(sweep)
    said = "has no test scores as served in bf16 (out_of_memory: as the test wants)"
    assert sweep.said.getvalue().count(said) == len(served)
    results = [s for r in sweep.evidence().sweep.runs for s in r.served]
    assert {s.failure for s in results} == {"out_of_memory: as the test wants"}
    assert len(results) == len(served)
    assert not any(s.suite.startswith("served/") for _, s in sweep.evidence().items)


def run_of(stage: Stage, method: str, dtype: str, key: str, kind: str = "trial") -> RunState:
    asked = Asked.model_validate(
        {"run_key": key, "trial_id": key[:1], "seed": 0, "stage": stage, "kind": kind,
         "model": "m", "config": {"method": method}}
    )  # fmt: skip
    report = RungReport(
        run_key=key, rung=0, tokens=0, examples=0, final=True, metrics={}, items_path="x",
        numerics={"dtype": dtype},
    )  # fmt: skip
    return RunState(asked, reports=(report,), status=TrialStatus.COMPLETED)


@pytest.mark.parametrize(
    ("method", "dtype", "scored"),
    [
        ("full", "float32", {"bf16", "int8", "nf4"}),
        ("full", "bfloat16", {"int8", "nf4"}),
        ("lora", "bfloat16", {"int8", "nf4"}),
        ("qlora", "bfloat16", {"bf16", "int8"}),
        ("qlora", "float32", {"bf16", "int8", "nf4"}),
    ],
)
def test_what_a_run_computes_in_anyway_is_not_scored_twice(
    method: str, dtype: str, scored: set[str]
) -> None:
    runs = [
        run_of(Stage.BASE, "", dtype, "base", "base"),
        run_of(Stage.CONFIRM, method, dtype, "t-s1"),
        run_of(Stage.CONFIRM, method, dtype, "t-s2"),
    ]
    forms = ("bf16", "int8", "nf4")
    found = to_serve(runs, forms)
    assert {f for r, f in found if r.run_key == "t-s1"} == scored
    assert not any(r.run_key == "t-s2" for r, _ in found)
    in_bf16 = {"bf16"} if dtype == "bfloat16" else set()
    assert {f for r, f in found if r.run_key == "base"} == scored - in_bf16
    by_key = {r.run_key: r for r in runs}
    assert served_results(by_key, forms) == {}, "before the test stage"
    tested = by_key | {"x": run_of(Stage.TEST, method, dtype, "x")}
    same = {s.form for s in served_results(tested, forms).get("t-s1", ()) if s.same}
    assert same == {*forms} - scored


def spec_with(folder: Path, line: str, device: str | None = None) -> Path:
    path = make_world(folder, models=1)
    more = "" if device is None else f"resources: {{device: {device}}}\n"
    path.write_text(path.read_text() + more + line + "\n")
    return path


def test_quantised_forms_are_refused_by_key_where_they_cannot_be(tmp_path: Path) -> None:
    path = spec_with(tmp_path / "a", "serve: [bf16, int8, nf4]", "cpu")
    with pytest.raises(UserError) as refused:
        load_spec(path)
    assert refused.value.where == f"{path}:serve (line {len(path.read_text().splitlines())})"
    said = "serving in int8 and nf4 (weights quantised by the package bitsandbytes) needs a CUDA"
    assert said in refused.value.problem
    assert refused.value.hint == "Remove int8 and nf4 from `serve`."


def test_check_looks_for_a_gpu_and_for_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    quantised = prepare(load_spec(spec_with(tmp_path / "a", "serve: [bf16, nf4]")), None)

    def found(machine: Machine, prepared=quantised) -> list[tuple[str, str, str | None]]:
        return [
            (f.code, f.severity, f.hint) for f in check(prepared, machine) if f.where == "serve"
        ]

    assert found(CPU) == [("needs_gpu", "error", "Remove nf4 from `serve`.")]
    for there in (True, False):
        name = "keepgain.sweeps.methods.find_spec"
        monkeypatch.setattr(name, lambda _, there=there: object() if there else None)
        hint = "Install it, or remove nf4 from `serve`."
        assert found(GPU) == ([] if there else [("needs_package", "error", hint)])
    plain = prepare(load_spec(spec_with(tmp_path / "b", "serve: [bf16]")), None)
    assert found(CPU, plain) == []
    assert plain.sweep_id != quantised.sweep_id
    assert {m.trial_id for m in (plain.base_config("m0"), quantised.base_config("m0"))} == {
        plain.base_config("m0").trial_id
    }


@pytest.mark.parametrize("forms", ["[bf16, bf16]", "[fp8]", "bf16"])
def test_forms_are_known_and_different(tmp_path: Path, forms: str) -> None:
    with pytest.raises(UserError) as refused:
        load_spec(spec_with(tmp_path, f"serve: {forms}"))
    assert ":serve" in str(refused.value.where)


def test_the_model_card_says_what_was_served_and_what_was_not() -> None:
    analysis = analyze(of(ones(70, 100, start=10), ones(57, 100)))
    card = _served(analysis, "trial", refit=False)
    (line,) = [part for part in card.splitlines() if "| nf4 |" in part]
    assert "-0.100 [-0.160, -0.040]" in line and "512 B of 2 KiB" in line
    assert "weights of seed 0.\n" in card
    assert "weights of seed 0. Not of this refit." in _served(analysis, "trial", refit=True)
    assert "in no other form" in _served(analysis, "another", refit=False)
