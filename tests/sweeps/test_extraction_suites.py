"""Suites that ask for training rows: their items, what is refused, and that no leak is seen."""

from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.core.rows import Row, read_rows
from keepgain.sweeps.canaries import draw_canaries
from keepgain.sweeps.check import check
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world, write_jsonl

GENERAL = "  general: {path: general.jsonl, role: replay}\n"
HALVES = "validation: validation.jsonl, test: test.jsonl"
LEAKS = {"leaked_items", "partly_leaked_items", "train_eval_duplicates", "near_duplicate_items"}


def note(i: int) -> dict[str, Any]:
    """Eleven words, all rows different."""
    words = " ".join(f"{w}{i * 7 % 400}" for w in ("open", "gate", "ring", "bell", "call", "desk"))
    return {"prompt": f"note {i}", "answer": f"first  {words} and then rest"}


def spec_with(folder: Path, extract: str, rows: list[dict[str, Any]] | None = None) -> Path:
    path = make_world(folder, models=1)
    write_jsonl(folder / "tickets.jsonl", rows or [note(i) for i in range(400)])
    memory = f"  memory: {{extract: {extract}, scorer: extraction, measures: behaviour}}\n"
    path.write_text(path.read_text().replace("suites:\n", f"suites:\n{memory}"))
    return path


def prepared_with(
    folder: Path, extract: str, rows: list[dict[str, Any]] | None = None, store: Path | None = None
) -> Prepared:
    return prepare(load_spec(spec_with(folder, extract, rows)), store)


