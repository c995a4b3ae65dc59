"""Items that training gives away are found wherever they stand; what all rows say is no leak."""

import random

import numpy as np
import pytest

from keepgain.sweeps.gates import leak_index, leakage
from keepgain.sweeps.gates.leak_index import Runs
from keepgain.sweeps.gates.leakage import check_leakage, find_leaks, leaked_items
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.shingles import hash_words, shingles
from tests.sweeps.gates.prose import EDITS, pair_set, paragraphs, text_set
from tests.sweeps.gates.whole import entries


def found(*sets: RowSet) -> dict[str, tuple[str, int | None]]:
    return {f.code: (f.where, f.count) for f in check_leakage(find_leaks(sets))}


@pytest.mark.parametrize("embedded", [False, True])
def test_items_in_training_rows_are_found_and_no_others(embedded: bool) -> None:
    rng = random.Random(1)
    texts = list(paragraphs())
    rng.shuffle(texts)
    items, rows = texts[:100], texts[100:]
    leaked = rng.sample(range(100), 40)
    for number, i in enumerate(leaked):
        edit = list(EDITS.values())[number % len(EDITS)]
        copy = edit(items[i], (0, 0.1, 0.15)[number % 3], rng)
        rows.append(f"{rows[2 * number]} {copy} {rows[2 * number + 1]}" if embedded else copy)
    leaks = find_leaks([text_set("docs/train", rows), text_set("suite/test", items)])
    flagged = set(leaked_items(leaks)["suite/test"].tolist())
    assert len(flagged & set(leaked)) >= 0.95 * len(leaked)
    assert len(flagged & set(leaked)) >= 0.95 * len(flagged)


def test_whole_items_are_errors_and_changed_ones_are_warned_of() -> None:
    texts = paragraphs()[:40]
    changed = " ".join("so" if i % 9 == 4 else w for i, w in enumerate(texts[1].split()))
    rows = [*texts[10:], f"{texts[20]} {texts[0]} {texts[21]}", changed]
    train, test = text_set("docs/train", rows), text_set("suite/test", texts[:10])
    whole, part = check_leakage(find_leaks([train, test]))
    assert (whole.code, whole.severity, whole.count, whole.of) == ("leaked_items", "error", 1, 10)
    assert whole.rows == ("docs/train.jsonl:31 ~ suite/test.jsonl:1",)
    assert (part.code, part.severity) == ("partly_leaked_items", "warning")
    assert part.rows == ("docs/train.jsonl:32 ~ suite/test.jsonl:2",)
    assert [(e["line"], e["other"]["line"]) for e in entries(part)] == [(2, 32)]
    assert 0.5 < part.figures["mean_seen"] < 0.8 < whole.figures["mean_seen"]


def test_test_items_in_validation_are_leaks_and_each_pair_of_sets_is_named() -> None:
    texts = paragraphs()[:60]
    sets = [
        text_set("old/train", [*texts[:20], f"Note: {texts[40]}"], role="replay"),
        text_set(
            "general/validation", [*texts[20:40], f"Note: {texts[41]}"], measures="forgetting"
        ),
        text_set("general/test", texts[40:], measures="forgetting"),
    ]
    leaks = find_leaks(sets)
    assert {(f.code, f.where) for f in check_leakage(leaks)} == {
        ("replay_leaked_items", "old/train and general/test"),
        ("leaked_items", "general/validation and general/test"),
    }
    assert {k: v.tolist() for k, v in leaked_items(leaks).items()} == {"general/test": [0, 1]}


def test_a_question_that_is_asked_word_for_word_is_flagged_but_not_said_twice() -> None:
    train = pair_set("qa/train", [("2+2=", "4"), ("3+3=", "6")])
    test = pair_set("qa/test", [("4+4=", "8"), (" 2+2= ", "4")])
    leaks = find_leaks([train, test])
    assert leaked_items(leaks)["qa/test"].tolist() == [1]
    assert leaks[0].row.tolist() == [0] and check_leakage(leaks) == []


