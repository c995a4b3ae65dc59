"""`sweep init --from-data`: a data_spec that holds for the rows, and says what was seen."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.core.rows import Row
from keepgain.core.yaml_io import parse_yaml
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.draft import Survey, draft_rules, quoted, survey
from keepgain.sweeps.gates.conformance import check_conformance
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_data import DataRules
from tests.sweeps.tiny_models import make_model, write_jsonl


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_model(tmp_path / "m0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tickets(count: int, labels: list[str], start: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(start)
    return [
        {
            "question": f"where is parcel {i}" + " please" * draw.randint(0, 20),
            "label": labels[i % len(labels)],
            "Created At": f"{i % 28 + 1:02d}.01.2026",
            "updated_at": "2026-01-02",
            "Annotator": "ab"[i % 2],
            "price": "1.234,50",
            "n": i,
            "ok": i % 2 == 0,
            "day": "01/02/2026",
            "tags": ["x"],
            **({"note": f"see {i}"} if i % 3 else {}),
        }
        for i in range(start, start + count)
    ]


def drafted(*paths: Path) -> dict[str, Any]:
    return dict(parse_yaml(draft_rules(survey(paths), {"task": list(paths)}), "")[0]["data_spec"])


def test_a_draft_says_what_holds_for_all_rows(world: Path) -> None:
    rules = drafted(write_jsonl(world / "t.jsonl", tickets(120, ["north", "no", "1, 2"])))
    assert rules["fields"] == {
        "Created At": {"required": True, "type": "date", "formats": ["%d.%m.%Y"]},
        "updated_at": {"required": True, "type": "date"},
        "Annotator": {"required": True, "allowed": ["a", "b"]},
        "price": {"required": True, "type": "number", "decimal": ","},
        "n": {"required": True, "type": "number"},
        "ok": {"required": True, "type": "bool"},
        "day": {"required": True},
        "tags": {"required": True},
        "note": {},
    }
    assert rules["labels"] == ["1, 2", "no", "north"] and "answer" not in rules
    assert rules["question"] == {"max_words": 24}
    assert rules["columns"] == {"annotator": "Annotator", "date": "updated_at"}


def test_the_spec_of_a_draft_passes_the_check_on_the_same_rows(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(world / "t.jsonl", tickets(300, ["north", "yes", "true"]))
    assert main(["init", "--model", "m0", "--from-data", "t.jsonl"]) == 0
    loaded = load_spec(world / "sweep.yaml")
    assert loaded.spec.suites["gain"].scorer == "classification"
    assert loaded.spec.data_spec is not None
    assert loaded.spec.data_spec.labels == ("north", "true", "yes")
    capsys.readouterr()
    assert main(["check", "sweep.yaml", "--json"]) == 0
    codes = {f["code"] for f in json.loads(capsys.readouterr().out)["findings"]}
    assert not {c for c in codes if c.startswith(("field_", "answer_", "question_", "unknown_"))}


def test_a_field_without_a_name_has_no_rule(world: Path) -> None:
    rows = [{**row, "": "x"} for row in tickets(20, ["a", "b"])]
    write_jsonl(world / "tickets.jsonl", rows)
    words = ("--model", "m0", "--from-data", "tickets.jsonl")
    assert main(["init", *words]) == 0
    assert "" not in drafted(world / "tickets.jsonl")["fields"]


def test_languages_of_a_good_part_of_the_rows_are_drafted(world: Path) -> None:
    german = "Wo ist das Paket geblieben, das ich gestern bei Ihnen bestellt habe, Nummer"
    english = "Where is the parcel that I have ordered from your shop last week, number"
    rows = [
        {"prompt": f"{english if i % 10 else german} {i}", "answer": f"desk {i}"} for i in range(80)
    ]
    assert drafted(write_jsonl(world / "t.jsonl", rows))["languages"] == ["en"]
    mixed = [{**row, "prompt": f"{german if i % 2 else english} {i}"} for i, row in enumerate(rows)]
    assert drafted(write_jsonl(world / "t.jsonl", mixed))["languages"] == ["de", "en"]


def test_a_rare_label_is_in_the_draft_and_called_a_slip(world: Path) -> None:
    rows = tickets(60, ["north", "south"]) + tickets(1, ["nroth"], start=60)
    path = write_jsonl(world / "t.jsonl", rows)
    text = draft_rules(survey([path]), {"task": [path]})
    assert "labels: [north, nroth, south]   # rare, a slip? nroth (1)" in text


@pytest.mark.parametrize(
    ("answers", "rule"),
    [
        ([f'{{"desk": {i}}}' for i in range(40)], {"type": "json"}),
        ([str(i * 1.5) for i in range(40)], {"type": "number"}),
        ([f"go to {'very ' * i}far" for i in range(40)], {"max_words": 42}),
        ([f"go to {'very ' * 3 * i}far" for i in range(40)], {"max_words": 120}),
    ],
)
def test_answers_are_drafted_by_their_form_or_their_length(
    world: Path, answers: list[str], rule: dict[str, Any]
) -> None:
    rows = [{"prompt": f"p {i}", "answer": a} for i, a in enumerate(answers)]
    assert drafted(write_jsonl(world / "t.jsonl", rows))["answer"] == rule


def test_plain_text_and_chats_are_drafted_too(world: Path) -> None:
    text = write_jsonl(world / "t.jsonl", [{"text": f"fact number {i}"} for i in range(9)])
    assert drafted(text) == {"answer": {"max_words": 3}}
    turns = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "so be it"}]
    chats = write_jsonl(world / "c.jsonl", [{"messages": turns, "label": "x", "id": 5}])
    assert drafted(chats) == {
        "fields": {"label": {"required": True}},
        "question": {"max_words": 2},
        "answer": {"max_words": 3},
    }


def test_files_named_as_splits_are_one_source_and_others_are_sources(world: Path) -> None:
    for i, name in enumerate(("my-train", "my_dev", "test", "web-2026.new")):
        write_jsonl(world / f"{name}.jsonl", tickets(120, ["a", "b"], start=200 * i))
    files = ["my-train.jsonl", "test.jsonl", "my_dev.jsonl"]
    assert main(["init", "--model", "m0", "--from-data", *files]) == 0
    task = load_spec(world / "sweep.yaml").spec.data["task"]
    assert (task.train, task.validation, task.test) == (files[0], files[2], files[1])
    files = ["my_dev.jsonl", "web-2026.new.jsonl"]
    assert main(["init", "--model", "m0", "--from-data", *files, "--force"]) == 0
    data = load_spec(world / "sweep.yaml").spec.data
    assert {name: d.path for name, d in data.items()} == {
        "task": files[0],
        "web-2026-new": files[1],
    }


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["train.jsonl", "test.jsonl"], "there is no validation"),
        (["a.jsonl", "task.jsonl"], "a source cannot be named 'task'"),
    ],
)
def test_files_that_do_not_make_a_spec_are_refused(
    world: Path, files: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in files:
        write_jsonl(world / name, tickets(30, ["a", "b"]))
    assert main(["init", "--model", "m0", "--from-data", *files]) == 2
    assert said in capsys.readouterr().err and not (world / "sweep.yaml").exists()


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12), st.dates().map(str), st.dates().map(lambda d: d.strftime("%d/%m/%Y")),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=12))
def test_any_rows_keep_the_rules_drafted_from_them(records: list[dict[str, Any]]) -> None:
    whole = Survey()
    for i, record in enumerate(records):
        whole.add(Row(str(i), "pair", prompt=f"p {i}", answer="a"), record, set())
    text = draft_rules(whole, {"task": [Path("t.jsonl")]})
    given_rules = DataRules.model_validate(parse_yaml(text, "")[0]["data_spec"])
    for check in given_rules.checks:
        if check.part == "field":
            assert not any(check.broken(record.get(check.field)) for record in records)
    assert check_conformance([], given_rules.checks) == []


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_quoted_text_reads_back_within_braces(text: str) -> None:
    assert parse_yaml(f"a: {{{quoted(text)}: [{quoted(text)}]}}", "")[0]["a"] == {text: [text]}
