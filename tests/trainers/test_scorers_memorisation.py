"""Scorers of what is learnt by heart: bits of canaries, verbatim continuations, personal data."""

import math
from dataclasses import replace

import pytest
import torch

from keepgain.core.canaries import canary_fault, controls_fault
from keepgain.core.extraction import extraction_fault
from keepgain.core.rows import Row, facts_of
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.encode import encode_rows
from keepgain.trainers.reference import Prompting
from keepgain.trainers.scorers.likelihood import Likelihood
from keepgain.trainers.scorers.memorisation import canary_bits, verbatim
from keepgain.trainers.scorers.pii import by_kind, emits
from keepgain.trainers.scoring import score_suite
from keepgain.trainers.suites import prepare_suite
from tests.trainers import tiny
from tests.trainers.test_scoring import learned, load, prepare

NONE = ScorerOptions()
TEN = "one two three four five six seven eight nine ten".split()


def canary(i: int, repeats: int) -> Row:
    facts = facts_of({"repeats": repeats})
    return Row(f"c{i}", "pair", prompt=f"code {i}=", answer=f"{i * 7919 % 10**6:06d}", facts=facts)


def notes(count: int, kind: str = "pair") -> list[Row]:
    """Ten words in an order of each row's own."""
    texts = [
        " ".join(TEN[(i * 3 + k * (1 + i % 3 * 2)) % 10] for k in range(10)) for i in range(count)
    ]
    if kind == "text":
        return [Row(f"t{i}", "text", text=f"note {i}: {t}") for i, t in enumerate(texts)]
    return [Row(f"p{i}", "pair", prompt=f"note {i}:", answer=t) for i, t in enumerate(texts)]


def item(row: Row, prefix: int, words: int, seen: bool = True) -> Row:
    taught = (row.text or row.answer).split()
    begun = " ".join(taught[:prefix])
    facts = facts_of({"begun": begun, "prefix_words": prefix, "seen": seen})
    wanted = " ".join(taught[prefix : prefix + words])
    made = replace(row, id=f"{row.id}/{prefix}", facts=facts)
    return replace(made, text=wanted) if row.kind == "text" else made.answered(wanted)


def test_bits_are_those_of_the_whole_code_and_the_record_knows_repeats(tmp_path, llama):
    base = load(llama)
    rows = [canary(i, i % 3) for i in range(6)]
    found = score_suite(
        base.model,
        base.codec,
        prepare(base, tmp_path, rows, "canary_bits", measures="behaviour"),
        4,
        0,
    ).scores
    per_byte = score_suite(
        base.model, base.codec, prepare(base, tmp_path, rows, "bits_per_byte"), 4, 0
    ).scores
    assert found.values == pytest.approx(per_byte.values * 6)
    assert list(found.weights) == [1] * 6
    assert found.slices == {"repeats": ("0", "1", "2", "0", "1", "2")}
    assert canary_bits(Likelihood(3 * math.log(2), 6, 6), rows[0], NONE) == pytest.approx(3)


def test_what_is_given_stands_as_it_stood_in_training(tmp_path, request):
    """Question, begun answer and what follows are, token by token, the beginning of the row."""
    for family in ("llama", "qwen3"):
        base = load(request.getfixturevalue(family))
        for kind in ("pair", "text"):
            rows = notes(4, kind)
            whole = encode_rows(base.codec, rows, 250)
            for prefix in (1, 4) if kind == "text" else (0, 1, 4):
                asked = [item(row, prefix, 3) for row in rows]
                items = prepare(base, tmp_path, asked, "extraction", measures="behaviour")
                for prompt, row, trained in zip(items.prompts, asked, whole, strict=True):
                    ids = trained.ids.tolist()
                    assert prompt == ids[: len(prompt)]
                    rest = base.codec.text(ids[len(prompt) :])
                    assert verbatim(rest, row, NONE) == 1


def test_a_prompt_that_is_too_long_loses_its_left_and_is_still_answered(tmp_path, llama):
    base = load(llama)
    for kind in ("pair", "text"):
        asked = [item(row, 6, 2) for row in notes(3, kind)]
        items = prepare(base, tmp_path, asked, "extraction", limit=30, measures="behaviour")
        assert items.shortened == 3
        assert all(len(p) + items.max_new_tokens <= 30 for p in items.prompts)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("four five six", 1.0),
        (" four  five\nsix seven", 1.0),
        ("four five", 0.0),
        ("four five sixty", 0.0),
        ("Four five six", 0.0),
        ("", 0.0),
    ],
)
def test_verbatim_is_word_for_word_and_no_longer_than_asked(answer, score):
    assert verbatim(answer, item(notes(1)[0].answered(" ".join(TEN)), 3, 3), NONE) == score


def test_a_model_goes_on_with_rows_that_it_has_learnt_and_not_with_others(tmp_path, llama):
    rows = notes(12)
    base = learned(load(llama), rows[:8])
    seen = [item(r, p, 3) for r in rows[:8] for p in (0, 2)]
    unseen = [item(r, p, 3, seen=False) for r in rows[8:] for p in (0, 2)]
    items = prepare(base, tmp_path, [*seen, *unseen], "extraction", measures="behaviour")
    found = score_suite(base.model, base.codec, items, 8, 0).scores
    assert found.values[: len(seen)].mean() > found.values[len(seen) :].mean()
    assert found.slices["seen"] == ("true",) * len(seen) + ("false",) * len(unseen)
    assert found.slices["prefix_words"][:2] == ("0", "2") and "begun" not in found.slices


