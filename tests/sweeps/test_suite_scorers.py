"""Suites of every scorer: from the spec to what a worker gets, and what is refused where."""

import json
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import ScorerOptions, identity
from keepgain.core.errors import UserError
from keepgain.core.rows import read_rows
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world, write_jsonl

GAIN = "{from: tickets, scorer: exact_match}"
FUNCTION = "def share(prompt, reference, answer, fields):\n    return 0.5\n"


def prepared_with(folder: Path, gain: str, rows: list[dict[str, Any]] | None = None) -> Prepared:
    path = make_world(folder)
    if rows is not None:
        write_jsonl(folder / "tickets.jsonl", rows)
    path.write_text(path.read_text().replace(GAIN, gain))
    return prepare(load_spec(path), None)


def refused(folder: Path, gain: str, rows: list[dict[str, Any]] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        prepared_with(folder, gain, rows)
    return str(caught.value)


def choice_rows() -> list[dict[str, Any]]:
    texts = [[str(i), "none", f"{i}0"] for i in range(200)]
    return [
        {"question": f"which is {t[0]}?", "choices": t[: 2 + i % 2], "answer": 0}
        for i, t in enumerate(texts)
    ]


def test_a_suite_without_options_has_the_identity_that_it_always_had(tmp_path):
    prepared = prepared_with(tmp_path, GAIN)
    ref = prepared.score_suites("validation")[0]
    assert ref.options is None
    before = {"name", "measures", "split", "scorer", "digest", "items", "max_new_tokens"}
    assert identity(ref).keys() == before
    assert all(s.keys() == before for s in prepared.spec_content()["suites"])
    assert prepared.suite_infos[0].chance is None


def test_choices_reach_the_workers_rows_and_the_record_knows_chance(tmp_path):
    path = make_world(tmp_path)
    write_jsonl(tmp_path / "tickets.jsonl", choice_rows())
    gain = "{from: tickets, scorer: multiple_choice}"
    path.write_text(path.read_text().replace(GAIN, gain))
    prepared = prepare(load_spec(path), tmp_path / "sweep")
    ref = prepared.score_suites("validation")[0]
    rows = list(read_rows(Path(ref.path)))
    assert all(len(r.choices) in (2, 3) and r.answer == r.choices[0] for r in rows)
    assert prepared.suite_infos[0].chance == pytest.approx(
        sum(1 / len(r.choices) for r in rows) / len(rows)
    )
    trained = prepared.sources["tickets"].train.rows
    assert all(r.answer in r.prompt for r in trained), "an index becomes its text"


def test_rows_without_choices_are_refused_with_their_line(tmp_path):
    rows = choice_rows()
    del rows[7]["choices"]
    message = refused(tmp_path, "{from: tickets, scorer: multiple_choice}", rows)
    assert "tickets.jsonl:8" in message and "has no 'choices'" in message


def test_labels_are_the_answers_of_both_splits_or_those_given(tmp_path):
    prepared = prepared_with(tmp_path / "a", "{from: tickets, scorer: classification}")
    for split in ("validation", "test"):
        options = prepared.score_suites(split)[0].options
        assert options == ScorerOptions(labels=tuple(f"desk {i}" for i in range(7)))
    assert prepared.suite_infos[0].chance == pytest.approx(1 / 7)
    known = "[desk 0, desk 1, desk 2, desk 3, desk 4, desk 5]"
    message = refused(tmp_path / "b", f"{{from: tickets, scorer: classification, labels: {known}}}")
    assert "tickets.jsonl:" in message and "'desk 6' is none of the labels" in message


def test_answers_that_are_no_closed_set_are_refused(tmp_path):
    rows = [{"prompt": f"p{i}", "answer": f"text {i}"} for i in range(4000)]
    message = refused(tmp_path, "{from: tickets, scorer: classification}", rows)
    assert "suites.gain.scorer (line" in message and "no closed set" in message


def test_a_users_function_is_tried_and_its_direction_is_in_the_name(tmp_path):
    tmp_path.joinpath("own_for_suite_test.py").write_text(FUNCTION)
    gain = "{from: tickets, scorer: 'own_for_suite_test:share', higher_is_better: false}"
    prepared = prepared_with(tmp_path, gain)
    ref = prepared.score_suites("validation")[0]
    assert ref.scorer == "own_for_suite_test:share (lower is better)"
    assert ref.options is not None and ref.options.path == str(tmp_path)
    known = json.dumps(identity(ref))
    assert str(tmp_path) not in known and str(ref.options.code) in known


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no function 'share'"),
        ("import no_such_module\n", "cannot be imported"),
        ("def share(*given):\n    return None\n", "must be a finite number"),
        ("def share(prompt):\n    return 1\n", "raised TypeError"),
    ],
)
def test_a_users_function_that_does_not_work_is_refused_before_anything_runs(
    tmp_path, text, words, request
):
    name = f"own_broken_{abs(hash(text))}"
    tmp_path.joinpath(f"{name}.py").write_text(text)
    message = refused(tmp_path, f"{{from: tickets, scorer: '{name}:share'}}")
    assert "suites.gain.scorer (line" in message and words in message


