"""Time and memory of the gates that compare rows with one another, on a large made-up source.

`python benchmarks/data_gates/scale.py` writes a file of a million rows of 100 words (a vocabulary
of 50,000, frequencies by Zipf's law) to a temporary folder, reads it as `sweep check` does and runs
the gates one after the other, each with its time and the peak memory of all processes. Of the rows
1 % are copies of others, 1 % are copies with a tenth of their words changed, and 100 of 1,000 test
items stand in a row, half of them changed.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from keepgain.core.row_files import iterate_rows
from keepgain.core.rows import RowSpool
from keepgain.sweeps.gates.diversity import check_diversity
from keepgain.sweeps.gates.leakage import check_leakage, find_leaks, leaked_items
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.near_duplicates import (
    check_near_duplicates,
    find_duplicates,
    sketch_probe,
)
from keepgain.sweeps.gates.scan import scan_sets
from keepgain.sweeps.gates.splits import QuestionProbe, check_duplicates, check_splits
from keepgain.sweeps.located import Places

WORDS, VOCABULARY, ITEMS, LEAKED = 100, 50_000, 1_000, 100
COPIED = CHANGED = 0.01
CHANGED_WORDS = 0.1


class Text:
    """Texts of made-up words."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        lengths = self.random.integers(2, 10, VOCABULARY)
        self.words = np.array(["".join(self.random.choice(letters, n)) for n in lengths])
        shares = 1 / np.arange(1, VOCABULARY + 1)
        self.upto = np.cumsum(shares / shares.sum())

    def new(self, rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Indices of words, of shape [rows, WORDS]."""
        drawn = np.searchsorted(self.upto, self.random.random((rows, WORDS)))
        return np.minimum(drawn, VOCABULARY - 1)

    def changed(
        self, texts: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """The same with a tenth of the words replaced."""
        here = self.random.random(texts.shape) < CHANGED_WORDS
        return np.where(here, self.random.integers(0, VOCABULARY, texts.shape), texts)


def write(folder: Path, rows: int, seed: int) -> None:
    """`train.jsonl` and `test.jsonl`."""
    text = Text(seed)
    items = text.new(ITEMS)
    shown = np.concatenate([items[: LEAKED // 2], text.changed(items[LEAKED // 2 : LEAKED])])
    _write(folder / "test.jsonl", text, [items])
    _write(folder / "train.jsonl", text, blocks(text, rows - LEAKED, shown))


def blocks(text: Text, rows: int, shown: np.ndarray) -> Iterator[np.ndarray]:  # type: ignore[type-arg]
    """`shown`, then blocks of new texts with copies and changed copies, of `rows` rows in all."""
    yield shown
    while rows > 0:
        block = text.new(min(rows, 10_000))
        for share, change in ((COPIED, lambda t: t), (CHANGED, text.changed)):
            copies = round(share * len(block))
            to, of = np.split(text.random.choice(len(block), 2 * copies, replace=False), 2)
            block[to] = change(block[of])
        yield block
        rows -= len(block)


def _write(path: Path, text: Text, blocks: "Iterator[np.ndarray] | list[np.ndarray]") -> None:  # type: ignore[type-arg]
    with path.open("w") as handle:
        for block in blocks:
            for row in text.words[block]:
                handle.write(json.dumps({"text": " ".join(row)}) + "\n")


def read(path: Path, label: str) -> RowSet:
    """As `prepare` does."""
    spool, lines = RowSpool(), array("q")
    for found in iterate_rows(path):
        spool.add(found.row)
        lines.append(found.line)
    places = Places(path, np.array(lines, dtype=np.int64))
    if label.endswith("/train"):
        return RowSet(label, "train", spool.rows(), places, role="task")
    return RowSet(label, "test", spool.rows(), places, measures="gain", scorer="bits_per_byte")


class Watch:
    """Time and memory of stages."""

    def __init__(self) -> None:
        self._peak = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        me = psutil.Process()
        while True:
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self._peak = max(self._peak, total)
            time.sleep(0.1)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Prints a line when it ends."""
        self._peak, began = 0, time.monotonic()
        yield
        seconds = time.monotonic() - began
        print(f"{name:34} {seconds:8.1f} s  {self._peak / 2**20:8.0f} MiB", flush=True)


def main() -> None:
    """Prints one line a stage, and what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        with watch.stage("writing the files (not counted)"):
            write(Path(folder), args.rows, args.seed)
        written = time.monotonic()
        with watch.stage("reading them"):
            sets = [
                read(Path(folder, "train.jsonl"), "made/train"),
                read(Path(folder, "test.jsonl"), "made/test"),
            ]
        with watch.stage("learning phrases"):
            sketches, questions = sketch_probe(sets), QuestionProbe()
        with watch.stage("one pass: questions, sketches"):
            measured = scan_sets(sets, [sketches, questions], args.processes)
        with watch.stage("splits"):
            asked = {label: m[questions.name] for label, m in measured.items()}
            findings = [*check_splits(sets, asked), *check_duplicates(sets, asked)]
        with watch.stage("near duplicates"):
            drawn = {label: m[sketches.name] for label, m in measured.items()}
            found = find_duplicates(sets, drawn, sketches)
            findings += check_near_duplicates(sets, found)
        del measured, drawn, asked
        with watch.stage("leakage (a second pass)"):
            leaks = find_leaks(sets, sketches.ignored, args.processes)
            findings += check_leakage(leaks)
        with watch.stage("diversity"):
            findings += check_diversity(sets)
    seconds = time.monotonic() - written
    print(f"{seconds:.0f} s in all, {args.rows / seconds:,.0f} rows/s")
    for finding in findings:
        print(f"{finding.severity}: {finding.message} [{finding.code}]")
    flagged = set(leaked_items(leaks).get("made/test", np.empty(0)).tolist())
    right = len(flagged & set(range(LEAKED)))
    print(f"leaked items: {right} of {LEAKED} found, {len(flagged) - right} others flagged")


if __name__ == "__main__":
    main()
