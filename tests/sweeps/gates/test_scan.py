"""One pass for all probes, the same in one process and in several."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from keepgain.core.rows import Row, RowSpool
from keepgain.sweeps.gates import scan as scanning
from keepgain.sweeps.gates import sketches
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.scan import scan, scan_sets
from keepgain.sweeps.gates.splits import QuestionProbe


@dataclass(frozen=True)
class Lengths:
    name: str = "lengths"

    def measure(self, rows: Sequence[Row]) -> Mapping[str, npt.NDArray[np.int64]]:
        return {"characters": np.array([len(r.text) for r in rows], dtype=np.int64)}


@dataclass(frozen=True)
class Letters:
    """As many values a row as it has letters, and the process that counted them."""

    name: str = "letters"

    def measure(self, rows: Sequence[Row]) -> Mapping[str, npt.NDArray[np.int64]]:
        return {
            "counts": np.array([len(r.text) for r in rows], dtype=np.int64),
            "codes": np.array([ord(c) for r in rows for c in r.text], dtype=np.int64),
            "process": np.full((len(rows), 1), os.getpid(), dtype=np.int64),
        }


TEXTS = ["a", "", "bcd", "c", "é", "zz", "y"]


def stored(texts: Sequence[str]) -> Sequence[Row]:
    spool = RowSpool()
    for i, text in enumerate(texts):
        spool.add(Row(str(i), "text", text=text))
    return spool.rows()


def rows(texts: Sequence[str]) -> Sequence[Row]:
    return tuple(Row(str(i), "text", text=text) for i, text in enumerate(texts))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "CHUNK", 2)
    monkeypatch.setattr(scanning, "POOL_ROWS", 3)


@pytest.mark.parametrize("made", [rows, stored])
def test_arrays_are_those_of_all_rows_in_their_order(made) -> None:  # type: ignore[no-untyped-def]
    found = scan(made(TEXTS), [Lengths(), Letters()])
    assert found["lengths"]["characters"].tolist() == [1, 0, 3, 1, 1, 2, 1]
    assert "".join(map(chr, found["letters"]["codes"])) == "abcdcézzy"
    assert found["letters"]["process"].shape == (7, 1)


def test_no_rows_have_empty_arrays_of_the_same_kind() -> None:
    found = scan([], [Letters()])["letters"]
    assert {name: (a.shape, a.dtype) for name, a in found.items()} == {
        "counts": ((0,), np.int64),
        "codes": ((0,), np.int64),
        "process": ((0, 1), np.int64),
    }


def test_ticks_add_up_to_the_rows() -> None:
    ticks: list[int] = []
    scan(rows(TEXTS), [Lengths()], tick=ticks.append)
    assert ticks == [2, 2, 2, 1]


def test_processes_find_what_one_finds_in_the_order_of_the_rows() -> None:
    sets = [
        RowSet("a/train", "train", stored(TEXTS * 3), ()),
        RowSet("b/test", "test", rows(TEXTS), ()),
    ]
    ticks: list[int] = []
    alone = scan_sets(sets, [Lengths(), Letters()])
    many = scan_sets(sets, [Lengths(), Letters()], processes=2, tick=ticks.append)
    assert os.getpid() not in many["a/train"]["letters"]["process"]
    assert sum(ticks) == 28
    for label in ("a/train", "b/test"):
        for probe, name in (("lengths", "characters"), ("letters", "codes")):
            assert np.array_equal(many[label][probe][name], alone[label][probe][name])


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal
            from keepgain.sweeps.gates import scan as scanning
            from tests.sweeps.gates.test_scan import Letters, rows

            if __name__ == "__main__":
                scanning.CHUNK, scanning.POOL_ROWS = 2, 3
                pool = scanning._pooled(((0, rows("abcd")) for _ in range(9)), [Letters()], 1)
                print(next(pool)[2]["letters"]["process"][0, 0], flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )
    )
    # The worker has the other end of the pipe too: `run` returns when both have ended.
    done = subprocess.run(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=60,
    )
    assert done.returncode == -9
    assert int(done.stdout) > 1


def test_long_rows_are_chunked_and_sampled_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A book a row: 2,000 of them at once would take gigabytes."""
    spool = RowSpool()
    for number in range(50):
        spool.add(Row(str(number), "text", text=f"{number} " + "word " * 200))
    rows, probe = spool.rows(), QuestionProbe()
    whole = scan(rows, [probe])[probe.name]
    monkeypatch.setattr(scanning, "CHUNK", 50)
    monkeypatch.setattr(scanning, "CHUNK_BYTES", 3_000)
    done: list[int] = []
    parts = scan(rows, [probe], tick=done.append)[probe.name]
    assert max(done) == 3 and sum(done) == 50
    assert all(np.array_equal(parts[name], whole[name]) for name in whole)
    assert [r.id for r in sketches.sampled_rows(rows, 50)] == [str(i) for i in range(50)]
    monkeypatch.setattr(sketches, "SAMPLE_CHARACTERS", 10_500)
    some = [int(r.id) for r in sketches.sampled_rows(rows, 50)]
    assert len(some) == 11 and some == sorted(some), "of 1,002 characters or so each"
