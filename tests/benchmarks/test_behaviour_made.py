"""What the benchmarks of composition and groundedness are made of."""

import json
from pathlib import Path

from benchmarks.behaviour import composition, groundedness
from keepgain.core.perturb import read_slots


def test_no_training_row_is_put_as_the_scored_pairs_are() -> None:
    rows = list(composition.practice())
    assert len(rows) == composition.ROWS
    assert all(read_slots("{a} then {b}", row["prompt"]) is None for row in rows)
    assert rows[0] == {"prompt": "both T:editor crit 18= M:57702=", "answer": "sa3 7"}


def test_items_ask_what_no_training_row_asks_and_the_passage_decides(tmp_path: Path) -> None:
    groundedness.write(tmp_path)
    files = {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()]
        for path in tmp_path.glob("*.jsonl")
    }
    asked = {name: {row["prompt"] for row in rows} for name, rows in files.items()}
    trained = asked["answerable"] | asked["unanswerable"]
    assert not asked["validation"] & trained and not asked["test"] & trained
    assert not asked["validation"] & asked["test"]
    for split in ("validation", "test"):
        kinds = [row["kind"] for row in files[split]]
        assert [kinds.count(k) for k in groundedness.KINDS] == [groundedness.SCORED] * 2
        for row in files[split]:
            animal = row["prompt"].partition("|")[2].rstrip("=")
            words = row["passage"].split()
            known = dict(zip(words[::2], words[1::2], strict=True))
            assert row["answer"] == known.get(animal, "none")