def test_instructions_that_all_rows_have_are_no_leak() -> None:
    instruction = " ".join(paragraphs()[0].split()[:60])
    asked = [f"{instruction}\n{' '.join(p.split()[:20])}" for p in paragraphs()[1:121]]
    train = pair_set("told/train", [(q, "yes") for q in asked[:80]])
    test = pair_set("told/test", [(q, "no") for q in asked[80:]])
    assert found(train, test) == {}
    again = pair_set("told/test", [(f"{asked[3]} Please!", "no"), *[(q, "no") for q in asked[80:]]])
    assert found(train, again) == {"leaked_items": ("told/train and told/test", 1)}


def test_answers_that_many_rows_give_are_no_leak() -> None:
    refusal = "I am sorry, but that is nothing that I am able to help anybody with at this time."
    questions = [" ".join(p.split()[:25]) for p in paragraphs()[:60]]
    train = pair_set("qa/train", [(q, refusal) for q in questions[:40]])
    assert found(train, pair_set("qa/test", [(q, refusal) for q in questions[40:]])) == {}


def test_a_long_answer_in_training_is_a_leak_though_its_question_is_not() -> None:
    answers = paragraphs()[:40]
    train = text_set("docs/train", answers[:30])
    test = pair_set("qa/test", [(f"What of number {i}?", a) for i, a in enumerate(answers[29:])])
    assert found(train, test) == {"leaked_items": ("docs/train and qa/test", 1)}


def test_short_items_count_by_8_grams() -> None:
    """Of 10 words there are 3 runs of 8: all stand in the row with 10 of them, 2 of 3 in the one
    with 9, one in the one with 8."""
    item = "one two three four five six seven eight nine ten".split()
    filler = paragraphs()[:20]
    for kept, share in ((10, 1.0), (9, 2 / 3), (8, None)):
        row = f"Well, {' '.join(item[:kept])} and then some more of it, as they say"
        leaks = find_leaks(
            [text_set("a/train", [*filler, row]), text_set("s/test", [" ".join(item)])]
        )
        assert [leak.share.tolist() for leak in leaks] == ([] if share is None else [[share]])


def test_items_beyond_the_sample_are_not_counted_as_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leak_index, "MAX_ITEMS", 5)
    texts = paragraphs()[:30]
    copies = text_set("docs/train", [f"So: {t}" for t in texts])
    (finding,) = check_leakage(find_leaks([copies, text_set("suite/test", texts)]))
    assert (finding.count, finding.of) == (5, 5) and "5 of 5 looked for" in finding.message


def test_sets_without_items_or_rows_leak_nothing() -> None:
    assert find_leaks([]) == []
    assert find_leaks([text_set("a/train", ["x"])]) == []
    assert find_leaks([text_set("a/train", []), text_set("s/test", [])]) == []


def test_runs_name_every_text_that_has_them() -> None:
    words = hash_words(["a b a b", "b c", "a b"])
    runs = Runs.of(words, shingles(words, 2), words.left >= 2)
    assert len(runs.hashes) == 3  # a b, b a, b c
    ab = int(np.searchsorted(runs.hashes.hashes, shingles(words, 2)[0]))
    which, texts = runs.texts_with(np.array([ab, ab]))
    assert which.tolist() == [0, 0, 1, 1] and texts.tolist() == [0, 2, 0, 2]


def test_few_pairs_at_a_time_give_the_same_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and items of the same templates are too many pairs for memory."""
    texts = paragraphs()[:40]
    copies = [" ".join(t.split()[: 20 + 5 * i]) for t in texts[:10] for i in range(6)]
    sets = [text_set("docs/train", [*copies, *texts[10:]]), text_set("suite/test", texts[:10])]
    (whole,) = find_leaks(sets)
    assert len(whole.items) == 10
    for pairs in (1, 50, 1000):
        monkeypatch.setattr(leakage, "_PAIRS", pairs)
        (one,) = find_leaks(sets)
        for name in ("items", "row", "share", "asked"):
            assert np.array_equal(getattr(one, name), getattr(whole, name)), (pairs, name)
