"""All rows of a finding are numbers until somebody asks for one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from keepgain.core.lazy import LazySequence
from keepgain.core.rows import Row
from keepgain.sweeps.gates.findings import Finding, finish, strict
from keepgain.sweeps.gates.row_list import RowList, found_in


@dataclass(frozen=True)
class Asked(LazySequence[Row]):
    """Says which rows were read."""

    count: int
    read: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.count

    def at(self, index: int) -> Row:
        self.read.append(index)
        return Row(f"r{index}", "pair", prompt="q", answer="a")


@dataclass(frozen=True)
class Places(LazySequence[str]):
    count: int

    def __len__(self) -> int:
        return self.count

    def at(self, index: int) -> str:
        return f"a file: of rows.jsonl:{index + 1}"


@dataclass(frozen=True)
class Set:
    rows: Asked
    places: Sequence[str]


def a_set(count: int) -> Set:
    return Set(Asked(count), Places(count))


def finding(all_rows: tuple[RowList, ...]) -> Finding:
    return Finding(
        code="old_rows", severity="warning", where="a/train", message="m.", all_rows=all_rows
    )


def test_a_million_rows_are_eight_bytes_each_and_three_are_shown() -> None:
    rows = a_set(2_000_000)
    one = finding(found_in(rows, np.arange(1, 2_000_000, 2)))
    assert one.rows == tuple(f"a file: of rows.jsonl:{n}" for n in (2, 4, 6))
    (found,) = one.all_rows
    assert (len(found), found.indices.nbytes, rows.rows.read) == (1_000_000, 8_000_000, [])
    last = {"file": "a file: of rows.jsonl", "line": 2_000_000, "id": "r1999999"}
    assert found.entry(999_999) == last and rows.rows.read == [1_999_999]


def test_a_row_has_the_one_that_it_stands_beside_and_what_is_said_of_it() -> None:
    a, b = a_set(9), a_set(9)
    beside = (a, np.array([0, 3]))
    (pairs,) = found_in(b, [4, 5], beside=beside)
    assert pairs[1] == "a file: of rows.jsonl:4 ~ a file: of rows.jsonl:6"
    (told,) = found_in(b, [4, 5], beside=beside, says=lambda k: f"no. {k}", form="{row}, {says}")
    assert list(told) == [
        "a file: of rows.jsonl:5, no. 0",
        "a file: of rows.jsonl:6, no. 1",
    ]
    assert told.entry(1) == {
        "file": "a file: of rows.jsonl",
        "line": 6,
        "id": "r5",
        "other": {"file": "a file: of rows.jsonl", "line": 4, "id": "r3"},
        "message": "no. 1",
    }
    assert found_in(b, []) == ()


def test_all_rows_stay_with_a_finding_and_out_of_its_json() -> None:
    one = finding(found_in(a_set(5), [0, 1, 2, 3]) + found_in(a_set(2), [1]))
    (waived,) = finish(strict([one]), {"old_rows": "meant so"})
    assert sum(map(len, waived.all_rows)) == 5 and waived.waived == "meant so"
    kept = one.model_dump_json()
    assert "all_rows" not in kept
    again = Finding.model_validate_json(kept)
    assert again == one and again.rows == one.rows and again.all_rows == ()
    assert again != waived
