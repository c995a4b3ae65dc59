"""The generator of planted faults: its truth is what stands in the files."""

import json
import random
from pathlib import Path

import pytest

from benchmarks.data_gates import personal
from benchmarks.data_gates.edits import EDITS, near_copy
from benchmarks.data_gates.faults import Kind, kinds
from benchmarks.data_gates.planted import BEGIN, END, write_report
from benchmarks.data_gates.prose import Paragraph, distinct, is_prose, paragraphs_of, repeating
from benchmarks.data_gates.scoring import (
    Checked,
    Flagged,
    interval,
    read_truth,
    run_check,
    score,
)
from benchmarks.data_gates.worlds import GENERAL, World, clean_world, write_world
from keepgain.core.errors import UserError

TEXT = (
    "The reader returns one row for each line of the file, and it skips the lines that are empty. "
    "If a line cannot be read, the number of the line is given in the message of the error."
)
ROWS = 240


def _made_up(number: int) -> list[Paragraph]:
    """Paragraphs of random words in seven topics."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=7)) for _ in range(4000)]

    def sentence() -> str:
        return " ".join(rng.sample(words, 12)).capitalize() + "."

    topics = [f"topic{n}" for n in range(7)]
    return [
        Paragraph(f"{sentence()} {sentence()} {sentence()}", topics[i % 7], f"name{i}")
        for i in range(number)
    ]


@pytest.fixture(scope="module")
def prose() -> list[Paragraph]:
    return _made_up(ROWS + 2 * GENERAL + 700)


@pytest.fixture(scope="module")
def all_kinds(prose: list[Paragraph]) -> list[Kind]:
    return kinds(prose[:400])


def test_prose_is_english_sentences_without_code_numbers_or_addresses() -> None:
    assert is_prose(TEXT)
    assert not is_prose("Too short to be a paragraph of prose.")
    assert not is_prose(f"{TEXT[:-1]} and 17 more, see https://python.org for the rest of it.")
    assert not is_prose(f"{TEXT[:-1]} or write to the list@python.org about it.")
    assert not is_prose(f"{TEXT[:-1]} or call 555 123 4567.")
    assert not is_prose(" ".join(["alpha beta gamma delta"] * 8) + ".")


def test_a_document_gives_paragraphs_with_their_headings() -> None:
    text = f"Reading files\n=============\n\n{TEXT}\n\n    >>> read('x')\n\n* {TEXT}\n"
    assert list(paragraphs_of(text)) == [("Reading files", TEXT)] * 2


def test_repetitions_are_common_runs_or_common_words_and_only_the_first_is_kept() -> None:
    first = "a b c d e f g h and then the text goes on about nothing else at all"
    run = "other words stand here before a b c d e f g h comes again after many more new ones"
    seven = "quite another thing altogether b c d e f g h ends with several unrelated long terms"
    shuffled = "all at else nothing about on goes text the then and h g f e d c b a"
    found = repeating([first, run, seven, shuffled])
    assert found == {0: {1, 3}, 1: {0}, 3: {0}}
    assert len(distinct([Paragraph(t, "t", "n") for t in (first, run, seven)])) == 2


def test_too_little_prose_is_refused(prose: list[Paragraph]) -> None:
    with pytest.raises(UserError, match="are needed"):
        clean_world(prose[:200], "answers", ROWS, 0)
    with pytest.raises(UserError, match="largest topics"):
        clean_world(prose[:200], "topics", ROWS, 0)


def test_check_digits_are_those_of_published_examples() -> None:
    assert personal.luhn_digit("7992739871") == "3"
    assert personal.iban_of("GB", "WEST12345698765432") == "GB82WEST12345698765432"
    assert personal.iban_of("DE", "370400440532013000") == "DE89370400440532013000"


@pytest.mark.parametrize("edit", EDITS)
def test_a_near_copy_differs_but_keeps_most_words(edit: str) -> None:
    copy = near_copy(TEXT, edit, random.Random(3))
    assert copy != TEXT
    before, after = (set(personal_words(t)) for t in (TEXT, copy))
    assert len(before & after) >= 0.6 * len(before)


def personal_words(text: str) -> list[str]:
    return "".join(c if c.isalpha() else " " for c in text.lower()).split()


@pytest.mark.parametrize("family", ["topics", "answers"])
def test_a_clean_data_set_has_distinct_rows_and_questions(
    prose: list[Paragraph], family: str
) -> None:
    world = clean_world(prose, family, ROWS, 0)  # type: ignore[arg-type]
    prompts = [i.record["prompt"] for items in world.files.values() for i in items]
    assert len(prompts) == len(set(prompts)) == ROWS + 2 * GENERAL
    assert {n: len(i) for n, i in world.files.items()} == {
        "train": 144,
        "validation": 48,
        "test": 48,
        "general_validation": GENERAL,
        "general_test": GENERAL,
    }
    assert clean_world(prose, family, ROWS, 0) == world  # type: ignore[arg-type]
    assert clean_world(prose, family, ROWS, 1) != world  # type: ignore[arg-type]


def test_the_truth_names_the_lines_that_were_changed(
    prose: list[Paragraph], all_kinds: list[Kind], tmp_path: Path
) -> None:
    for kind in all_kinds:
        clean = clean_world(prose, kind.families[-1], ROWS, 0)
        world = clean.copied()
        rate = kind.rates[-1]
        planted = kind.plant(world, rate, random.Random(1))
        write_world(world, planted, tmp_path / kind.name, 0)
        before = _records(clean)
        files = {n: _lines(tmp_path / kind.name, n) for n in world.files}
        truth = read_truth(tmp_path / kind.name)
        assert len(truth) == len(planted)
        if kind.scored == "set":
            assert files != {n: _lines_of(clean, n) for n in clean.files}, kind.name
            continue
        named = {(t["file"], t["line"]) for t in truth}
        assert len(named) == len(truth)
        for file, lines in files.items():
            for number, text in enumerate(lines, 1):
                untouched = text in before
                if (f"{file}.jsonl", number) in named:
                    assert not untouched, f"{kind.name}: a faulty row is as before"
        shares = {"train": 144, "validation": 48, "test": 48}
        file = {"test items": "test", "validation items": "validation"}.get(kind.rate_of, "train")
        assert len(truth) == max(1, round(rate * shares[file]))


def test_partners_are_the_rows_that_are_repeated(
    prose: list[Paragraph], all_kinds: list[Kind], tmp_path: Path
) -> None:
    kind = next(k for k in all_kinds if k.name == "leak_exact")
    world = clean_world(prose, "answers", ROWS, 0).copied()
    write_world(world, kind.plant(world, 0.2, random.Random(0)), tmp_path / "leak", 0)
    for line in read_truth(tmp_path / "leak"):
        name, number = line["partner"].split(":")
        assert (line["file"], name) == ("train.jsonl", "test.jsonl")
        copy = json.loads(_lines(tmp_path / "leak", "train")[line["line"] - 1])
        original = json.loads(_lines(tmp_path / "leak", "test")[int(number) - 1])
        assert copy["prompt"] == original["prompt"] and copy["answer"] == original["answer"]


def test_every_row_that_a_check_names_is_scored(
    prose: list[Paragraph], all_kinds: list[Kind], tmp_path: Path
) -> None:
    kind = next(k for k in all_kinds if k.name == "leak_exact")
    world = clean_world(prose, "answers", ROWS, 0).copied()
    spec = write_world(world, kind.plant(world, 0.2, random.Random(0)), tmp_path / "leak", 0)
    checked = run_check(spec, ["split_overlap"])
    truth = read_truth(tmp_path / "leak")
    found = score(kind, 0.2, "answers", truth, checked)
    assert len(truth) > 3 and (found.found, found.right) == (len(truth), found.flagged)
    (overlap,) = [f for f in checked.findings if f["code"] == "split_overlap"]
    assert overlap["count"] == len(checked.flagged) and len(overlap["rows"]) == 3


def test_rows_that_cannot_be_kept_apart_from_the_truth_are_scored_by_hand(
    all_kinds: list[Kind],
) -> None:
    near = next(k for k in all_kinds if k.name == "near")
    truth = [_line(7, 3), _line(8, 4), _line(9, 3)]
    flagged = (
        _flag(3, 7),  # the original is named: right
        _flag(9, None),  # no partner: right
        _flag(8, 3),  # another cluster: wrong
        _flag(20, 21),  # nothing planted: wrong
        Flagged("some_other_code", ("train.jsonl", 1), None),
    )
    found = score(near, 0.1, "topics", truth, Checked((), flagged))
    assert (found.planted, found.found, found.flagged, found.right) == (3, 2, 4, 2)
    assert found.by_sub == {"typos": (3, 2)}


def _line(line: int, partner: int) -> dict[str, object]:
    place = f"train.jsonl:{partner}"
    return {"kind": "near", "sub": "typos", "file": "train.jsonl", "line": line, "partner": place}


def _flag(line: int, partner: int | None) -> Flagged:
    other = None if partner is None else ("train.jsonl", partner)
    return Flagged("near_duplicate_rows", ("train.jsonl", line), other)


def test_intervals_are_wilsons() -> None:
    assert interval(8, 10) == "0.800 (0.490–0.943)"
    assert interval(0, 0) == "–"


def test_the_report_replaces_what_stands_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "data-gates.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_report("new\n", document)
    assert document.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    document.write_text("no marks\n")
    with pytest.raises(UserError, match="marks"):
        write_report("new\n", document)


def _lines(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()


def _lines_of(world: World, name: str) -> list[str]:
    return [json.dumps(i.record, ensure_ascii=False) for i in world.files[name]]


def _records(world: World) -> set[str]:
    return {line for name in world.files for line in _lines_of(world, name)}
