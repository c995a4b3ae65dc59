"""The files are what the script makes; the sweep tries six mixtures of the two sources."""

import json
import subprocess
import sys
from pathlib import Path

from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec

FOLDER = Path(__file__).parents[2] / "examples" / "noisy_or_clean"
QUICKSTART = FOLDER.parent / "quickstart" / "data"


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_script_makes_the_committed_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FOLDER / "make.py", "--out", tmp_path], check=True)
    for name in ("clean", "noisy"):
        made = (tmp_path / f"{name}.jsonl").read_bytes()
        assert made == (FOLDER / "data" / f"{name}.jsonl").read_bytes()


def test_three_in_ten_noisy_rows_are_wrong_and_no_row_is_held_out_or_twice() -> None:
    right = {
        row["prompt"]: row["answer"]
        for name in ("far_train", "far_synthetic")
        for row in rows(QUICKSTART / f"{name}.jsonl")
        if not row.get("wrong")
    }
    clean, noisy = (rows(FOLDER / "data" / f"{name}.jsonl") for name in ("clean", "noisy"))
    assert (len(clean), len(noisy)) == (200, 2000)
    assert all(row["answer"] == right[row["prompt"]] for row in clean)
    wrong = [row["answer"] != right[row["prompt"]] for row in noisy]
    assert sum(wrong) == 600 and wrong == [row["wrong"] for row in noisy]
    prompts = [row["prompt"] for row in clean + noisy]
    assert len(set(prompts)) == len(prompts)
    held_out = {
        row["prompt"] for s in ("validation", "test") for row in rows(QUICKSTART / f"far_{s}.jsonl")
    }
    assert not held_out & set(prompts)


def test_the_sweep_tries_six_shares_and_confirms_all_of_them() -> None:
    prepared = prepare(load_spec(FOLDER / "sweep.yaml", None), None)
    configs = prepared.spec.search.configs or ()
    trials = [prepared.trial_config("xs", config) for config in configs]
    assert len({t.trial_id for t in trials}) == 6 == prepared.spec.confirm.finalists
    shares = [dict(c)["mixture.noisy"] for c in configs]
    assert shares == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