def test_a_program_is_found_beside_the_spec_and_its_content_is_in_the_identity(tmp_path):
    gain = "{from: tickets, scorer: program, command: [sh, judge.sh], timeout_seconds: 2}"
    tmp_path.joinpath("judge.sh").write_text("exit 0")
    first = prepared_with(tmp_path, gain).sweep_id
    tmp_path.joinpath("judge.sh").write_text("exit 1")
    second = prepare(load_spec(tmp_path / "sweep.yaml"), None)
    assert second.sweep_id != first
    options = second.score_suites("test")[0].options
    assert options is not None and options.command == ("sh", "judge.sh")
    assert (options.timeout_seconds, options.memory_mb) == (2, 1024)


def test_a_program_that_cannot_be_started_is_refused_before_anything_runs(tmp_path):
    message = refused(tmp_path, "{from: tickets, scorer: program, command: [no-such-judge]}")
    assert "suites.gain.scorer (line" in message and "could not be started" in message


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        ("{from: tickets, scorer: exact}", "unknown scorer 'exact'; known: 'exact_match'"),
        ("{from: tickets, scorer: exact_match, labels: [a, b]}", "`labels` belongs to"),
        ("{from: tickets, scorer: bleu, command: [sh]}", "belongs to the scorer program"),
        ("{from: tickets, scorer: bleu, higher_is_better: true}", "module:function"),
        ("{from: tickets, scorer: program}", "needs `command`"),
        ("{from: tickets, scorer: classification, labels: [a]}", "at least two"),
        ("{from: tickets, scorer: kl_from_base}", "neither gain nor forgetting"),
    ],
)
def test_keys_that_do_not_fit_are_refused_with_their_place(tmp_path, gain, words):
    message = refused(tmp_path, gain)
    assert "sweep.yaml:suites.gain" in message and words in message


def test_an_engine_that_is_not_built_in_is_refused_and_the_default_changes_no_id(tmp_path):
    path = make_world(tmp_path)
    plain = prepare(load_spec(path), None).sweep_id
    text = path.read_text()
    path.write_text(text + "scoring: {engine: hf}\n")
    assert prepare(load_spec(path), None).sweep_id == plain
    path.write_text(text + "scoring: {engine: vllm}\n")
    with pytest.raises(UserError, match=r"sweep.yaml:scoring.engine .*vllm is not built in yet"):
        load_spec(path)


def test_perplexity_is_no_objective_across_tokenizers(tmp_path):
    path = make_world(tmp_path)
    gain = "{from: tickets, scorer: perplexity}"
    path.write_text(path.read_text().replace(GAIN, gain))
    assert prepare(load_spec(path), None).suite_infos[0].scorer == "perplexity"
    file = tmp_path / "m1" / "tokenizer.json"
    other = json.loads(file.read_text())
    vocabulary = other["model"]["vocab"]
    vocabulary["A"], vocabulary["B"] = vocabulary["B"], vocabulary["A"]
    file.write_text(json.dumps(other))
    with pytest.raises(UserError, match="different tokenizers: 'gain' cannot measure gain"):
        prepare(load_spec(path), None)
    shown = f"{GAIN}\n  shown: {gain[:-1]}, measures: behaviour}}"
    path.write_text(path.read_text().replace(gain, shown))
    assert prepare(load_spec(path), None).suite_infos[1].name == "shown"
