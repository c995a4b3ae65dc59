"""Limits on repeats: shares that keep them, trials that have these, and what is refused."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.sweeps.check import check_sweep, chosen_gates
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.repeat_limits import UNITS, Size, cap_shares, limited_shares
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import make_world

PARAMS = {"method": "lora", "learning_rate": 1e-4, "lora.rank": 8}
MIXTURE = "mixture: {tickets: [0.5, 1], general: [0, 0.5]}"


@pytest.mark.parametrize(
    ("shares", "caps", "capped"),
    [
        ({"a": 0.7, "b": 0.3}, {"a": 0.7}, {"a": 0.7, "b": 0.3}),
        ({"a": 0.8, "b": 0.2}, {"a": 0.5}, {"a": 0.5, "b": 0.5}),
        ({"a": 0.6, "b": 0.3, "c": 0.1}, {"a": 0.4}, {"a": 0.4, "b": 0.45, "c": 0.15}),
        # what a loses lifts b above its own cap, so that c has the rest
        ({"a": 0.6, "b": 0.3, "c": 0.1}, {"a": 0.4, "b": 0.4}, {"a": 0.4, "b": 0.4, "c": 0.2}),
        ({"a": 0.6, "b": 0.4, "c": 0.0}, {"a": 0.5}, {"a": 0.5, "b": 0.5}),
        ({"a": 0.9, "b": 0.1}, {"a": 0.25, "b": 0.75}, {"a": 0.25, "b": 0.75}),
    ],
)
def test_what_a_cap_cuts_off_goes_to_the_others_in_proportion(
    shares: dict[str, float], caps: dict[str, float], capped: dict[str, float]
) -> None:
    assert cap_shares(shares, caps) == capped


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.none() | st.floats(0, 2, allow_subnormal=False)),
        min_size=1,
        max_size=7,
    ).filter(lambda drawn: any(weight for weight, _ in drawn))
)
def test_capped_shares_sum_to_one_and_keep_every_cap(drawn: list[tuple[int, float | None]]) -> None:
    total = sum(weight for weight, _ in drawn)
    shares = {str(i): weight / total for i, (weight, _) in enumerate(drawn)}
    caps = {str(i): cap for i, (_, cap) in enumerate(drawn) if cap is not None}
    room = sum(min(1.0, caps.get(name, 1.0)) for name, share in shares.items() if share)
    try:
        found = cap_shares(shares, caps)
    except UserError as error:
        assert room < 1 + len(drawn) / UNITS and "every source" in str(error)
        return
    assert room > 1 - 1e-6
    assert math.isclose(sum(found.values()), 1, abs_tol=1e-12)
    assert all(share <= caps.get(name, 1.0) * (1 + 1e-9) for name, share in found.items())
    assert all(shares[name] > 0 for name, share in found.items() if share)
    below = [n for n, s in found.items() if s < caps.get(n, 1.0) - 2e-6 and shares[n]]
    for a, b in pairwise(below):  # in proportion
        assert found[a] * shares[b] == pytest.approx(found[b] * shares[a], abs=1e-5)
    assert cap_shares(found, caps) == found


def test_a_limit_is_of_rows_whatever_the_budget_counts() -> None:
    """Rows of 10 and of 20 tokens, 100 and 50 of them: 1,000 tokens each. Of 4,000 tokens with .75
    on `a` each row of it is drawn 3 times; of 300 examples with .5 each, 200 are of `a`, so 2."""
    sizes = {"a": Size(100, 1000), "b": Size(50, 1000)}
    tokens = limited_shares({"a": 0.75, "b": 0.25}, {"a": 2}, sizes, 4000, "tokens")
    assert tokens == {"a": 0.5, "b": 0.5}
    even = {"a": 0.5, "b": 0.5}
    assert limited_shares(even, {"a": 2}, sizes, 300, "examples") == even
    # 100 of 300 examples are 1,000 tokens; the other 200 are 4,000
    once = limited_shares(even, {"a": 1}, sizes, 300, "examples")
    assert once == pytest.approx({"a": 0.2, "b": 0.8}, abs=2e-6)
    assert limited_shares(even, {"other": 1}, sizes, 300, "examples") == even


def ready(folder: Path, space: str, mixture: str = MIXTURE) -> Prepared:
    path = make_world(folder, models=1)
    text = path.read_text().replace(f"  {MIXTURE}", f"  {space}\n  {mixture}")
    path.write_text(text)
    return prepare(load_spec(path), None)


SAFE = "mixture: {tickets: [0.1, 0.9], general: [0.1, 0.9]}"


def test_a_trial_has_the_share_that_its_limit_allows(tmp_path: Path) -> None:
    """The budget is three passes over the task, so that one pass over it is a third."""
    prepared = ready(tmp_path, "repeat_limit.tickets: [1, 2]\n  rows: [100, 200]", SAFE)
    drawn = {"mixture.tickets": 0.75, "mixture.general": 0.25}
    plain = prepared.trial_config("m0", PARAMS | drawn)
    assert plain.mixture == {"tickets": 0.75, "general": 0.25}
    for limit, share in ((1.0, 0.333333), (2.0, 0.666666), (9.0, 0.75)):
        found = prepared.trial_config("m0", PARAMS | drawn | {"repeat_limit.tickets": limit})
        assert found.mixture == {"tickets": share, "general": pytest.approx(1 - share)}
        assert (found.trial_id == plain.trial_id) is (limit == 9)
    all_rows = len(prepared.sources["tickets"].train.rows)
    params: dict[str, Any] = {"repeat_limit.tickets": 1.0, "rows": 100, "duration": 2.0}
    some = prepared.trial_config("m0", PARAMS | drawn | params)
    assert some.mixture["tickets"] == pytest.approx(100 / all_rows / 6, abs=1e-6)
    found = check_sweep(prepared, gates=chosen_gates(["repeats"], [])).findings
    assert [f.where for f in found] == ["data.general"]  # which has what the task may not


@pytest.mark.parametrize(
    ("space", "mixture", "words"),
    [
        (
            "repeat_limit.tickets: [2, 4]",
            MIXTURE,
            r"space\.repeat_limit\.tickets \(line \d+\): with repeat_limit\.tickets 2, tokens of "
            r"tickets alone: every source .* 67%",
        ),
        (
            "repeat_limit.tickets: {uniform: [1, 4]}\n  repeat_limit.general: 1",
            SAFE,
            r"with repeat_limit\.general 1, repeat_limit\.tickets 1, tokens of general and tickets",
        ),
        ("repeat_limit.tickets: 0", SAFE, r"repeat_limit\.tickets.*greater than 0"),
        ("repeat_limit.tikets: 2", SAFE, r"unknown source 'tikets'"),
        ("repeat_limit: 2", SAFE, r"unknown parameter 'repeat_limit'"),
    ],
)
def test_limits_that_no_shares_can_keep_are_refused(
    tmp_path: Path, space: str, mixture: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        ready(tmp_path, space, mixture)


def test_a_filter_lowers_what_a_limit_allows(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    text = path.read_text().replace("split: auto", "split: auto, filters: {few: {max_words: 5}}")
    rows = (tmp_path / "tickets.jsonl").read_text().splitlines()
    half = [r.replace("desk", "the desk") if i % 2 else r for i, r in enumerate(rows)]
    (tmp_path / "tickets.jsonl").write_text("\n".join(half) + "\n")
    space = "filter.tickets: [none, few]\n  repeat_limit.tickets: 1"
    path.write_text(text.replace(f"  {MIXTURE}", f"  {space}\n  {SAFE}"))
    prepared = prepare(load_spec(path), None)
    drawn = {"mixture.tickets": 0.5, "mixture.general": 0.5, "repeat_limit.tickets": 1.0}
    config = prepared.trial_config("m0", PARAMS | drawn | {"filter.tickets": "few"})
    tokens = prepared.token_stats["m0", "tickets/train:few"].tokens
    assert config.mixture["tickets"] == pytest.approx(tokens / prepared.budget, abs=1e-6)
    assert config.mixture["tickets"] < 0.25
