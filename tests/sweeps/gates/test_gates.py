"""Each gate finds what it is for, says where, and is silent on what is sound."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import SourceRef
from keepgain.core.errors import UserError
from keepgain.core.record import Question
from keepgain.core.rows import Row
from keepgain.sweeps.check import check
from keepgain.sweeps.gates.findings import Finding, has_errors, render_finding
from keepgain.sweeps.gates.groups import check_groups
from keepgain.sweeps.gates.lengths import check_lengths
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.repeats import Case, check_repeats, repeats
from keepgain.sweeps.gates.resources import Machine, check_resources, detect_machine, plan_slots
from keepgain.sweeps.gates.splits import check_duplicates, check_splits
from keepgain.sweeps.gates.suites import check_question, check_suites, detectable_difference
from keepgain.sweeps.gates.tokens import FolderTokenizer, token_stats
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.gates.whole import entries, whole
from tests.sweeps.tiny_models import TEMPLATE, make_model, make_world, write_jsonl


def row_set(label: str, questions: list[str], answer: str = "a", **kind: Any) -> RowSet:
    part = label.split("/")[1]
    rows = tuple(Row(str(i), "pair", prompt=q, answer=answer) for i, q in enumerate(questions))
    places = tuple(f"{label}.jsonl:{i + 1}" for i in range(len(rows)))
    return RowSet(label, part, rows, places, **kind)  # type: ignore[arg-type]


def train(questions: list[str], role: str = "task") -> RowSet:
    return row_set("data/train", questions, role=role)


def items(part: str, questions: list[str], measures: str = "gain", **more: Any) -> RowSet:
    more = {"scorer": "exact_match"} | more
    return row_set(f"suite/{part}", questions, measures=measures, **more)


def source(name: str, rows: int, role: Any) -> SourceRef:
    return SourceRef(name=name, role=role, path="", digest=name, rows=rows)


REFS = (source("task", 100, "task"), source("old", 50, "replay"))
TOKENS = {"task": 1000, "old": 1000}


def test_repeats_are_the_share_of_the_budget_over_the_tokens_of_the_rows() -> None:
    case = Case("", {"task": 0.75, "old": 0.25}, budget=8000)
    assert repeats(case, REFS, TOKENS, "tokens") == {"task": 6.0, "old": 2.0}
    half = Case("", {"task": 0.75, "old": 0.25}, budget=8000, rows=50)
    assert repeats(half, REFS, TOKENS, "tokens") == {"task": 12.0, "old": 2.0}


def test_repeats_of_a_budget_in_examples_count_rows() -> None:
    """Rows of 10 and of 20 tokens, half of the tokens each: two rows of the one to one of the
    other, so 300 examples are 200 and 100."""
    case = Case("", {"task": 0.5, "old": 0.5}, budget=300)
    assert repeats(case, REFS, TOKENS, "examples") == pytest.approx({"task": 2.0, "old": 2.0})


def test_rows_drawn_too_often_are_warned_of_with_what_leads_there() -> None:
    cases = [
        Case("rows 100", {"task": 0.5, "old": 0.5}, 8000, rows=100),
        Case("rows 50", {"task": 0.5, "old": 0.5}, 8000, rows=50),
        Case("rows 50, replay_share 0", {"task": 1.0}, 8000, rows=50),
    ]
    (finding,) = check_repeats(cases, REFS, TOKENS, {"task": 4.0, "old": 4.0}, "tokens")
    assert (finding.severity, finding.where) == ("warning", "data.task")
    assert (
        "each of 50 rows is drawn about 16.0 times with rows 50, replay_share 0" in finding.message
    )
    assert "1 of 8,000 tokens" in finding.message and "max_repeats is 4" in finding.message
    assert "2305.16264" in (finding.hint or "") and "data.task.max_repeats" in (finding.hint or "")
    assert not check_repeats(cases, REFS, TOKENS, {"task": 16.0, "old": 4.0}, "tokens")


@pytest.mark.parametrize(
    ("space", "warned"),
    [
        ("mixture: {tickets: [0.5, 1], general: [0, 0.5]}", "with most of 'general'"),
        ("mixture: {tickets: [0.9, 1], general: [0, 0.1]}", None),
        ("replay_share: {uniform: [0, 0.6]}", "with replay_share 0.6"),
        ("replay_share: {uniform: [0, 0.01]}", None),
        ("duration: {ordered: [1, 1.3, 2]}", "with duration 2"),
        ("duration: [0.5, 1]", None),
        ("rows: [100, 200]", "with rows 100"),
        ("rows: [300]", None),
    ],
)
def test_repeats_of_a_space_are_those_of_its_corners(
    tmp_path: Path, space: str, warned: str | None
) -> None:
    path = make_world(tmp_path, models=1)
    given = "mixture: {tickets: [0.5, 1], general: [0, 0.5]}"
    path.write_text(path.read_text().replace(given, space))
    found = [f for f in check(prepare(load_spec(path), None)) if f.code == "repeated_rows"]
    assert len(found) == (warned is not None)
    assert warned is None or warned in found[0].message


@pytest.mark.parametrize(
    ("a", "b", "code", "severity"),
    [
        (train(["x", "y"]), items("test", ["z", "y"]), "split_overlap", "error"),
        (train(["x", "y"]), items("validation", ["y"]), "split_overlap", "error"),
        (items("validation", ["y"]), items("test", ["y"]), "split_overlap", "error"),
        (train(["Is  Y? "]), items("test", ["is y?"]), "near_split_overlap", "warning"),
        (
            train(["y"], role="replay"),
            items("test", ["y"], "forgetting"),
            "replay_overlap",
            "error",
        ),
        (train(["y"], role="replay"), items("test", ["y"], "gain"), "split_overlap", "error"),
    ],
)
def test_overlap_is_found_with_both_places(a: RowSet, b: RowSet, code: str, severity: str) -> None:
    (finding,) = check_splits([a, b])
    assert (finding.code, finding.severity) == (code, severity)
    place_a, place_b = finding.rows[0].split(" = ")
    assert place_a.startswith(f"{a.label}.jsonl:") and place_b.startswith(f"{b.label}.jsonl:")


def test_disjoint_splits_have_no_finding() -> None:
    sets = [train(["a", "b"]), items("validation", ["c"]), items("test", ["d"])]
    assert check_splits(sets) == [] and check_duplicates(sets) == []


def test_overlap_is_counted_in_full_and_shown_in_part() -> None:
    questions = [f"q{i}" for i in range(10)]
    (finding,) = check_splits([train(questions), items("test", questions)])
    assert finding.message.startswith("10 of 10 questions")
    assert len(finding.rows) == 3
    assert whole(finding) == list(range(1, 11))
    assert entries(finding)[9] == {
        "file": "suite/test.jsonl",
        "line": 10,
        "id": "9",
        "other": {"file": "data/train.jsonl", "line": 10, "id": "9"},
    }


def test_items_asked_twice_are_counted() -> None:
    (finding,) = check_duplicates([items("test", ["a", "b", "a", "a"])])
    assert finding.message.startswith("2 of 4")
    assert finding.rows[0] == "suite/test.jsonl:3 asks as suite/test.jsonl:1"
    assert whole(finding) == [3, 4]


def test_few_items_say_what_they_can_resolve() -> None:
    questions = [f"q{i}" for i in range(50)]
    sets = [items("test", questions), items("validation", questions * 2, "forgetting")]
    (finding,) = check_suites(sets, None)
    assert (finding.code, finding.where) == ("few_items", "suite/test")
    assert "about 13 points" in finding.message  # 2.8016 * sqrt(.1 / 50) = .1253


def test_detectable_difference_agrees_with_the_planned_sample_size() -> None:
    # decisions.md 27: 7,850 items resolve one point at 10 % discordance and 80 % power.
    assert detectable_difference(7850, 0.10) == pytest.approx(0.01, rel=0.001)


def test_a_sweep_without_a_forgetting_suite_is_warned() -> None:
    questions = [str(i) for i in range(200)]
    (finding,) = check_suites([items("test", questions)], 0.03)
    assert (finding.code, finding.severity) == ("forgetting_not_measured", "warning")
    assert "0.03" in finding.message


@pytest.mark.parametrize(
    ("cost", "seeds", "scorer", "codes"),
    [
        ("parameters", 2, "bits_per_byte", []),
        ("parameters", 1, "exact_match", ["one_seed"]),
        ("usd_per_million_tokens", 3, "exact_match", []),
        ("usd_per_million_tokens", 3, "bits_per_byte", ["cost_not_measured"]),
    ],
)
def test_a_question_that_cannot_be_answered_is_warned(
    cost: str, seeds: int, scorer: str, codes: list[str]
) -> None:
    suites = [train(["x"]), items("test", ["y"], scorer=scorer)]
    findings = check_question(Question(cost=cost), seeds, suites)
    assert [f.code for f in findings] == codes
    assert all(f.severity == "warning" for f in findings)


def test_check_asks_whether_the_question_can_be_answered(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    path.write_text(path.read_text().replace("seeds: 3", "seeds: 1"))
    assert "one_seed" in {f.code for f in check(prepare(load_spec(path), None), SMALL)}


def test_exact_match_of_long_answers_is_warned() -> None:
    questions = [str(i) for i in range(200)]
    sets = [
        items("validation", questions, answer="x" * 300),
        items("test", questions, "forgetting"),
    ]
    assert [f.code for f in check_suites(sets, None)] == ["long_answers"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> FolderTokenizer:
    return FolderTokenizer(make_model(tmp_path_factory.mktemp("m") / "m", template=TEMPLATE))


def test_long_rows_are_counted_not_silent(tokenizer: FolderTokenizer) -> None:
    # the template adds 19 tokens: <user> and <assistant>, two ends
    data = row_set("data/train", ["x" * 10, *["x" * 40] * 5], answer="a", role="task")
    cut = row_set("suite/test", ["x"], answer="a" * 50, measures="gain")
    stats = {("m", s.label): token_stats(tokenizer, s.rows, 40) for s in (data, cut)}
    assert stats["m", "data/train"].longest == 40 + 1 + 19
    found = check_lengths([data, cut], stats, 40, {"m": None})
    assert [(f.code, f.where, f.rows) for f in found] == [
        ("prompts_cut", "data/train", tuple(f"data/train.jsonl:{n}" for n in (2, 3, 4))),
        ("answers_cut", "suite/test", ("suite/test.jsonl:1",)),
    ]
    assert [e["line"] for e in entries(found[0])] == [2, 3, 4, 5, 6]
    assert check_lengths([data, cut], stats, 40, {"m": 16})[-1].code == "beyond_context"


def test_models_with_one_tokenizer_are_not_warned_twice(tokenizer: FolderTokenizer) -> None:
    data = row_set("data/train", ["x" * 40], role="task")
    stats = token_stats(tokenizer, data.rows, 40)
    both = {("m", data.label): stats, ("n", data.label): stats}
    assert len(check_lengths([data], both, 40, {})) == 1


SMALL = Machine(cpus=2, memory_bytes=8 << 30)
GPUS = Machine(cpus=16, memory_bytes=64 << 30, gpus=4, gpu_memory_bytes=80 << 30)


@pytest.mark.parametrize(
    ("machine", "asked", "slots", "gpus"),
    [
        (SMALL, {}, 2, 0.0),
        (SMALL, {"cpus_per_trial": 0.5}, 4, 0.0),
        (SMALL, {"slots": 1}, 1, 0.0),
        (GPUS, {}, 4, 1.0),
        (GPUS, {"gpus_per_trial": 2}, 2, 2.0),
        (GPUS, {"gpus_per_trial": 0.5}, 8, 0.5),
        (GPUS, {"gpus_per_trial": 0}, 16, 0.0),
        (GPUS, {"workers_per_trial": 2}, 2, 2.0),
        (GPUS, {"gpus_per_trial": 0.4}, 8, 0.4),
        (GPUS, {"workers_per_trial": 2, "placement": "spread"}, 2, 2.0),
    ],
)
def test_as_many_trials_as_fit(
    machine: Machine, asked: dict[str, Any], slots: int, gpus: float
) -> None:
    planned = plan_slots(machine, **asked)
    assert (planned.count, planned.gpus_per_trial) == (slots, gpus)


@pytest.mark.parametrize(
    ("machine", "asked", "arithmetic"),
    [
        (SMALL, {"gpus_per_trial": 1}, "one trial × 1 GPUs = 1 GPUs, and this machine has 0"),
        (SMALL, {"slots": 3}, "3 trials × 1 CPUs = 3 CPUs, and this machine has 2"),
        (GPUS, {"slots": 3, "gpus_per_trial": 2}, "3 trials × 2 GPUs = 6 GPUs"),
        (GPUS, {"workers_per_trial": 2, "gpus_per_trial": 1}, "each needs one"),
        (GPUS, {"workers_per_trial": 2, "gpus_per_trial": 4}, "each needs one"),
        (
            GPUS,
            {"workers_per_trial": 2, "placement": "strict_spread"},
            "2 workers on 2 different machines, and this is one machine",
        ),
    ],
)
def test_more_than_there_is_is_refused_with_the_sum(
    machine: Machine, asked: dict[str, Any], arithmetic: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan_slots(machine, **asked)
    assert arithmetic in str(caught.value)


def test_a_cluster_is_not_judged_by_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"cpus_per_trial": None, "gpus_per_trial": 8.0, "slots": None, "workers_per_trial": 1}
    assert has_errors(check_resources(SMALL, **asked))  # type: ignore[arg-type]
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert not has_errors(check_resources(SMALL, **asked))  # type: ignore[arg-type]


def test_this_machine_has_something() -> None:
    machine = detect_machine()
    assert machine.cpus >= 1 and machine.memory_bytes > 1 << 28


def test_gpus_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 81559, NVIDIA H100 80GB HBM3\necho 40960, NVIDIA A100\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine = detect_machine()
    assert (machine.gpus, machine.gpu_memory_bytes) == (2, 40960 << 20)
    assert machine.gpu_name == "NVIDIA H100 80GB HBM3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert detect_machine().gpus == 0


def test_check_finds_a_leak_in_real_files(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    general = [json.loads(x) for x in (tmp_path / "general_eval.jsonl").read_text().splitlines()]
    write_jsonl(tmp_path / "general.jsonl", [*general[:5], {"text": "other"}])
    errors = [f for f in check(prepare(load_spec(path), None), SMALL) if f.severity == "error"]
    assert {f.code for f in errors} == {"replay_overlap"}
    assert sum(int(f.message.split()[0]) for f in errors) == 5
    path.write_text(path.read_text() + "allow: [replay_overlap]\n")
    assert not has_errors(check(prepare(load_spec(path), None), SMALL))


def test_a_finding_reads_as_two_or_three_lines() -> None:
    finding = Finding(
        code="c", severity="error", where="w", message="m.", rows=("f:1", "f:2"), hint="h."
    )
    assert render_finding(finding) == "error: w: m. [c]\n  e.g. f:1; f:2\n  h."


def test_weights_by_group_on_rows_without_groups_are_said_to_do_nothing() -> None:
    keys = ["training.balance_by"]
    none = train(["q1", "q2"])
    replay = replace(train(["q3"], "replay"), rows=(Row("r", "pair", group="x"),))
    (found,) = check_groups([none, replay], keys)
    assert (found.code, found.severity, found.where) == ("no_groups", "warning", keys[0])
    assert "of 2 rows to train on none has a `group`" in found.message
    one = replace(none, rows=tuple(replace(r, group="g") for r in none.rows))
    assert "all have the group 'g'" in check_groups([one], keys)[0].message
    two = replace(none, rows=(replace(none.rows[0], group="g"), replace(none.rows[1], group="h")))
    assert check_groups([two], keys) == []
    assert check_groups([none], []) == []
