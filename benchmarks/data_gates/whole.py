"""Time and memory of `sweep check` as a user runs it, on a million rows of 100 words.

`python -m benchmarks.data_gates.whole --write` makes a spec whose one source is a large made-up
file (prompts of 100 words, 20 labels that follow from the words, 5 % of them wrong; copies, changed
copies and leaks as in `scale.py`), runs the command and writes its time to `docs/data-gates.md`.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from benchmarks.data_gates.scale import ITEMS, LEAKED, Text, blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/data-gates.md"
MARK = re.compile(r"(?<=<!-- cost: begin -->\n).*?(?=<!-- cost: end -->)", re.DOTALL)
LABELS, WRONG = 20, 0.05
BASE = ROOT / "examples/quickstart/bases/xs"

SPEC = """\
name: scale
models: [{{name: xs, path: {base}}}]
data: {{made: {{role: task, path: train.jsonl}}}}
suites: {{gain: {{validation: validation.jsonl, test: test.jsonl, scorer: exact_match}}}}
space: {{learning_rate: {{log: [1.0e-4, 1.0e-3]}}}}
training: {{epochs: 1}}
"""


def write(folder: Path, rows: int, seed: int) -> None:
    """A spec with its files."""
    text = Text(seed)
    items = text.new(2 * ITEMS)
    shown = np.concatenate([items[: LEAKED // 2], text.changed(items[LEAKED // 2 : LEAKED])])
    _write(folder / "test.jsonl", text, [items[:ITEMS]], 0.0)
    _write(folder / "validation.jsonl", text, [items[ITEMS:]], 0.0)
    _write(folder / "train.jsonl", text, blocks(text, rows - LEAKED, shown), WRONG)
    (folder / "sweep.yaml").write_text(SPEC.format(base=BASE))


def _write(
    path: Path,
    text: Text,
    parts: "Iterator[np.ndarray] | list[np.ndarray]",  # type: ignore[type-arg]
    wrong: float,
) -> None:
    with path.open("w") as handle:
        for part in parts:
            labels = part[:, 0] % LABELS
            drawn = text.random.integers(0, LABELS, len(part))
            labels = np.where(text.random.random(len(part)) < wrong, drawn, labels)
            for words, label in zip(text.words[part], labels.tolist(), strict=True):
                row = {"prompt": " ".join(words), "answer": f"label {label}"}
                handle.write(json.dumps(row) + "\n")


def peak_of(process: psutil.Process, seen: list[int]) -> None:
    """Appends the memory of a process and its children in bytes until it ends: what each has for
    itself, and shared pages once (proportional set size)."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        total = 0
        try:
            for one in [process, *process.children(recursive=True)]:
                try:
                    total += one.memory_full_info().pss
                except psutil.Error:
                    continue
        except psutil.NoSuchProcess:
            return
        seen.append(total)
        time.sleep(1)


def main() -> None:
    """Prints time, memory and what was found; with `--write`, into the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.rows, args.seed)
        size = (Path(folder) / "train.jsonl").stat().st_size
        began, seen = time.monotonic(), [0]
        command = Path(sys.executable).parent / "sweep"
        asked = [command, "check", Path(folder, "sweep.yaml"), "--json"]
        with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as process:
            watch = threading.Thread(target=peak_of, args=(psutil.Process(process.pid), seen))
            watch.start()
            said, _ = process.communicate()
        seconds = time.monotonic() - began
        watch.join()
    findings = json.loads(said)["findings"]
    for one in findings:
        print(f"{one['severity']}: {one['where']}: {one['message'][:110]} [{one['code']}]")
    line = (
        f"`sweep check` of {args.rows:,} rows of 100 words ({size / 2**20:,.0f} MiB of JSON Lines) "
        f"with 2,000 items: {seconds / 60:.1f} minutes, {args.rows / seconds:,.0f} rows/s, at most "
        f"{max(seen) / 2**30:.2f} GiB in all processes together ({os.cpu_count()} x86-64 cores, "
        f"Python {platform.python_version()}; `python -m benchmarks.data_gates.whole`)."
    )
    print(line)
    if args.write:
        page = PAGE.read_text()
        if not MARK.search(page):
            raise SystemExit(f"{PAGE} has no marks of the cost.")
        PAGE.write_text(MARK.sub(lambda _: f"{line}\n", page))


if __name__ == "__main__":
    main()
