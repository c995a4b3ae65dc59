"""Suites of groups, of confidence and of recovery: from the spec to what a worker gets."""

from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import ScorerOptions
from keepgain.core.errors import UserError
from keepgain.core.positive import IS_POSITIVE
from keepgain.core.rows import Row, read_rows
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.recovered_suites import prefixed
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world, write_jsonl

FORGETTING = "  forgetting: {path: general_eval.jsonl, scorer: bits_per_byte}\n"
SELECTED = "  hired: {path: loans.jsonl, scorer: selected, positive: grant, measures: behaviour}\n"
FACTS = "  forgetting: {path: facts.jsonl, scorer: exact_match, capability: knowledge}\n"
AGAIN = '  again: {recover: {of: forgetting, prefix: "Base: "}}\n'


def world(folder: Path, suites: str, rows: dict[str, list[dict[str, Any]]]) -> Path:
    path = make_world(folder)
    for name, found in rows.items():
        write_jsonl(folder / name, found)
    path.write_text(path.read_text().replace(FORGETTING, suites))
    return path


def prepared(folder: Path, suites: str, rows: dict[str, list[dict[str, Any]]]) -> Prepared:
    return prepare(load_spec(world(folder, suites, rows)), folder / "sweep")


def refused(folder: Path, suites: str, rows: dict[str, list[dict[str, Any]]]) -> str:
    with pytest.raises(UserError) as caught:
        prepared(folder, suites, rows)
    return str(caught.value)


def loans(count: int = 60) -> list[dict[str, Any]]:
    return [
        {"prompt": f"loan {i}?", "answer": "grant" if i % 3 else "refuse", "group": f"g{i % 2}"}
        for i in range(count)
    ]


def facts(count: int = 60) -> list[dict[str, Any]]:
    return [{"prompt": f"fact {i}?", "answer": f"{i}"} for i in range(count)]


def test_a_selected_label_is_an_option_and_every_item_says_whether_it_is_its_own(tmp_path):
    found = prepared(tmp_path, FORGETTING + SELECTED, {"loans.jsonl": loans()})
    ref = next(r for r in found.score_suites("validation") if r.name == "hired")
    assert ref.options == ScorerOptions(labels=("grant", "refuse"), positive="grant")
    rows = list(read_rows(Path(ref.path)))
    assert {dict(r.slices)[IS_POSITIVE] for r in rows} == {"yes", "no"}
    assert all((dict(r.slices)[IS_POSITIVE] == "yes") == (r.answer == "grant") for r in rows)
    info = next(s for s in found.suite_infos if s.name == "hired")
    assert info.chance is None, "a guess has no right share of positive labels"


def test_a_positive_label_that_is_no_label_is_refused_with_a_line(tmp_path):
    wrong = SELECTED.replace("grant", "hire")
    message = refused(tmp_path / "a", FORGETTING + wrong, {"loans.jsonl": loans()})
    assert "loans.jsonl:" in message and "'hire' is none of the labels" in message
    without = SELECTED.replace("positive: grant, ", "")
    message = refused(tmp_path / "b", FORGETTING + without, {"loans.jsonl": loans()})
    assert "needs `positive`" in message
    elsewhere = FORGETTING.replace("}", ", positive: x}")
    message = refused(tmp_path / "c", elsewhere, {})
    assert "`positive` belongs to the scorer selected" in message


def test_made_items_say_of_their_own_label_whether_it_is_the_positive_one(tmp_path):
    classes = "  kinds: {path: mc.jsonl, scorer: classification, measures: behaviour}\n"
    options = "options: '[(](?P<label>[AB])[)] (?P<option>[^ ]+)'"
    made = f"perturb: {{of: kinds, by: [option_order], {options}}}"
    made = f"  shaken: {{{made}, scorer: selected, positive: A}}\n"
    rows = [
        {"prompt": f"which of {i}? (A) one{i} (B) two{i}", "answer": "AB"[i % 2]} for i in range(60)
    ]
    found = prepared(tmp_path, FORGETTING + classes + made, {"mc.jsonl": rows})
    items = list(found.suites["shaken"].test.rows)
    assert {r.id.rpartition("~")[2] for r in items} == {"none", "option_order"}
    assert all((dict(r.slices)[IS_POSITIVE] == "yes") == (r.answer == "A") for r in items)


