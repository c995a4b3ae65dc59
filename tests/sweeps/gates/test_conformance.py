"""Rows that break what `data_spec` says are found by file and line, one finding a rule."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.core.schema import parse
from keepgain.sweeps.gates import conformance
from keepgain.sweeps.gates.conformance import ContentProbe, check_conformance, check_declared
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.scan import scan
from keepgain.sweeps.spec_data import DataRules
from tests.sweeps.gates.whole import whole


def rules(text: str) -> DataRules:
    return parse(DataRules, yaml.safe_load(text), source="data_spec")


def answers(*given: str, label: str = "tickets/train") -> RowSet:
    rows = tuple(Row(str(i), "pair", prompt=f"q {i}", answer=a) for i, a in enumerate(given))
    places = tuple(f"t.jsonl:{i + 1}" for i in range(len(rows)))
    return RowSet(label, "train", rows, places, role="task", source="tickets")


def found(text: str, *sets: RowSet) -> list[Finding]:
    return check_conformance(sets, rules(text).checks)


@pytest.mark.parametrize(
    ("rule", "good", "bad", "code", "severity"),
    [
        ("answer: {pattern: 'desk [0-9]'}", "desk 7 ", "the desk 7", "answer_format", "error"),
        ("answer: {type: json}", '{"a": [1]}', "{a: 1}", "answer_type", "error"),
        ("answer: {type: number, decimal: ','}", "1.234,5", "1,234.5", "answer_type", "error"),
        ("answer: {type: number, max: 9}", "-12", "9.5", "answer_value", "error"),
        ("answer: {type: number, min: 0}", "0", "-1", "answer_value", "error"),
        (
            "answer: {type: date, formats: ['%d.%m.%Y']}",
            "1.2.2026",
            "1/2/26",
            "answer_type",
            "error",
        ),
        ("answer: {allowed: [yes, 3]}", "3", "4", "answer_value", "error"),
        ("answer: {max_words: 2}", "two  words", "now three words", "answer_length", "warning"),
        ("answer: {min_characters: 2}", "ab", "a", "answer_length", "warning"),
        ("labels: [a, b]", " b", "c", "unknown_label", "error"),
        ("entities: {ticket: 'T-[0-9]+'}", "see T-12.", "see T-x", "missing_entity", "error"),
        ("entities: {desk: [north, south]}", "to south", "to east", "missing_entity", "error"),
        ("style: {must_match: {stop: '[.]$'}}", "Done.", "Done", "style", "warning"),
        ("style: {must_not_match: {sorry: '(?i)sorry'}}", "No.", "Sorry.", "style", "warning"),
    ],
)
def test_each_rule_finds_the_row_that_breaks_it_and_no_other(
    rule: str, good: str, bad: str, code: str, severity: str
) -> None:
    assert found(rule, answers(good, good)) == []
    (finding,) = found(rule, answers(good, bad, good, bad))
    assert (finding.code, finding.severity) == (code, severity)
    assert (finding.rows, finding.count, finding.of) == (("t.jsonl:2", "t.jsonl:4"), 2, 4)
    assert finding.where.startswith("data_spec.") and finding.figures == {"share": 0.5}


def test_a_rule_has_one_finding_over_all_sets_with_the_counts_of_each() -> None:
    sets = [answers("a", "c", "c"), answers("c", label="gain/test"), answers("b", label="x/test")]
    (finding,) = found("labels: [a, b]", *sets)
    assert "3 of 5 rows have an answer that is none of the 2 labels ('a', 'b')" in finding.message
    assert finding.message.endswith("In tickets/train 2, gain/test 1.")
    assert whole(finding) == [2, 3, 1]


def test_questions_have_lengths_and_plain_texts_are_answers_without_a_question() -> None:
    text = Row("t", "text", text="one two three")
    chat = Row(
        "c",
        "chat",
        messages=(
            {"role": "system", "content": "short"},
            {"role": "user", "content": "one two"},
            {"role": "assistant", "content": "ok"},
        ),
        answer="ok",
    )
    sets = replace(answers(), rows=(text, chat), places=("a:1", "a:2"))
    (question,) = found("question: {max_words: 2}", sets)
    assert question.rows == ("a:2",)
    assert found("question: {max_words: 3}", sets) == [], "names of roles are no words of it"
    (answer,) = found("answer: {max_words: 2}", sets)
    assert answer.rows == ("a:1",)


FIELDS = [
    {"n": 3, "d": "2026-01-31", "ok": True, "t": "x" * 300},
    {"n": "1,000", "d": "31.01.2026", "ok": "false", "t": ["a"]},
    {"n": "many", "d": "soon", "ok": 1, "t": "y"},
    {"n": None, "d": " ", "t": 5},
]


def of_file(tmp_path: Path, rows: list[dict[str, Any]], wanted: list[int]) -> RowSet:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": "p", "answer": "a", **r}) + "\n" for r in rows))
    rows_ = tuple(Row(str(i), "pair", prompt="p", answer="a") for i in wanted)
    return RowSet("s/train", "train", rows_, tuple(f"{path}:{i}" for i in wanted), source="s")


@pytest.mark.parametrize(
    ("rule", "code", "lines"),
    [
        ("n: {required: true}", "field_missing", [4]),
        ("n: {type: number}", "field_type", [3]),
        ("n: {type: number, max: 500}", "field_value", [2]),
        ("n: {type: number, max: 500}", "field_type", [3]),
        ("d: {type: date}", "field_type", [2, 3]),
        ("d: {type: date, formats: ['%d.%m.%Y']}", "field_type", [3]),
        ("d: {required: true}", "field_missing", [4]),
        ("ok: {type: bool}", "field_type", [3]),
        ("ok: {allowed: [true]}", "field_value", [2, 3]),
        ("t: {type: text}", "field_type", [2, 4]),
        ("t: {max_characters: 10, required: true}", "field_length", [1]),
        ("none: {required: true}", "field_missing", [1, 2, 3, 4]),
        ("none: {type: number}", None, []),
    ],
)
def test_fields_are_looked_at_as_the_file_has_them(
    tmp_path: Path, rule: str, code: str | None, lines: list[int]
) -> None:
    findings = found(f"fields: {{{rule}}}", of_file(tmp_path, FIELDS, [1, 2, 3, 4]))
    assert [f.code for f in findings if f.code == code] == ([code] if code else [])
    for finding in findings:
        if finding.code == code:
            numbers = [int(place.rpartition(":")[2]) for place in finding.rows]
            assert numbers == lines[:3] and finding.count == len(lines)


def test_fields_of_rows_that_are_not_in_the_set_count_for_nothing(tmp_path: Path) -> None:
    rows = of_file(tmp_path, FIELDS, [1, 3])
    (finding,) = found("fields: {n: {type: number}}", rows)
    assert (finding.count, finding.of) == (1, 2) and finding.rows[0].endswith("rows.jsonl:3")


def test_labels_in_a_field_of_their_own_are_looked_up_there(tmp_path: Path) -> None:
    rows = of_file(tmp_path, [{"kind": "x"}, {"kind": "z"}, {}], [1, 2, 3])
    (finding,) = found("{labels: [x, y], columns: {label: kind}}", rows)
    assert finding.count == 1 and finding.rows[0].endswith(":2")


def test_what_the_probe_measured_in_chunks_gives_the_same_findings() -> None:
    given = rules("{labels: [a, b], answer: {max_characters: 2}}")
    rows = answers(*(["a", "ccc", "b"] * 1_500))
    (probe,) = ContentProbe.of(given.checks)
    measured = {rows.label: scan(rows.rows, [probe])[probe.name]}
    assert check_conformance([rows], given.checks, measured) == check_conformance(
        [rows], given.checks
    )
    assert ContentProbe.of(rules("fields: {a: {required: true}}").checks) == []


def test_a_pattern_that_takes_for_ever_is_refused_with_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conformance, "PATTERN_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"data_spec\.answer\.pattern: matching took more than"):
        found("answer: {pattern: '(a+)+'}", answers("a" * 40 + "b"))


def test_sources_without_a_licence_are_named_where_others_have_one() -> None:
    (finding,) = check_declared({"a": "MIT", "b": None}, ["a", "b"])
    assert (finding.code, finding.where) == ("source_undeclared", "data.b")


def test_copies_of_a_line_and_lines_in_any_order_are_all_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"kind": k}) + "\n" for k in "aabb"))
    lines = (4, 1, 1, 3, 3, 2)
    rows = tuple(Row(str(i), "pair", prompt="q", answer="a") for i in range(len(lines)))
    copies = RowSet("t/train", "train", rows, tuple(f"{path}:{n}" for n in lines), role="task")
    (one,) = found("fields: {kind: {allowed: [a]}}", copies)
    assert one.count == 3 and one.rows == (f"{path}:4", f"{path}:3", f"{path}:3")


def test_pairs_that_the_spec_holds_have_no_fields(tmp_path: Path) -> None:
    spec = tmp_path / "sweep.yaml"
    spec.write_text("name: x\n")
    rows = (Row("1", "pair", prompt="q", answer="a"),)
    pairs = RowSet("gain/test", "test", rows, (f"{spec}:1",), measures="gain")
    assert found("fields: {kind: {required: true}}", pairs) == []
