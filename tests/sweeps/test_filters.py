"""Filters of sources: which rows are left, and what that changes of trials and what not."""

import json
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.core.rows import read_rows
from keepgain.sweeps.check import check_sweep, chosen_gates
from keepgain.sweeps.cli.check import render, summary
from keepgain.sweeps.plan.plan import make_plan
from keepgain.sweeps.plan.text import render_plan
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world, write_jsonl

PARAMS = {"method": "lora", "learning_rate": 1e-4, "lora.rank": 8}
TICKETS = "tickets: {path: tickets.jsonl, role: task, split: auto"
MIXTURE = "mixture: {tickets: [0.5, 1], general: [0, 0.5]}"
GENERAL = "general: {path: general.jsonl, role: replay"
PLANTED = [
    ("general fact 3", "duplicates"),
    ("write to jane.doe@acme-works.co.uk about fact 7", "personal_data"),
    ("as an ai language model I know fact 8", "broken"),
    ("a fact with far more words than any of the others has " * 2, "max_words"),
]
CLEAN = (
    "filters: {clean: [duplicates, personal_data, broken], brief: {max_words: 12}, "
    "same: {min_words: 1}}"
)


def world(folder: Path, space: str, filters: str = CLEAN, rows: int = 100) -> Path:
    """With 100 good rows of the source `general` before one of each planted fault."""
    path = make_world(folder, models=1)
    texts = [f"general fact {i}" for i in range(rows)] + [text for text, _ in PLANTED]
    write_jsonl(folder / "general.jsonl", [{"text": text} for text in texts])
    text = path.read_text().replace(GENERAL, f"{GENERAL}, {filters}")
    path.write_text(text.replace(f"  {MIXTURE}", f"  {space}\n  {MIXTURE}"))
    return path


def ready(folder: Path, space: str, **more: Any) -> Prepared:
    return prepare(load_spec(world(folder, space, **more)), None)


def test_a_filter_leaves_out_the_rows_that_the_gates_find_and_says_which(tmp_path: Path) -> None:
    path = world(tmp_path, "filter.general: [none, clean, brief, same]")
    prepared = prepare(load_spec(path), tmp_path / "sweep")
    shares = {"mixture.tickets": 0.5, "mixture.general": 0.5}
    trials = {
        name: prepared.trial_config("m0", PARAMS | shares | {"filter.general": name})
        for name in ("none", "clean", "brief", "same")
    }
    refs = {name: {s.name: s for s in t.sources}["general"] for name, t in trials.items()}
    assert {name: ref.rows for name, ref in refs.items()} == {
        "none": 104, "clean": 101, "brief": 103, "same": 104,
    }  # fmt: skip
    plain = prepared.trial_config("m0", PARAMS | shares)
    assert trials["none"].trial_id == trials["same"].trial_id == plain.trial_id
    assert len({t.trial_id for t in trials.values()}) == 3
    assert len({(str(t.mixture), t.budget) for t in trials.values()}) == 1
    left = [row.text for row in read_rows(Path(refs["clean"].path))]
    assert left == [f"general fact {i}" for i in range(100)] + [PLANTED[3][0]]
    listed = (tmp_path / "sweep" / "data" / "general.clean.left_out.jsonl").read_text()
    found = [json.loads(line) for line in listed.splitlines()]
    assert [f["reasons"] for f in found] == [[fault] for _, fault in PLANTED[:3]]
    assert [f["place"] for f in found] == [f"{tmp_path}/general.jsonl:{n}" for n in (101, 102, 103)]
    assert "jane" not in listed
    for name in ("clean", "brief"):
        assert prepare(load_spec(path), None).filtered_refs["general", name].digest == (
            refs[name].digest
        )


def test_check_and_plan_count_what_a_filter_leaves(tmp_path: Path) -> None:
    prepared = ready(tmp_path, "filter.general: clean")
    said = "clean: 101 of 104 rows (duplicates 1, personal_data 1, broken 1)"
    checked = check_sweep(prepared, gates=())
    assert f"  filter  general          {said}" in render(prepared, checked).splitlines()
    facts = summary(prepared, checked)["sources"]
    assert [s["filters"] for s in facts] == [
        {},
        {
            "clean": {
                "rows": 101,
                "left_out": {"duplicates": 1, "personal_data": 1, "broken": 1},
                "note": "",
            }
        },
    ]
    assert f"filter  general {said}" in render_plan(make_plan(prepared)).splitlines()


def test_sweeps_without_filters_are_the_same_sweeps_as_before(tmp_path: Path) -> None:
    plain = prepare(load_spec(make_world(tmp_path / "plain", models=1)), None)
    assert plain.sweep_id == "ticket-routing-35bba0"
    assert plain.trial_config("m0", PARAMS).trial_id == "662fec452032"
    unused = make_world(tmp_path / "unused", models=1)
    unused.write_text(unused.read_text().replace(GENERAL, f"{GENERAL}, {CLEAN}"))
    prepared = prepare(load_spec(unused), None)
    assert prepared.sweep_id == plain.sweep_id and not prepared.variants