def test_selection_and_confidence_are_neither_gain_nor_forgetting(tmp_path):
    for n, scorer in enumerate(("selected, positive: grant", "classification_signed_confidence")):
        suite = f"  forgetting: {{path: loans.jsonl, scorer: {scorer}}}\n"
        message = refused(tmp_path / str(n), suite, {"loans.jsonl": loans()})
        assert "neither gain nor forgetting by itself" in message


def test_a_brier_score_is_no_share_so_it_has_no_chance(tmp_path):
    suites = "  forgetting: {path: loans.jsonl, scorer: classification_brier}\n"
    found = prepared(tmp_path, suites, {"loans.jsonl": loans()})
    assert [s.chance for s in found.suite_infos] == [None, None]
    assert found.suites["forgetting"].choice_counts("test") != []


def test_recovered_items_are_those_of_the_other_suite_with_a_text_before_them(tmp_path):
    found = prepared(tmp_path, FACTS + AGAIN, {"facts.jsonl": facts()})
    for split in ("validation", "test"):
        of, again = (
            next(r for r in found.score_suites(split) if r.name == n)
            for n in ("forgetting", "again")
        )
        first, second = (list(read_rows(Path(r.path))) for r in (of, again))
        assert [r.id for r in first] == [r.id for r in second] and len(first) > 20
        assert [r.prompt for r in second] == ["Base: " + r.prompt for r in first]
        assert [r.answer for r in second] == [r.answer for r in first]
        assert again.measures == "behaviour" and again.scorer == "exact_match"
        assert again.digest != of.digest
    infos = {s.name: s for s in found.suite_infos}
    assert infos["forgetting"].capability == "knowledge" and infos["forgetting"].recovers is None
    assert infos["again"].recovers == "forgetting"


def test_capabilities_are_no_part_of_the_sweeps_identity(tmp_path):
    named = prepared(tmp_path / "a", FACTS, {"facts.jsonl": facts()})
    without = FACTS.replace(", capability: knowledge", "")
    assert named.sweep_id == prepared(tmp_path / "b", without, {"facts.jsonl": facts()}).sweep_id
    again = prepared(tmp_path / "c", FACTS + AGAIN, {"facts.jsonl": facts()})
    other = AGAIN.replace("Base", "Once")
    changed = prepared(tmp_path / "d", FACTS + other, {"facts.jsonl": facts()})
    assert len({named.sweep_id, again.sweep_id, changed.sweep_id}) == 3


@pytest.mark.parametrize(
    ("again", "words"),
    [
        ('{recover: {of: nothing, prefix: "B"}}', "the unknown suite 'nothing'"),
        ('{recover: {of: forgetting, prefix: ""}}', "prefix"),
        ('{recover: {of: forgetting, prefix: "B"}, measures: gain}', "measures behaviour"),
        ('{recover: {of: forgetting, prefix: "B"}, scorer: token_f1}', "`scorer` of 'again'"),
        ('{recover: {of: forgetting, prefix: "B"}, max_new_tokens: 3}', "`max_new_tokens`"),
        ('{recover: {of: forgetting, prefix: "B"}, limit: 3}', "`limit`"),
        ('{recover: {of: forgetting, prefix: "B"}, path: facts.jsonl}', "exactly one of"),
        ('{recover: {of: texts, prefix: "B"}}', "plain texts"),
    ],
)
def test_what_cannot_be_recovered_is_refused_at_its_key(tmp_path, again, words):
    texts = "  texts: {path: general_eval.jsonl, scorer: bits_per_byte, measures: behaviour}\n"
    suites = f"{FACTS}{texts}  again: {again}\n"
    message = refused(tmp_path, suites, {"facts.jsonl": facts()})
    assert words in message and "sweep.yaml:suites" in message


def test_the_text_stands_before_the_first_question_of_a_chat():
    turns = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    chat = Row("x", "chat", tuple({"role": r, "content": t} for r, t in turns), answer="d")
    changed = prefixed(chat, "P ")
    assert [m["content"] for m in changed.messages] == ["s", "P a", "b", "c", "d"]
    assert changed.answer == "d" and chat.messages[1]["content"] == "a"