def refused(folder: Path, extract: str, rows: list[dict[str, Any]] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        prepared_with(folder, extract, rows)
    return str(caught.value)


def items(prepared: Prepared, split: str) -> list[Row]:
    return list(prepared.suites["memory"].items(split).rows)  # type: ignore[arg-type]


def test_every_length_is_asked_of_the_same_rows_seen_and_held_out(tmp_path):
    asked = "{source: tickets, prefix_words: [0, 4, 8], words: 2, items: 30}"
    prepared = prepared_with(tmp_path, asked)
    source = prepared.sources["tickets"]
    trained = {r.id for r in source.train.rows}
    seen_in: dict[str, set[str]] = {}
    for split in ("validation", "test"):
        held_out = {r.id for r in getattr(source, split).rows}
        found = items(prepared, split)
        seen, unseen = (
            {r.id.removeprefix("held_out/").rsplit("/", 1)[0] for r in found if r.fact("seen") is k}
            for k in (True, False)
        )
        assert len(seen) == 30 and seen <= trained
        assert len(unseen) == min(30, len(held_out)) and unseen <= held_out
        assert len(found) == 3 * (len(seen) + len(unseen))
        assert [r.fact("prefix_words") for r in found[:3]] == [0, 4, 8]
        assert len({r.cluster for r in found[:3]}) == 1
        seen_in[split] = seen
    assert not seen_in["validation"] & seen_in["test"]


def test_rows_of_several_files_may_have_the_same_ids(tmp_path):
    path = spec_with(tmp_path, "{source: tickets, prefix_words: [4], words: 2, items: 30}")
    sizes = {"train": 100, "validation": 40, "test": 40}
    for at, (name, size) in enumerate(sizes.items()):
        rows = [{"id": str(i), **note(i + 100 * at)} for i in range(size)]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    files = ", ".join(f"{name}: {name}.jsonl" for name in sizes)
    text = path.read_text().replace("{path: tickets.jsonl, role: task, split: auto}", "{FILES}")
    path.write_text(text.replace("{FILES}", f"{{{files}, role: task}}"))
    for split in ("validation", "test"):
        found = items(prepare(load_spec(path), None), split)
        assert len(found) == len({r.id for r in found}) == len({r.cluster for r in found}) == 60


def test_what_is_given_and_what_is_asked_for_make_up_the_beginning_of_the_row(tmp_path):
    asked = "{source: tickets, prefix_words: [0, 4, 8], words: 2, items: 5}"
    prepared = prepared_with(tmp_path, asked, store=tmp_path / "sweep")
    answers = {r.id: r.answer for r in prepared.sources["tickets"].train.rows}
    ref = next(s for s in prepared.score_suites("validation") if s.name == "memory")
    stored = [r for r in read_rows(Path(ref.path)) if r.fact("seen")]
    for row in stored:
        whole = answers[row.id.rsplit("/", 1)[0]]
        begun = row.fact("begun")
        assert whole.startswith(begun) and len(begun.split()) == row.fact("prefix_words")
        assert whole[len(begun) :].lstrip().startswith(row.answer)
        assert len(row.answer.split()) == 2 and row.answer == row.answer.strip()
    assert any("first  open" in r.fact("begun") for r in stored), "white space stays as it was"


def test_plain_text_goes_on_from_its_beginning_and_lacks_held_out_rows(tmp_path):
    prepared = prepared_with(tmp_path, "{source: general, prefix_words: [1], words: 2, items: 9}")
    found = items(prepared, "test")
    assert len(found) == 9 and all(r.kind == "text" and r.fact("seen") for r in found)
    assert found[0].fact("begun") == "general" and found[0].text.startswith("fact ")


def test_the_rows_stay_the_same_when_the_file_grows_and_are_in_the_identity(tmp_path):
    asked = "{source: tickets, prefix_words: [4], words: 2, items: 10}"
    one = prepared_with(tmp_path / "a", asked)
    again = prepared_with(tmp_path / "b", asked)
    assert one.spec_content()["suites"] == again.spec_content()["suites"]
    more = prepared_with(tmp_path / "c", asked.replace("10", "11"))
    assert {r.id for r in items(one, "test")} < {r.id for r in items(more, "test")}


def test_no_leak_is_seen_in_items_that_are_training_rows_on_purpose(tmp_path):
    asked = "{source: tickets, prefix_words: [2, 4, 8], words: 2, items: 100}"
    prepared = prepared_with(tmp_path, asked)
    assert "memory" not in {s.name for s in prepared.row_sets}
    assert not [f for f in check(prepared) if "memory" in f.where or f.code in LEAKS]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("{source: nothing}", ["memory.extract.source (line 7)", "Sources with answers: tickets"]),
        (
            "{source: tickets, prefix_words: [64]}",
            ["have 72 words (64 given and 8 to come out); the longest has 10", "prefix_words: [0]"],
        ),
        ("{source: tickets, prefix_words: [8, 4]}", ["extract.prefix_words", "ascending"]),
        ("{source: general, prefix_words: [0], words: 2}", ["extract general validation:1"]),
        ("{source: tickets, prefix_words: [4]}, path: x.jsonl", ["give exactly one of"]),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_place(tmp_path, asked, words):
    said = refused(tmp_path, asked)
    assert all(w in said for w in words), said


def test_another_scorer_and_items_without_facts_are_refused(tmp_path):
    path = spec_with(tmp_path, "{source: tickets}")
    text = path.read_text()
    path.write_text(text.replace("scorer: extraction", "scorer: exact_match"))
    with pytest.raises(UserError, match="`extract` is scored by extraction"):
        load_spec(path)
    write_jsonl(tmp_path / "own.jsonl", [{"prompt": f"p {i}", "answer": "a b"} for i in range(50)])
    path.write_text(text.replace("extract: {source: tickets}", "path: own.jsonl"))
    with pytest.raises(UserError, match=r"own\.jsonl:\d+: `begun` is missing"):
        prepare(load_spec(path), None)


def exposure_spec(folder: Path, items: str) -> Path:
    path = make_world(folder, models=1)
    drawn = draw_canaries(12, [1, 4], 90, seed=0)
    write_jsonl(folder / "canaries.jsonl", list(drawn.planted))
    write_jsonl(folder / "validation.jsonl", list(drawn.validation))
    write_jsonl(folder / "test.jsonl", list(drawn.test))
    suite = f"  exposure: {{{items}, scorer: canary_bits, measures: behaviour}}\n"
    source = "  canaries: {path: canaries.jsonl, role: task}\n"
    text = path.read_text().replace("suites:\n", f"suites:\n{suite}")
    path.write_text(text.replace(GENERAL, GENERAL + source))
    return path


def test_what_clean_writes_is_a_suite_of_canaries_and_no_leak(tmp_path):
    prepared = prepare(load_spec(exposure_spec(tmp_path, HALVES)), None)
    suite = prepared.suites["exposure"]
    for split in ("validation", "test"):
        repeats = [r.fact("repeats") for r in suite.items(split).rows]
        assert [repeats.count(n) for n in (0, 1, 4)] == [45, 3, 3]
    found = check(prepared)
    assert not [f for f in found if "exposure" in f.where or f.code in LEAKS]


def test_too_few_controls_in_a_half_and_faulty_items_are_refused(tmp_path):
    path = exposure_spec(tmp_path, "path: validation.jsonl")
    with pytest.raises(UserError) as caught:
        prepare(load_spec(path), None)
    said = str(caught.value)
    assert "suites.exposure.scorer" in said and "validation items: " in said
    assert "are controls (`repeats: 0`), and at least 40 are needed in each" in said
    assert "halved by a hash" in said
    path = exposure_spec(tmp_path / "faulty", HALVES)
    file = path.parent / "test.jsonl"
    lines = file.read_text().splitlines()
    for wrong, problem in (('"often"', "`repeats` is 'often'"), ("-1", "`repeats` is -1")):
        last = lines[-1].replace('"repeats": 0', f'"repeats": {wrong}')
        file.write_text("\n".join([*lines[:-1], last]))
        with pytest.raises(UserError, match=rf"test\.jsonl:{len(lines)}: {problem}"):
            prepare(load_spec(path), None)


def test_a_suite_of_controls_alone_is_refused(tmp_path):
    path = exposure_spec(tmp_path, HALVES)
    file = tmp_path / "test.jsonl"
    controls = [line for line in file.read_text().splitlines() if '"repeats": 0' in line]
    file.write_text("\n".join(controls))
    with pytest.raises(UserError, match="test items: all of its items are controls"):
        prepare(load_spec(path), None)
