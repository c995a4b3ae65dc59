"""Copies are found whatever was done to them, and what is only alike is left alone."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from keepgain.core.rows import RowSpool
from keepgain.sweeps.gates import near_duplicates
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.near_duplicates import check_near_duplicates, find_duplicates
from keepgain.sweeps.gates.shingles import (
    HashSet,
    distinct,
    hash_words,
    many_rows,
    normal,
    shingles,
    words,
)
from keepgain.sweeps.gates.sketches import are_near, candidates, content, phrases
from tests.sweeps.gates.prose import EDITS, pair_set, paragraphs, text_set
from tests.sweeps.gates.whole import entries, whole

NOTHING = HashSet(np.empty(0, dtype=np.uint64))


def codes(sets: Sequence[RowSet]) -> dict[str, int | None]:
    found = check_near_duplicates(sets, find_duplicates(sets))
    return {f"{f.code} {f.where}": f.count for f in found}


def test_edited_copies_are_found_and_nothing_else() -> None:
    """Every second copy has a tenth of its words changed, every other one a fifth."""
    rng = random.Random(0)
    base = paragraphs()
    rows, copied_from = list(base), {}
    for number, i in enumerate(rng.sample(range(len(base)), len(base) // 2)):
        edit = list(EDITS.values())[number % len(EDITS)]
        copied_from[len(rows)] = i
        rows.append(edit(base[i], (0.1, 0.2)[number // len(EDITS) % 2], rng))
    assert len(copied_from) >= 80
    clusters = find_duplicates([text_set("docs/train", rows)]).near["docs/train"]
    surplus = {i for i, cluster in enumerate(clusters.tolist()) if cluster != i}
    right = sum(clusters[i] == clusters[j] for i, j in copied_from.items())
    assert right / len(copied_from) >= 0.95
    assert len(surplus & set(copied_from)) / len(surplus) >= 0.95


def test_a_cluster_is_counted_once_and_shown_by_place() -> None:
    first, second, *others = paragraphs()[:30]
    changed = first.replace(" the ", " a ", 1)
    one = text_set("docs/train", [first, *others, second, first.upper() + " ", changed])
    exact, near = check_near_duplicates([one], find_duplicates([one]))
    assert (exact.code, exact.count, exact.of) == ("duplicate_rows", 1, 32)
    assert exact.rows == ("docs/train.jsonl:1 ~ docs/train.jsonl:31",)
    assert (near.code, near.count) == ("near_duplicate_rows", 1)
    assert near.rows == ("docs/train.jsonl:1 ~ docs/train.jsonl:32",)
    assert near.figures["clusters"] == 1 and near.severity == "warning"
    assert whole(exact) == [31] and whole(near) == [32]


def test_copies_are_named_where_they_are() -> None:
    texts = paragraphs()[:60]
    changed = [" ".join(t.split()[:-3]) + " and so on" for t in texts[:4]]
    sets = [
        text_set("one/train", texts[:20]),
        text_set("other/train", [*texts[20:40], *changed[:3], texts[5]]),
        text_set("suite/test", [*texts[40:], texts[40] + " Why?", texts[0]]),
    ]
    found = {f.code: f for f in check_near_duplicates(sets, find_duplicates(sets))}
    assert {code: (f.where, whole(f)) for code, f in found.items()} == {
        "shared_rows": ("one/train and other/train", [24]),
        "near_shared_rows": ("one/train and other/train", [21, 22, 23]),
        "near_duplicate_items": ("suite/test", [21]),
    }
    assert [e["other"]["line"] for e in entries(found["near_shared_rows"])] == [1, 2, 3]


def test_another_answer_to_the_same_question_is_no_copy() -> None:
    pairs = [("Who wrote it?", "Ann."), ("Who wrote it?", "Bob."), ("who  wrote it?", "ann.")]
    assert codes([pair_set("qa/train", pairs)]) == {"duplicate_rows qa/train": 1}


def test_short_rows_that_are_alike_are_different_rows() -> None:
    things = [f"T:{thing} {level} {n}=" for thing in ("vpn", "mail") for level in ("low", "mid")
              for n in range(50)]  # fmt: skip
    questions = [f"What is the capital city of the country named {n}, please tell?" for n in things]
    assert codes([pair_set("short/train", [(t, "ab1") for t in things + questions])]) == {}


def test_what_most_rows_say_makes_them_no_copies() -> None:
    instruction = " ".join(paragraphs()[0].split()[:80])
    inputs = [" ".join(t.split()[:25]) for t in paragraphs()[1:61]]
    rows = [f"{instruction} {text}" for text in inputs]
    assert codes([text_set("told/train", rows)]) == {}
    assert codes([text_set("told/train", [*rows, rows[3] + " Thanks."])]) == {
        "near_duplicate_rows told/train": 1
    }


def test_scripts_without_spaces_are_compared_by_their_characters() -> None:
    text = (
        "吾輩は猫である名前はまだ無いどこで生れたかとんと見当がつかぬ何でも薄暗いじめじめした所で"
    )
    other = "国境の長いトンネルを抜けると雪国であった夜の底が白くなった信号所に汽車が止まった向側の"
    rows = [text, other, text.replace("名前", "氏名")]
    clusters = find_duplicates([text_set("ja/train", rows)]).near["ja/train"]
    assert clusters.tolist() == [0, 1, 0]
    assert words("ab 国境の長") == ["ab", "国境", "境の", "の長", "長"]


def test_a_file_on_disk_in_chunks_gives_what_memory_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [*paragraphs()[:40], *(p + " More." for p in paragraphs()[:5])]
    memory = text_set("docs/train", rows)
    spool = RowSpool()
    for row in memory.rows:
        spool.add(row)
    stored = RowSet("docs/train", "train", spool.rows(), memory.places, role="task")
    monkeypatch.setattr("keepgain.sweeps.gates.scan.CHUNK", 7)
    assert np.array_equal(
        find_duplicates([stored]).near["docs/train"], find_duplicates([memory]).near["docs/train"]
    )


def test_what_is_left_out_for_want_of_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = paragraphs()[:10]
    one = text_set("docs/train", [*texts, texts[0] + " More.", texts[1] + " And much more of it."])
    monkeypatch.setattr(near_duplicates, "MAX_PAIRS", 1)
    (finding,) = check_near_duplicates([one], find_duplicates([one]))
    assert finding.count == 1 and "Of 2 pairs the 1 most alike were looked at" in finding.message


def test_no_rows_and_empty_rows_have_no_findings() -> None:
    assert codes([]) == {} == codes([text_set("none/train", [])])
    assert codes([text_set("empty/train", ["", "a"])]) == {}


def test_shingles_are_runs_within_a_text() -> None:
    """`a b c` and `b c` have `b c` in common; the last word of a text begins no run of two."""
    found = hash_words(["a b c", "", "b c"])
    assert found.counts.tolist() == [3, 0, 2] and found.left.tolist() == [3, 2, 1, 2, 1]
    pairs = shingles(found, 2)
    assert pairs[1] == pairs[3] and len(distinct(pairs[found.left >= 2])) == 2
    assert shingles(found, 3)[0] != pairs[0]


def test_a_normal_text_keeps_digits_and_punctuation() -> None:
    assert normal("  ＡＢ\tﬁne,\n No. 7 ") == "ab fine, no. 7"


@pytest.mark.parametrize(
    ("rows", "limit"), [(3, 2), (40, 10), (80, 20), (2_000, 20), (100_000, 1_000)]
)
def test_the_rows_that_make_a_phrase_grow_with_the_set(rows: int, limit: float) -> None:
    assert many_rows(rows) == limit


def test_a_phrase_is_in_many_different_texts() -> None:
    phrase = "as was said before"
    texts = [f"{phrase} by {name}" for name in ("ann", "bob", "cy", "dee", "ed", "flo", "gus")]
    copies = ["once upon a time there was"] * 7
    rows = text_set("x/train", texts + copies).rows
    assert phrases(rows).tolist() == [shingles(hash_words(["as was said before by"]), 5)[0]]


def test_pairs_stand_together_by_what_their_sketches_share() -> None:
    """Rows 0 and 2 share shingles 7, 8, 9 of the four that each has; row 1 shares one with both."""
    high = np.uint64(1) << np.uint64(40)
    sketch = np.array([6, 7, 8, 9, 9, 1, 2, 3, 7, 8, 9, 5], dtype=np.uint64) * high
    counts = np.array([4, 4, 4], dtype=np.int32)
    measured = [{"sketch": sketch, "sizes": counts, "shingles": counts}]
    found, total = candidates(measured, np.array([True, True, True]), most=10)
    assert (total, found.first.tolist(), found.second.tolist()) == (1, [0], [2])
    assert found.resemblance.tolist() == [0.75]
    assert candidates(measured, np.array([True, True, False]), most=10)[1] == 0


def test_near_is_half_of_the_shingles_or_most_of_the_words() -> None:
    def near(a: str, b: str) -> bool:
        return are_near(*(content(hash_words([normal(t)]), NOTHING) for t in (a, b)))

    text = [f"w{i}" for i in range(40)]
    every_fifth = [f"x{i}" if i % 5 == 2 else w for i, w in enumerate(text)]
    # 16 of the 38 runs of three words are left (.42), and 32 of 40 words (.8).
    assert near(" ".join(text), " ".join(every_fifth))
    every_third = [f"x{i}" if i % 3 == 2 else w for i, w in enumerate(text)]
    assert not near(" ".join(text), " ".join(every_third))
    assert near(" ".join(text), " ".join(text[:20]))  # contained
    assert not near(" ".join(text), " ".join(text[:11]))  # too short to tell
    # Below 20 words .8 of the runs are needed: one changed word of 14 in the middle leaves 9 of 12.
    short = text[:14]
    assert not near(" ".join(short), " ".join([*short[:6], "x", *short[7:]]))
    assert near(" ".join(short), " ".join([*short[:13], "x"]))
