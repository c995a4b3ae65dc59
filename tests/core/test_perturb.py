"""Perturbations: what each changes, and what none may touch."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.core.perturb import (
    KINDS,
    NEIGHBOURS,
    Kind,
    Protected,
    Settings,
    fill,
    is_negation,
    perturb,
    read_slots,
    slot_names,
    words_of,
)

TICKET = (
    "I did not receive the refund of 3,500 dollars for order AB-12, please write to "
    "ada@example.org today! Thanks."
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            "the refund is not here 12 3,5 can't no billing team ship Straße ça été 東京 n't "
            "order: AB-12 please! wait... (now) non-refundable".split()
        ),
        max_size=25,
    ).map(" ".join),
)
KIND_LISTS = st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)


@given(TEXTS, KIND_LISTS, st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_equal_arguments_give_equal_texts(text: str, kinds: list[Kind], seed: int) -> None:
    assert perturb(text, kinds, seed) == perturb(text, kinds, seed)


@given(TEXTS, KIND_LISTS, st.integers(0, 5))
@settings(max_examples=120, deadline=None)
def test_numbers_negations_and_protected_words_stay(
    text: str, kinds: list[Kind], seed: int
) -> None:
    protected = Protected(words_of("billing team"), (re.compile(r"\(\w+\)"),))
    made = perturb(text, kinds, seed, protected)

    def kept(of: str) -> list[str]:
        pieces = re.findall(r"\(\w+\)|\w+(?:['’\-.]\w+)*", of)
        return [
            piece
            for piece in pieces
            if re.search(r"[\d¹²³\u2070-\u2089]", piece)
            or protected.holds(piece)
            or piece.startswith("(")
        ]

    assert kept(made) == kept(text)


@given(TEXTS, st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_casing_changes_case_alone(text: str, seed: int) -> None:
    assert perturb(text, ["casing"], seed).casefold() == text.casefold()


@given(TEXTS, st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_punctuation_leaves_every_word(text: str, seed: int) -> None:
    assert re.findall(r"\w+", perturb(text, ["punctuation"], seed)) == re.findall(r"\w+", text)


@given(TEXTS, st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_deletion_leaves_words_in_their_order(text: str, seed: int) -> None:
    rest = iter(text.split())
    left = perturb(text, ["deletion"], seed).split()
    # A mark behind a dropped word goes to the word before it: compare without marks.
    bare = [re.sub(r"\W", "", w) for w in left]
    assert all(w in (re.sub(r"\W", "", r) for r in rest) for w in bare if w)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_a_ticket_and_little_of_it(kind: Kind) -> None:
    made = {perturb(TICKET, [kind], seed) for seed in range(20)}
    assert TICKET not in made and len(made) >= (3 if kind == "casing" else 8)
    for text in made:
        assert "not" in text.split() and "3,500" in text and "ada@example.org" in text
        words = len(text.split())
        assert 12 <= words <= 24


def test_a_typo_is_one_slip_behind_the_first_letter() -> None:
    for seed in range(60):
        made = perturb("extraordinary", ["typos"], seed)
        assert made != "extraordinary" and made[0] == "e" and abs(len(made) - 13) <= 1
        if len(made) == 13:
            changed = [(a, b) for a, b in zip("extraordinary", made, strict=True) if a != b]
            assert len(changed) in (1, 2)
            if len(changed) == 1:
                ((before, after),) = changed
                assert after in NEIGHBOURS[before]
            else:
                assert changed[0] == changed[1][::-1]


def test_keys_are_neighbours_both_ways() -> None:
    assert set(NEIGHBOURS["g"]) == set("tyfhvb") and set(NEIGHBOURS["p"]) == set("ol")
    assert all(a in NEIGHBOURS[b] for a, near in NEIGHBOURS.items() for b in near)


def test_a_typo_makes_no_protected_word() -> None:
    # Of "formm" a dropped letter makes the label "form".
    made = {perturb("formm", ["typos"], s, Protected(words_of("form"))) for s in range(200)}
    assert "form" not in made and len(made) > 5
    assert "form" in {perturb("formm", ["typos"], s) for s in range(200)}


def test_fillers_are_of_the_language_and_stand_between_words() -> None:
    german = Settings(fillers=("äh",))
    made = perturb("Die Lieferung kommt heute an", ["insertion"], 3, settings=german)
    assert made.replace(" äh", "") == "Die Lieferung kommt heute an" and " äh " in made
    blocked = Protected(frozenset({"äh"}))
    text = "Die Lieferung kommt heute an"
    assert perturb(text, ["insertion"], 3, blocked, german) == text


def test_nothing_comes_between_a_negation_and_what_it_denies() -> None:
    for seed in range(40):
        made = perturb("it was not paid at all today", ["insertion"], seed)
        assert "was not paid" in made


def test_short_texts_lose_no_word() -> None:
    assert all(perturb("pay the bill now", ["deletion"], s) == "pay the bill now" for s in range(9))


@pytest.mark.parametrize(
    "word", ["not", "don't", "can’t", "n'est", "non-refundable", "nicht", "jamais", "cannot"]
)
def test_negations_are_known(word: str) -> None:
    assert is_negation(word)
    assert not is_negation("note")


def test_slots_are_read_from_a_template_and_filled_into_another() -> None:
    slots = read_slots("Route {ticket} (from {city}).", "Route my\nbill? (from Bonn).")
    assert slots == {"ticket": "my\nbill?", "city": "Bonn"}
    assert fill("{city}: {ticket} {not a slot} {{city}}", slots) == (
        "Bonn: my\nbill? {not a slot} {Bonn}"
    )
    assert read_slots("Route {ticket}.", "Something else.") is None
    assert read_slots("a.b {x}", "acb y") is None, "a template is no pattern"
    assert slot_names("{a} {b} {1}") == ["a", "b"]
    with pytest.raises(KeyError):
        fill("{other}", slots)


@given(st.lists(st.text("ab", max_size=2), min_size=1, max_size=4), st.text("ab\n", max_size=8))
def test_slots_are_as_short_as_they_can_be(between: list[str], text: str) -> None:
    template, pattern = between[0], re.escape(between[0])
    for name, after in zip("xyz", between[1:], strict=False):
        template += f"{{{name}}}{after}"
        pattern += f"(?P<{name}>.+?){re.escape(after)}"
    found = re.fullmatch(pattern, text, re.DOTALL)
    assert read_slots(template, text) == (found.groupdict() if found else None)


def test_a_long_text_that_is_not_of_a_template_is_told_at_once() -> None:
    assert read_slots("{a}, {b}, {c}, {d}: {e}.", "x, " * 10_000) is None


SLOT_TEXT = st.text(st.characters(blacklist_characters="|"), min_size=1)


@given(SLOT_TEXT, SLOT_TEXT)
def test_what_was_filled_in_is_read_out(one: str, other: str) -> None:
    template = "<|{one}|{other}|>"
    made = fill(template, {"one": one, "other": other})
    assert read_slots(template, made) == {"one": one, "other": other}
