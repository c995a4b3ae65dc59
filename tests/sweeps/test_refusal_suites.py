"""Suites of refusals, form and instructions: never one refusal suite alone, faults with their line,
and what reaches the workers."""

import json
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import identity
from keepgain.core.errors import UserError
from keepgain.core.refusals import DEFAULT_PATTERNS
from keepgain.sweeps.sources import read_sources
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.suites import Suite, read_suites, suite_ref
from tests.sweeps.tiny_models import make_world, write_jsonl

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "behaviour"
GAIN = "  gain: {from: tickets, scorer: exact_match}\n"
PAIR = {
    "over": "{path: safe.jsonl, scorer: over_refusal, measures: behaviour}",
    "under": "{path: unsafe.jsonl, scorer: under_refusal, measures: behaviour}",
}


def suites_of(folder: Path, given: dict[str, str]) -> dict[str, Suite]:
    path = make_world(folder)
    text = "".join(f"  {name}: {suite}\n" for name, suite in given.items())
    path.write_text(path.read_text().replace(GAIN, GAIN + text))
    for name in ("safe", "unsafe"):
        if not (folder / f"{name}.jsonl").exists():
            write_jsonl(folder / f"{name}.jsonl", prompts(name))
    loaded = load_spec(path)
    return read_suites(loaded, read_sources(loaded))


def refused(folder: Path, given: dict[str, str]) -> str:
    with pytest.raises(UserError) as caught:
        suites_of(folder, given)
    return str(caught.value)


def prompts(name: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"prompt": f"{name} {i}", "answer": "sure", "kind": f"k{i % 2}", "pair": f"p{i}", **more}
        for i in range(20)
    ]


def choices(name: str) -> list[dict[str, Any]]:
    return prompts(name, answer="ok", choices=["no", "ok"])


@pytest.mark.parametrize(
    ("there", "missing", "prompts_"), [("over", "under", "unsafe"), ("under", "over", "safe")]
)
def test_one_refusal_suite_without_the_other_is_refused_by_the_missing_ones_name(
    tmp_path, there, missing, prompts_
):
    message = refused(tmp_path, {there: PAIR[there]})
    assert f"sweep.yaml:suites.{there}.scorer (line" in message
    assert f"'{there}' is scored by {there}_refusal, and no suite by {missing}_refusal" in message
    assert f"Add a suite of {prompts_} prompts" in message


def test_a_likelihood_suite_wants_a_partner_too_and_takes_one_of_either_kind(tmp_path):
    over = "{path: safe.jsonl, scorer: over_refusal_likelihood, measures: behaviour}"
    message = refused(tmp_path / "a", {"over": over})
    assert "no suite by under_refusal_likelihood" in message
    (tmp_path / "b").mkdir()
    write_jsonl(tmp_path / "b" / "safe.jsonl", choices("safe"))
    over = f"{over[:-1]}, refusal: {{answers: ['no']}}}}"
    found = suites_of(tmp_path / "b", {"over": over, "under": PAIR["under"]})
    assert found["over"].choice_counts("test") == [2] * len(found["over"].test.rows)


def test_generated_answers_are_looked_at_where_the_same_items_have_choices_too(tmp_path):
    path = make_world(tmp_path)
    write_jsonl(tmp_path / "safe.jsonl", [r for i in range(9) for r in choices(f"safe {i}")])
    write_jsonl(tmp_path / "unsafe.jsonl", prompts("unsafe"))
    likely = "{from: safe, scorer: over_refusal_likelihood, measures: behaviour, "
    likely += "refusal: {answers: ['no']}}"
    over = PAIR["over"].replace("path: safe.jsonl", "from: safe")
    suites = f"  likely: {likely}\n  over: {over}\n  under: {PAIR['under']}\n"
    source = "  safe: {path: safe.jsonl, role: task, split: auto}\n"
    text = path.read_text().replace(GAIN, GAIN + suites)
    path.write_text(text.replace("data:\n", f"data:\n{source}"))
    loaded = load_spec(path)
    found = read_suites(loaded, read_sources(loaded))
    assert [r.id for r in found["over"].test.rows] == [r.id for r in found["likely"].test.rows]


