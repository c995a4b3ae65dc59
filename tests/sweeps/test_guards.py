"""Guards in the spec: names that say nothing are refused with their key, classes become slices."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.core.guards import Guard, Watched, suite_of, watched
from keepgain.core.rows import slice_columns
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.sources import read_sources
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.suites import Suite, read_suites, suite_ref
from tests.sweeps.tiny_models import make_world, write_jsonl

POLITE = "  polite: {path: polite.jsonl, scorer: exact_match, measures: behaviour}\n"


def world(folder: Path, guards: str, *, more: str = "", slices: str = "") -> Path:
    path = make_world(folder)
    write_jsonl(
        folder / "polite.jsonl",
        [
            {"prompt": f"say {i}", "answer": "please", "language": "de" if i % 4 else "en"}
            for i in range(80)
        ],
    )
    text = path.read_text().replace("  forgetting: {", f"{POLITE}{more}  forgetting: {{")
    text = text.replace("question: {", f"{slices}question: {{guards: {{{guards}}}, ")
    path.write_text(text)
    return path


def suites_of(path: Path) -> dict[str, Suite]:
    loaded = load_spec(path)
    return read_suites(loaded, read_sources(loaded))


@pytest.mark.parametrize(
    ("guards", "key", "said"),
    [
        ("polite: {}", "polite", "at least one of"),
        ("polite: {max_drop: 0.1}", "polite.max_drop", "unknown key"),
        ("polite: {max_increase: -0.1}", "polite", "at least 0"),
        ("polite: {min: 0.9, max: 0.1}", "polite", "`min` is above `max`"),
        ("polite: {max_increase: 2}", "polite.max_increase", "lie in [0, 1]"),
        ("polit: {min: 0.5}", "polit", "unknown suite 'polit'"),
        ("polite: {min: 0.5, suite: gain}", "polite.suite", "belongs to recall"),
        ('"polite[language=de]": {min: 0.5}', "polite[language=de]", "no slice 'language'"),
        ('"polite[language]": {min: 0.5}', "guards", "is not polite[field=value]"),
        ('"precision[desk 1]": {min: 0.5}', "guards", "not with what was predicted"),
        ('"[x]": {min: 0.5}', "guards", "is no SUITE"),
        ('"recall[a]": {min: 0.5, suite: nowhere}', "recall[a]", "unknown suite 'nowhere'"),
    ],
)
def test_a_guard_that_says_nothing_is_refused_with_its_key(
    tmp_path: Path, guards: str, key: str, said: str
) -> None:
    path = world(tmp_path, guards)
    with pytest.raises(UserError) as caught:
        load_spec(path)
    assert said in str(caught.value), str(caught.value)
    assert caught.value.where is not None and f"{key} (line" in caught.value.where
    assert caught.value.where.startswith(f"{path}:question.guards")


def test_recall_needs_to_know_whose_label_it_is(tmp_path: Path) -> None:
    two = "  gain_2: {from: tickets, scorer: exact_match}\n"
    with pytest.raises(UserError, match="2 suites measure gain"):
        load_spec(world(tmp_path / "a", '"recall[desk 1]": {min: 0.5}', more=two))
    named = '"recall[desk 1]": {min: 0.5, suite: gain_2}'
    assert suites_of(world(tmp_path / "b", named, more=two))["gain_2"] is not None


def test_a_value_or_label_that_no_item_has_is_refused(tmp_path: Path) -> None:
    for n, (guards, said) in enumerate(
        [
            ('"recall[desk 9]": {min: 0.5}', "has the answer 'desk 9'"),
            ('"polite[language=fr]": {min: 0.5}', "has language = 'fr'"),
        ]
    ):
        path = world(tmp_path / str(n), guards, slices="slices: [language]\n")
        with pytest.raises(UserError) as caught:
            suites_of(path)
        assert said in caught.value.problem
        assert caught.value.where is not None and "question.guards" in caught.value.where
        assert caught.value.hint is not None and (
            "desk 0" in caught.value.hint or "de" in caught.value.hint
        )


def test_the_label_that_a_guard_names_becomes_a_slice_and_no_other(tmp_path: Path) -> None:
    found = suites_of(world(tmp_path / "a", '"recall[desk 1]": {min: 0.5}'))
    rows = [*found["gain"].validation.rows, *found["gain"].test.rows]
    columns = slice_columns(rows)
    assert set(columns) == {"answer"}
    assert {*columns["answer"]} == {"desk 1", None}
    assert all(
        (s == "desk 1") == (r.answer == "desk 1")
        for s, r in zip(columns["answer"], rows, strict=True)
    )
    plain = suites_of(world(tmp_path / "b", "polite: {min: 0.5}"))
    assert not any(r.slices for r in plain["gain"].test.rows)
    # Items of suites that no class guard names keep their identity.
    ids = [suite_ref(s["polite"], "test").digest for s in (found, plain)]
    assert ids[0] == ids[1]


def test_a_label_with_an_equals_sign_stands_in_quotes() -> None:
    assert watched('recall["a=b"]') == Watched(None, "answer", "a=b")
    assert watched("recall[a]") == watched('recall["a"]')
    assert watched("recall[a=b]") == Watched("recall", "a", "b"), "a slice of a suite of that name"


def test_guards_are_part_of_the_question_and_only_where_there_are_some(tmp_path: Path) -> None:
    loaded: LoadedSpec = load_spec(world(tmp_path, "polite: {max_decrease: 0.02, min: 0.5}"))
    assert loaded.spec.question.guards == {"polite": Guard(max_decrease=0.02, min=0.5)}
    assert loaded.spec.question.guards["polite"].limits == {"max_decrease": 0.02, "min": 0.5}
    plain = load_spec(make_world(tmp_path / "plain")).spec.question
    dumped = plain.model_dump(mode="json", exclude_defaults=True)
    assert "guards" not in dumped and "outcome" not in dumped


def test_a_suite_follows_from_the_name_the_guard_or_the_only_gain() -> None:
    assert suite_of("polite[a=b]", Guard(min=0.1), ("gain",)) == "polite"
    assert suite_of("recall[x]", Guard(min=0.1), ("gain",)) == "gain"
    assert suite_of("recall[x]", Guard(min=0.1), ("a", "b")) is None
    assert suite_of("recall[x]", Guard(min=0.1, suite="b"), ("a", "b")) == "b"


_NAMES = st.text(st.characters(blacklist_characters="[]", blacklist_categories=["Cs"]), min_size=1)


@given(_NAMES, _NAMES.filter(lambda s: "=" not in s), _NAMES)
def test_every_slice_can_be_named(suite: str, field: str, value: str) -> None:
    assert watched(f"{suite}[{field}={value}]") == Watched(suite, field, value)
    assert watched(suite) == Watched(suite)


@given(_NAMES.filter(lambda s: "=" not in s))
def test_every_label_can_be_named(label: str) -> None:
    found = watched(f"recall[{label}]")
    assert (found.value, found.of_class) == (label, True)