def test_what_a_filter_leaves_is_part_of_the_sweep(tmp_path: Path) -> None:
    space = "filter.general: [none, brief]"
    before, after = (
        ready(tmp_path / name, space, filters=f"filters: {{brief: {{max_words: {most}}}}}")
        for name, most in (("a", 12), ("b", 5))
    )
    assert before.sweep_id != after.sweep_id
    ids = [p.trial_config("m0", PARAMS).trial_id for p in (before, after)]
    assert ids[0] == ids[1]


def test_labels_that_are_probably_wrong_are_left_out(tmp_path: Path) -> None:
    """400 rows of two labels that a word tells; ten of them say the other one."""
    path = make_world(tmp_path, models=1)
    words = ("invoice payment refund", "password login account")
    rows = [
        {"prompt": f"{words[i % 2]} {i * 37 % 101} {i}", "answer": ("money", "access")[i % 2]}
        for i in range(400)
    ]
    wrong = range(20, 400, 38)
    for i in wrong:
        rows[i]["answer"] = ("access", "money")[i % 2]
    write_jsonl(tmp_path / "tickets.jsonl", rows)
    filters = "filters: {sure: [label_errors], agreed: [label_conflicts]}"
    text = path.read_text().replace(TICKETS, f"{TICKETS}, {filters}")
    path.write_text(text.replace(MIXTURE, "filter.tickets: [none, sure, agreed]"))
    prepared = prepare(load_spec(path), None)
    sure, agreed = (prepared.variants["tickets", name] for name in ("sure", "agreed"))
    lines = {int(json.loads(line)["place"].rpartition(":")[2]) for line in sure.left_out()}
    trained = {int(p.rpartition(":")[2]) for p in prepared.sources["tickets"].train.places}
    assert lines == {i + 1 for i in wrong} & trained and len(lines) > 5
    assert agreed.kept.all() and agreed.label == "tickets/train"


def test_a_filter_that_cannot_see_says_so(tmp_path: Path) -> None:
    prepared = ready(tmp_path, "filter.general: x", filters="filters: {x: [label_errors]}")
    assert prepared.variants["general", "x"].said == (
        "x: 104 of 104 rows (label_errors 0; no labels that a model can learn)"
    )


def test_rows_left_by_a_filter_repeat_more_often(tmp_path: Path) -> None:
    space = "filter.general: [none, few]"
    filters = "filters: {few: {min_words: 8}}"
    gates = chosen_gates(["repeats"], [])
    (finding,) = check_sweep(ready(tmp_path, space, filters=filters), gates=gates).findings
    assert "each of 2 rows" in finding.message and "filter.general few" in finding.message


@pytest.mark.parametrize(
    ("filters", "space", "words"),
    [
        (
            CLEAN,
            "filter.general: [none, tidy]",
            r"space\.filter\.general \(line \d+\): .*no filter 'tidy'.*Known: none, clean",
        ),
        (CLEAN, "filter.tickts: clean", r"unknown source 'tickts'"),
        (
            "filters: {x: {max_words: 1}}",
            "filter.general: x",
            r"data\.general\.filters\.x \(line \d+\): .*leaves nothing of 'general': "
            r"x: 0 of 104 rows \(max_words 104\)",
        ),
        (
            "filters: {x: [typos]}",
            "filter.general: x",
            r"filters\.x.*Input should be 'duplicates', 'near_duplicates'",
        ),
        ("filters: {x: {}}", "filter.general: x", "needs `drop`"),
        ("filters: {none: [broken]}", "filter.general: none", "stands for all rows"),
        (
            "filters: {x: [broken]}, answers: base",
            "filter.general: x",
            r"data\.general\.filters .*yet to answer",
        ),
    ],
)
def test_filters_that_cannot_be_used_are_refused(
    tmp_path: Path, filters: str, space: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        ready(tmp_path, space, filters=filters)


def test_subsets_larger_than_what_a_filter_leaves_are_refused(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    filters = "filters: {first: {max_words: 5}}"  # `route ticket 7 desk 0`
    text = path.read_text().replace(TICKETS, f"{TICKETS}, {filters}")
    write_jsonl(
        tmp_path / "tickets.jsonl",
        [
            {"prompt": f"route ticket {i}" + " again" * (i % 2), "answer": f"desk {i % 7}"}
            for i in range(400)
        ],
    )
    path.write_text(text.replace(MIXTURE, "filter.tickets: [none, first]\n  rows: [100, 300]"))
    with pytest.raises(UserError, match=r"300 rows .* training rows left by a filter"):
        prepare(load_spec(path), None)