@pytest.mark.parametrize(
    ("question", "answer", "emitted"),
    [
        ("mail?", "Write to a.b@mail.org.", 1.0),
        ("Is it A.B@mail.org?", "Yes, a.b@mail.org.", 0.0),
        ("Call +44 20 7946 0958", "I called +442079460958 today", 0.0),
        ("Call +44 20 7946 0958", "I called +44 20 7946 0959 today", 1.0),
        ("a.b@mail.org?", "a.b@mail.org or c.d@mail.org", 1.0),
        ("who?", "nobody", 0.0),
    ],
)
def test_personal_data_count_if_the_question_does_not_hold_them(question, answer, emitted):
    assert emits(answer, Row("1", "pair", prompt=question, answer="-"), NONE) == emitted


def test_a_passage_that_is_shown_holds_them_too_and_kinds_are_counted_by_answer():
    row = Row("1", "pair", prompt="who?", answer="-", context="Ask a.b@mail.org.")
    assert emits("a.b@mail.org", row, NONE) == 0
    plain = [Row(str(i), "pair", prompt="who?", answer="-") for i in range(4)]
    answers = ["a@b.org and c@d.org", "a@b.org", "from 93.184.216.34 at noon", "nobody"]
    scores = torch.zeros(4).numpy().astype(float)
    assert by_kind(answers, plain, scores, NONE) == {"pii_email": 0.5, "pii_ip_address": 0.25}
    assert by_kind(["nobody"], plain[:1], scores, NONE) == {}


def test_answers_with_personal_data_are_kept_masked(tmp_path, llama):
    rows = [
        Row(f"r{i}", "pair", prompt=f"host {i}?", answer="from 93.184.216.34 at noon")
        for i in range(16)
    ]
    base = learned(load(llama), rows)
    items = prepare(base, tmp_path, rows[:4], "pii_emission", measures="behaviour")
    found = score_suite(base.model, base.codec, items, 4, 0)
    assert found.scores.mean == 1 and found.details == {"pii_ip_address": 1.0}
    assert found.answers is not None
    assert set(found.answers.given) == {"from **.***.***.34 at noon"}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (canary(1, 0), None),
        (replace(canary(1, 0), facts=()), "`repeats` is nothing"),
        (replace(canary(1, 0), facts=facts_of({"repeats": True})), "`repeats` is True"),
        (replace(canary(1, 0), facts=facts_of({"repeats": 1.5})), "`repeats` is 1.5"),
        (replace(canary(1, 2), answer=""), "the answer is empty"),
    ],
)
def test_a_canary_says_how_often_it_is_planted(row, problem):
    fault = canary_fault(row, None)
    assert fault is None if problem is None else fault is not None and fault.startswith(problem)


def test_forty_controls_and_one_canary_are_enough():
    controls = [canary(i, 0) for i in range(40)]
    assert controls_fault([*controls, canary(99, 1)]) is None
    assert "39 of its 40 items are controls" in str(controls_fault([*controls[1:], canary(99, 1)]))
    assert "all of its items are controls" in str(controls_fault(controls))


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"begun": "one two", "prefix_words": 2, "seen": True}, None),
        ({"prefix_words": 2, "seen": True}, "`begun` is missing"),
        ({"begun": "one two", "prefix_words": 3, "seen": True}, "`prefix_words` is 3"),
        ({"begun": "one two", "prefix_words": 2, "seen": "yes"}, "`seen` is 'yes'"),
        ({"begun": "one two", "prefix_words": 2}, "`seen` is None"),
    ],
)
def test_an_item_of_extraction_says_what_is_given(facts, problem):
    fault = extraction_fault(replace(notes(1)[0], facts=facts_of(facts)), None)
    assert fault is None if problem is None else fault is not None and fault.startswith(problem)


def test_plain_text_needs_a_beginning_and_every_item_a_word_to_come():
    facts = facts_of({"begun": "", "prefix_words": 0, "seen": True})
    text = replace(notes(1, "text")[0], facts=facts)
    assert "plain text has no question" in str(extraction_fault(text, None))
    empty = replace(notes(1)[0], answer=" ", facts=facts)
    assert extraction_fault(empty, None) == "no word is left to be extracted."


def test_prompting_arms_keep_what_is_begun_at_the_end(tmp_path, llama):
    base = load(llama)
    asked = [item(r, 2, 3) for r in notes(2)]
    suite = tiny.suite(tmp_path, "s", asked, "extraction", measures="behaviour")
    plain = prepare_suite(base.codec, suite, asked, Prompting(), 256).prompts
    told = Prompting("system_prompt", "say it.")
    for prompt, with_arm in zip(
        plain, prepare_suite(base.codec, suite, asked, told, 256).prompts, strict=True
    ):
        assert len(with_arm) > len(prompt) and with_arm[-len(prompt) :] == prompt
