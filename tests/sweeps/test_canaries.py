"""Canaries: drawn anew for each seed, as the quickstart's file has them, controls like them."""

import json
from collections import Counter
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.row_files import read_row_file
from keepgain.sweeps.canaries import DIGITS, draw_canaries
from tests.sweeps.tiny_models import write_jsonl

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "data"


def test_each_canary_stands_as_often_as_it_says_and_controls_nowhere() -> None:
    made = draw_canaries(5, [1, 4, 16], 90, seed=3)
    times = Counter(row["prompt"] for row in made.planted)
    assert list(times.values()) == [1, 4, 16, 1, 4]
    assert all(row["repeats"] == times[row["prompt"]] for row in made.planted)
    assert len({row["id"] for row in made.planted}) == len(made.planted) == 26
    controls = {row["prompt"] for row in made.controls}
    assert len(controls) == 90 and not controls & times.keys()
    assert {row["repeats"] for row in made.controls} == {0}


def test_rows_have_the_fields_of_the_quickstart_and_are_read_as_rows(tmp_path: Path) -> None:
    made = draw_canaries(3, [2], 80, seed=0)
    for rows, name in ((made.planted, "canaries"), (made.controls, "canary_controls")):
        first = json.loads((QUICKSTART / f"{name}.jsonl").open().readline())
        assert list(rows[0]) == list(first)
        assert rows[0]["id"] == f"{name}-0000"
        file = read_row_file(write_jsonl(tmp_path / f"{name}.jsonl", list(rows)))
        assert file.format == "prompt_answer" and len(file.rows) == len(rows)


def test_each_half_of_the_suite_has_canaries_of_all_repeats_once_and_enough_controls() -> None:
    made = draw_canaries(12, [1, 4, 16], 81, seed=0)
    assert [row["repeats"] for row in made.validation] == [1, 4, 16] * 2 + [0] * 41
    assert [row["repeats"] for row in made.test] == [1, 4, 16] * 2 + [0] * 40
    asked = {row["prompt"]: row["answer"] for row in (*made.validation, *made.test)}
    assert len(asked) == 12 + 81
    assert asked.items() == {(r["prompt"], r["answer"]) for r in (*made.planted, *made.controls)}
    assert "group" not in made.test[0]


def test_codes_are_drawn_alike_for_canaries_and_controls() -> None:
    """Of 4,000 uniform codes the mean is 0.5 within 5 standard errors of 0.29 / sqrt(2000)."""
    made = draw_canaries(2_000, [1], 2_000, seed=1)
    for rows in (made.planted, made.controls):
        codes = [row["answer"] for row in rows]
        assert {len(code) for code in codes} == {DIGITS} and len(set(codes)) > 1_990
        assert abs(sum(int(c) for c in codes) / len(codes) / 10**DIGITS - 0.5) < 0.033


def test_a_seed_gives_the_same_rows_and_another_one_others() -> None:
    one, again, other = (draw_canaries(3, [1], 80, seed) for seed in (1, 1, 2))
    assert one == again
    assert not {r["answer"] for r in one.planted} & {r["answer"] for r in other.planted}


@pytest.mark.parametrize(
    ("count", "repeats", "controls", "said"),
    [
        (0, [1], 50, "0 canaries"),
        (1, [0], 50, "repeated 1 to 1,000 times"),
        (1, [], 50, "repeated 1 to 1,000 times"),
        (1, [1], 79, "79 controls; allowed are 80"),
    ],
)
def test_numbers_that_measure_nothing_are_refused(
    count: int, repeats: list[int], controls: int, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        draw_canaries(count, repeats, controls, 0)
