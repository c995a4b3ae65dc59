"""One pass over the rows for all gates: probes measure chunks, in processes if there are many."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from keepgain.core.rows import Row, StoredRows, parse_line
from keepgain.sweeps.gates.material import RowSet

CHUNK = 2_000
CHUNK_BYTES = 8_000_000
"""Of the lines of a chunk, where rows are long; one line may be longer."""
POOL_ROWS = 20_000
"""Rows below which starting processes (about a second) takes longer than it saves."""

MOST_PROCESSES = 8

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Measured = Mapping[str, Mapping[str, Arrays]]
"""Label of a row set → name of a probe → name of an array → the array."""


class Probe(Protocol):
    """What a gate wants to know of every row. It is pickled, and so are its results."""

    @property
    def name(self) -> str:
        """Unlike that of the other probes of a scan."""

    def measure(self, rows: Sequence[Row]) -> Arrays:
        """Arrays of shape [rows, ...] with the same keys and dtypes for any rows, none included.

        What differs in number from row to row is one flat array and one with the number of each
        row. Nothing may depend on which rows are in a chunk together.
        """


def usable_processes() -> int:
    """Processors of this process, where the system says so, but not more than 8."""
    known = hasattr(os, "sched_getaffinity")
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1)


def scan(
    rows: Sequence[Row],
    probes: Sequence[Probe],
    processes: int = 1,
    tick: Callable[[int], None] | None = None,
) -> dict[str, dict[str, Array]]:
    """Name of each probe → its arrays over all rows; arguments as of `scan_sets`."""
    return _scan([rows], probes, processes, tick)[0]


def scan_sets(
    sets: Sequence[RowSet],
    probes: Sequence[Probe],
    processes: int = 1,
    tick: Callable[[int], None] | None = None,
) -> dict[str, dict[str, dict[str, Array]]]:
    """What the probes measure in all rows of all sets, read once.

    Args:
        sets: Their labels are the keys of the result.
        probes: All of them see the same chunks.
        processes: That measure, where there are many rows; 1: this one.
        tick: Called after each chunk with its number of rows.
    """
    found = _scan([s.rows for s in sets], probes, processes, tick)
    return {s.label: measured for s, measured in zip(sets, found, strict=True)}


def _scan(
    many: Sequence[Sequence[Row]],
    probes: Sequence[Probe],
    processes: int,
    tick: Callable[[int], None] | None,
) -> list[dict[str, dict[str, Array]]]:
    parts: list[list[_Measures]] = [[_measure(probes, [])] for _ in many]
    chunks = ((k, chunk) for k, rows in enumerate(many) for chunk in _chunks(rows))
    large = sum(map(len, many)) >= POOL_ROWS and processes > 1
    measured = _pooled(chunks, probes, processes) if large else _here(chunks, probes)
    for k, size, measures in measured:
        parts[k].append(measures)
        if tick is not None:
            tick(size)
    return [_joined(of_set) for of_set in parts]


_Measures = dict[str, dict[str, Array]]
_Chunk = list[Row] | list[bytes]
"""Rows, or lines of a normalised file: these are sent to another process in half of the time, and
parsed there."""


def _chunks(rows: Sequence[Row]) -> Iterator[_Chunk]:
    if not isinstance(rows, StoredRows):
        for begin in range(0, len(rows), CHUNK):
            yield [rows[i] for i in range(begin, min(begin + CHUNK, len(rows)))]
        return
    lines: list[bytes] = []
    size = 0
    for line in rows.lines():
        lines.append(line)
        size += len(line)
        if len(lines) == CHUNK or size > CHUNK_BYTES:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _here(
    chunks: Iterable[tuple[int, _Chunk]], probes: Sequence[Probe]
) -> Iterator[tuple[int, int, _Measures]]:
    for k, chunk in chunks:
        yield k, len(chunk), _measure(probes, chunk)


def _pooled(
    chunks: Iterable[tuple[int, _Chunk]], probes: Sequence[Probe], processes: int
) -> Iterator[tuple[int, int, _Measures]]:
    """In the order of the chunks, of which only a few are in memory at a time.

    Processes are spawned: a forked one may inherit a lock that a thread held (of torch, of Rust).
    """
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _begin, (tuple(probes),)
    )
    waiting: deque[tuple[int, int, Future[_Measures]]] = deque()
    try:
        for k, chunk in chunks:
            waiting.append((k, len(chunk), pool.submit(_measure_there, chunk)))
            if len(waiting) > 2 * processes:
                k, size, future = waiting.popleft()
                yield k, size, future.result()
        while waiting:
            k, size, future = waiting.popleft()
            yield k, size, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_probes: tuple[Probe, ...] = ()
"""Of a process of the pool."""


def _begin(probes: tuple[Probe, ...]) -> None:
    global _probes
    _probes = probes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's process whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _measure_there(chunk: _Chunk) -> _Measures:
    return _measure(_probes, chunk)


def _measure(probes: Sequence[Probe], chunk: _Chunk) -> _Measures:
    rows = [parse_line(r) if isinstance(r, bytes) else r for r in chunk]
    return {probe.name: dict(probe.measure(rows)) for probe in probes}


def _joined(parts: list[_Measures]) -> _Measures:
    """Parts are given up one array at a time, so that none but the largest is held twice."""
    whole: _Measures = {}
    for probe, arrays in parts[0].items():
        whole[probe] = {}
        for name in list(arrays):
            whole[probe][name] = np.concatenate([p[probe].pop(name) for p in parts])
    return whole
