"""python examples/noisy_or_clean/make.py: writes the two sources, the same bytes every time.

Of the quickstart's tickets, 200 stay as they are (`clean`), and 2,000 others form a source of
which 30 % have the answer of another wrong row (`noisy`). `wrong` tells which, for checking alone:
training code must not read it.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
QUICKSTART = HERE.parent / "quickstart" / "data"
CLEAN, NOISY, WRONG_SHARE, SEED = 200, 2000, 0.3, 7


def read(name: str) -> list[dict[str, Any]]:
    """Right rows of a file of the quickstart."""
    lines = (QUICKSTART / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: r[k] for k in ("prompt", "answer", "group")} for r in rows if not r.get("wrong")]


def sources() -> dict[str, list[dict[str, Any]]]:
    """Name → rows. No prompt occurs twice, nor in the quickstart's validation and test files."""
    draw = random.Random(SEED)
    rows = draw.sample([*read("far_train"), *read("far_synthetic")], CLEAN + NOISY)
    clean, noisy = rows[:CLEAN], rows[CLEAN:]
    wrong = draw.sample(range(NOISY), round(WRONG_SHARE * NOISY))
    # Each gets the answer of the next one that has another answer.
    answers = [noisy[i]["answer"] for i in wrong]
    for place, i in enumerate(wrong):
        turned = answers[place + 1 :] + answers[:place]
        noisy[i]["answer"] = next(a for a in turned if a != answers[place])
    marked = set(wrong)
    return {"clean": clean, "noisy": [r | {"wrong": i in marked} for i, r in enumerate(noisy)]}


def main(folder: Path) -> None:
    """Writes both files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in sources().items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "data")
    main(parser.parse_args().out)
