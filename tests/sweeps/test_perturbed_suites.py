"""Suites whose items are those of another suite, changed without touching the answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.sweeps.check import check
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.rescore_subject import suite_to_replace
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.suites import Suite
from tests.sweeps.tiny_models import make_world, write_jsonl

SENTENCES = [
    {
        "prompt": f"please route the broken ticket number {i} to somebody",
        "answer": f"desk {i % 7}",
        "cluster": f"c{i % 40}" if i % 2 else None,
    }
    for i in range(400)
]


def world(
    folder: Path, suite: str, rows: list[dict[str, Any]] | None = None, gain: str = ""
) -> Path:
    path = make_world(folder)
    write_jsonl(folder / "tickets.jsonl", rows or SENTENCES)
    text = path.read_text().replace("space:\n", f"  shaken: {suite}\nspace:\n")
    path.write_text(text.replace("scorer: exact_match", gain or "scorer: exact_match"))
    return path


def prepared_with(folder: Path, *given: Any, **more: Any) -> Prepared:
    return prepare(load_spec(world(folder, *given, **more)), None)


def refused(folder: Path, *given: Any, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        prepared_with(folder, *given, **more)
    return str(caught.value)


def by_kind(suite: Suite, split: str) -> dict[str, dict[str, Row]]:
    """Kind → id of the parent → item."""
    found: dict[str, dict[str, Row]] = {}
    for row in suite.items(split).rows:  # type: ignore[arg-type]
        parent, _, kind = row.id.rpartition("~")
        assert dict(row.slices)["perturbation"] == kind
        found.setdefault(kind, {})[parent] = row
    return found


def originals(prepared: Prepared, split: str, suite: str = "gain") -> dict[str, Row]:
    return {r.id: r for r in prepared.suites[suite].items(split).rows}  # type: ignore[arg-type]


def test_each_item_stands_there_as_it_is_and_once_for_each_change(tmp_path):
    prepared = prepared_with(
        tmp_path,
        "{perturb: {of: gain, by: [typos, casing, distractors, suffix, prompt_format], "
        "distractors: ['It rains. '], suffixes: [' !!', ' ??'], formats: ['Q: {prompt} A:']}}",
    )
    for split in ("validation", "test"):
        parents = originals(prepared, split)
        kinds = by_kind(prepared.suites["shaken"], split)
        assert list(kinds) == ["none", "typos", "casing", "distractors", "suffix", "prompt_format"]
        assert all(k.keys() == parents.keys() for k in kinds.values())
        for name, parent in parents.items():
            made = {kind: rows[name] for kind, rows in kinds.items()}
            assert {r.answer for r in made.values()} == {parent.answer}
            assert {r.cluster for r in made.values()} == {parent.cluster or parent.id}
            assert made["none"].prompt == parent.prompt
            assert made["casing"].prompt != parent.prompt
            assert made["casing"].prompt.lower() == parent.prompt
            assert made["typos"].prompt != parent.prompt
            number = parent.prompt.split()[6]
            assert f" {number} " in made["typos"].prompt, "numbers stay"
            assert made["distractors"].prompt == f"It rains. {parent.prompt}"
            assert made["prompt_format"].prompt == f"Q: {parent.prompt} A:"
        assert {r.prompt[-3:] for r in kinds["suffix"].values()} == {" !!", " ??"}


def test_scorer_and_its_keys_are_those_of_the_original_and_it_measures_behaviour(tmp_path):
    labels = "scorer: classification_generated, labels: [" + ", ".join(
        f"desk {i}" for i in range(7)
    )
    prepared = prepared_with(
        tmp_path, "{perturb: {of: gain, by: [typos]}}", gain=labels + "], max_new_tokens: 9"
    )
    made, original = (
        next(r for r in prepared.score_suites("test") if r.name == n) for n in ("shaken", "gain")
    )
    assert (made.scorer, made.options, made.max_new_tokens, made.measures) == (
        "classification_generated", original.options, 9, "behaviour",
    )  # fmt: skip
    assert original.measures == "gain"


def test_a_scorer_of_its_own_can_be_given(tmp_path):
    prepared = prepared_with(tmp_path, "{perturb: {of: gain, by: [typos]}, scorer: token_f1}")
    (ref,) = [r for r in prepared.score_suites("test") if r.name == "shaken"]
    assert (ref.scorer, ref.measures) == ("token_f1", "behaviour")


def test_items_follow_from_the_seed_alone(tmp_path):
    digests = []
    for number, seed in enumerate((0, 0, 1)):
        suite = f"{{perturb: {{of: gain, by: [typos], seed: {seed}}}}}"
        prepared = prepared_with(tmp_path / str(number), suite)
        (ref,) = [r for r in prepared.score_suites("test") if r.name == "shaken"]
        digests.append(ref.digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_paraphrase_puts_the_slots_into_another_template(tmp_path):
    rows = [*SENTENCES, *({"prompt": f"other {i}", "answer": "desk 1"} for i in range(100))]
    prepared = prepared_with(
        tmp_path,
        "{perturb: {of: gain, by: [paraphrase], templates: "
        "{from: 'please route the {what} to {who}', "
        "to: ['{who} gets the {what}', 'the {what} goes to {who}']}}}",
        rows,
    )
    kinds = by_kind(prepared.suites["shaken"], "test")
    fitting = {n: r for n, r in kinds["none"].items() if r.prompt.startswith("please")}
    assert kinds["paraphrase"].keys() == fitting.keys() < kinds["none"].keys()
    for name, row in kinds["paraphrase"].items():
        what = fitting[name].prompt.removeprefix("please route the ").removesuffix(" to somebody")
        assert row.prompt in (f"somebody gets the {what}", f"the {what} goes to somebody")


def choice_rows(prompt: str) -> list[dict[str, Any]]:
    """Choices in the prompt; the right one is the second."""
    found = []
    for i in range(300):
        c = [f"red{i}", f"blue{i}", f"green{i}"]
        found.append({"prompt": prompt.format(*c), "choices": c, "answer": 1})
    return found


def test_options_change_places_in_the_prompt_and_among_the_choices(tmp_path):
    prepared = prepared_with(
        tmp_path,
        "{perturb: {of: gain, by: [option_order]}}",
        choice_rows("A) {} B) {} C) {}"),
        gain="scorer: multiple_choice",
    )
    kinds = by_kind(prepared.suites["shaken"], "test")
    assert kinds["option_order"].keys() == kinds["none"].keys()
    orders = set()
    for name, row in kinds["option_order"].items():
        before = kinds["none"][name]
        assert row.answer == before.answer and row.choices != before.choices
        assert sorted(row.choices) == sorted(before.choices)
        assert row.prompt == "A) {} B) {} C) {}".format(*row.choices)
        orders.add(row.choices.index(row.answer))
    assert orders == {0, 1, 2}


def test_the_answer_follows_when_it_is_the_label_of_a_place(tmp_path):
    rows = [
        {"prompt": f"which is {i}? (A) one{i} (B) two{i} (C) six{i}", "answer": "ABC"[i % 3]}
        for i in range(300)
    ]
    prepared = prepared_with(
        tmp_path,
        "{perturb: {of: gain, by: [option_order], "
        r"options: '[(](?P<label>[A-C])[)] (?P<option>\w+)'}}",
        rows,
    )
    kinds = by_kind(prepared.suites["shaken"], "test")
    assert kinds["option_order"].keys() == kinds["none"].keys()
    for name, row in kinds["option_order"].items():
        before = kinds["none"][name]
        assert row.prompt != before.prompt

        def right(r: Row) -> str:
            return r.prompt.split(f"({r.answer}) ")[1].split()[0]

        assert right(row) == right(before)


def test_a_match_without_an_option_is_none(tmp_path):
    rows = [
        {"prompt": f"which is {i}? (A) one{i} (B) two{i} (C)", "answer": "AB"[i % 2]}
        for i in range(200)
    ]
    prepared = prepared_with(
        tmp_path,
        "{perturb: {of: gain, by: [option_order], "
        r"options: '[(](?P<label>[A-C])[)](?: (?P<option>\w+))?'}}",
        rows,
    )
    kinds = by_kind(prepared.suites["shaken"], "test")
    for name, row in kinds["option_order"].items():
        number = row.prompt.split()[2].rstrip("?")
        assert row.prompt == f"which is {number}? (A) two{number} (B) one{number} (C)"
        assert {row.answer, kinds["none"][name].answer} == {"A", "B"}


def test_of_a_chat_the_users_last_turn_is_changed(tmp_path):
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"hello number {i}"},
                {"role": "assistant", "content": "yes?"},
                {"role": "user", "content": "what is broken here"},
                {"role": "assistant", "content": "nothing"},
            ]
        }
        for i in range(200)
    ]
    prepared = prepared_with(
        tmp_path, "{perturb: {of: gain, by: [suffix], suffixes: [' now']}}", rows
    )
    for row in by_kind(prepared.suites["shaken"], "test")["suffix"].values():
        assert [m["content"] for m in row.messages[1:]] == [
            "yes?", "what is broken here now", "nothing",
        ]  # fmt: skip


def test_made_items_are_no_fault_of_the_data(tmp_path):
    prepared = prepared_with(
        tmp_path, "{perturb: {of: gain, by: [casing, suffix], suffixes: [' .']}}"
    )
    codes = {f.code for f in check(prepared) if f.where.startswith("shaken")}
    assert "near_duplicate_items" not in codes and "duplicate_items" not in codes
    assert not codes & {"leaked_items", "split_overlap"}


@pytest.mark.parametrize(
    ("suite", "says"),
    [
        (
            "{perturb: {of: nothing, by: [typos]}}",
            "made of the unknown suite 'nothing'; known: gain",
        ),
        ("{perturb: {of: shaken, by: [typos]}}", "made of others itself"),
        ("{perturb: {of: gain, by: []}}", "perturb.by"),
        ("{perturb: {of: gain, by: [typo]}}", "perturb.by.0"),
        ("{perturb: {of: gain, by: [typos, typos]}}", "must be different ones"),
        ("{perturb: {of: gain, by: [suffix]}}", "`by: [suffix]` and `suffixes` belong together"),
        ("{perturb: {of: gain, by: [typos], suffixes: [x]}}", "belong together"),
        ("{perturb: {of: gain, by: [prompt_format], formats: ['x']}}", "must have {prompt}, once"),
        ("{perturb: {of: gain, by: [typos], options: '(?P<option>x)'}}", "belongs to `by:"),
        ("{perturb: {of: gain, by: [option_order], options: 'x'}}", "needs a group"),
        ("{perturb: {of: gain, by: [option_order], options: '('}}", "no regular expression"),
        ("{perturb: {of: gain, by: [typos]}, limit: 3}", "stand where the items are from"),
        ("{perturb: {of: gain, by: [typos]}, path: tickets.jsonl}", "give exactly one of"),
        ("{perturb: {of: forgetting, by: [typos]}}", "items of 'forgetting' are plain text"),
        (
            "{perturb: {of: gain, by: [paraphrase], templates: {from: 'x {a}', to: ['{a} x']}}}",
            "can be changed by paraphrase",
        ),
        ("{perturb: {of: gain, by: [option_order]}}", "can be changed by option_order"),
    ],
)
def test_what_cannot_be_made_is_refused_with_its_key(tmp_path, suite, says):
    message = refused(tmp_path, suite)
    assert says in message and "sweep.yaml:suites" in message and "(line" in message


def test_a_task_of_the_harness_has_no_prompts_to_change(tmp_path):
    path = world(tmp_path, "{perturb: {of: exam, by: [typos]}}")
    exam = "  exam: {lm_eval: {task: x, metric: acc}, measures: behaviour}\nspace:\n"
    path.write_text(path.read_text().replace("space:\n", exam))
    with pytest.raises(UserError, match=r"made of 'exam', whose prompts lm-evaluation-harness has"):
        load_spec(path)


def test_a_recorded_spec_is_read_again_as_it_was(tmp_path):
    spec = load_spec(world(tmp_path, "{perturb: {of: gain, by: [typos]}}")).spec
    dumped = json.loads(spec.model_dump_json(by_alias=True))
    assert type(spec).model_validate(dumped) == spec


def test_newer_items_are_not_scored_in_the_place_of_made_ones(tmp_path):
    spec = load_spec(world(tmp_path, "{perturb: {of: gain, by: [typos]}}")).spec
    recorded = json.loads(spec.model_dump_json(by_alias=True))
    with pytest.raises(UserError, match=r"'shaken' are made of those of gain\. Name gain"):
        suite_to_replace("shaken", recorded)