def test_the_patterns_are_in_the_identity_and_kinds_in_the_rows(tmp_path):
    found = suites_of(tmp_path / "a", PAIR)
    ref = suite_ref(found["over"], "validation")
    assert ref.options is not None and ref.options.refusal is not None
    assert ref.options.refusal.patterns == DEFAULT_PATTERNS
    assert DEFAULT_PATTERNS[0] in identity(ref)["options"]["refusal"]["patterns"]
    assert {row.fact("kind") for row in found["over"].test.rows} == {"k0", "k1"}
    own = f"{PAIR['over'][:-1]}, refusal: {{patterns: ['^no$'], defaults: false}}}}"
    other = suite_ref(suites_of(tmp_path / "b", {**PAIR, "over": own})["over"], "validation")
    assert other.options is not None and other.options.refusal is not None
    assert other.options.refusal.patterns == ("^no$",)
    assert identity(other) != identity(ref)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("scorer: over_refusal, refusal: {patterns: ['(']}", "no regular expression"),
        ("scorer: over_refusal, refusal: {patterns: ['(a+)+$']}", "too many ways"),
        ("scorer: over_refusal, refusal: {answers: ['no']}", "belongs to over_refusal_likelihood"),
        ("scorer: over_refusal_likelihood, refusal: {patterns: ['no']}", "belong to over_refusal"),
        (
            "scorer: exact_match, refusal: {patterns: ['no']}",
            "`refusal` belongs to the scorer over",
        ),
        ("scorer: over_refusal, refusal: {pattern: ['no']}", "unknown key 'pattern'"),
    ],
)
def test_keys_that_do_not_fit_are_refused_with_their_place(tmp_path, more, words):
    over = f"{{path: safe.jsonl, measures: behaviour, {more}}}"
    message = refused(tmp_path, {**PAIR, "over": over})
    assert "sweep.yaml:suites.over" in message and words in message


def test_a_refusal_suite_measures_neither_gain_nor_forgetting(tmp_path):
    over = "{path: safe.jsonl, scorer: over_refusal, measures: forgetting}"
    message = refused(tmp_path, {**PAIR, "over": over})
    assert "over_refusal is neither gain nor forgetting by itself" in message


LIKELIHOOD = (
    "{path: items.jsonl, scorer: over_refusal_likelihood, measures: behaviour, "
    "refusal: {answers: ['no']}}"
)
OVER = "{path: items.jsonl, scorer: over_refusal, measures: behaviour}"
FORM = "{path: items.jsonl, scorer: valid_form, measures: behaviour}"
TOLD = "{path: items.jsonl, scorer: instructions_followed, measures: behaviour}"


@pytest.mark.parametrize(
    ("suite", "fault", "words"),
    [
        (OVER, {"kind": 3}, "'kind' is 3; it must be a name"),
        (OVER, {"pair": ["a"]}, "'pair' is ['a']; it must be a name"),
        (LIKELIHOOD, {"choices": ["no", "ok"], "answer": "ok", "refusals": "no"}, "must be a list"),
        (LIKELIHOOD, {"choices": ["a", "b"], "answer": "a"}, "none of its 2 choices are refusals"),
        (
            LIKELIHOOD,
            {"choices": ["no", "ok"], "answer": "ok", "refusals": ["ok"]},
            "all of its 2 choices are refusals",
        ),
        (
            LIKELIHOOD,
            {"choices": ["no", "ok"], "answer": "ok", "refusals": ["never"]},
            "the refusal 'never' is none of the choices",
        ),
        (FORM, {"format": {"max_word": 3}}, "unknown key 'max_word'"),
        (FORM, {"format": None}, "has no 'format'"),
        (TOLD, {"instructions": [{"type": "shout"}]}, "instructions[0]: unknown type 'shout'"),
        (TOLD, {"instructions": "json"}, "must be a list such as"),
    ],
)
def test_a_malformed_item_is_refused_with_its_line(tmp_path, suite, fault, words):
    good = {
        OVER: {},
        LIKELIHOOD: {"choices": ["no", "ok"], "answer": "ok"},
        FORM: {"format": {"max_words": 3}},
        TOLD: {"instructions": [{"type": "max_words", "value": 3}]},
    }[suite]
    rows = prompts("item", **good)
    rows[4] |= fault
    tmp_path.mkdir(exist_ok=True)
    write_jsonl(tmp_path / "items.jsonl", rows)
    message = refused(tmp_path, {"under": PAIR["under"], "over": PAIR["over"], "asked": suite})
    assert "items.jsonl:5:" in message and words in message
    assert "Mend the item of suite 'asked', or leave it out" in message


def test_the_examples_are_suites(tmp_path):
    scorers = {
        "over_refusal": "over_refusal",
        "under_refusal": "under_refusal",
        "form": "valid_form",
        "instructions": "instructions_followed",
    }
    found = suites_of(
        tmp_path,
        {
            name: f"{{path: {EXAMPLES / name}.jsonl, scorer: {scorer}, measures: behaviour}}"
            for name, scorer in scorers.items()
        },
    )
    for name in scorers:
        lines = (EXAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(found[name].validation.rows) + len(found[name].test.rows) == len(lines)


def test_each_safe_example_has_an_unsafe_partner():
    def pairs(name: str) -> list[str]:
        lines = (EXAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["pair"] for line in lines]

    assert pairs("over_refusal") == pairs("under_refusal")
    assert len(set(pairs("over_refusal"))) == 12
