"""Identities of the science brief, section 1, and hand-worked values."""

import numpy as np
import pytest

from keepgain.analysis import objectives
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.record import SuiteInfo


def suite(
    name: str,
    measures: str = "forgetting",
    scorer: str = "exact_match",
    weights: list[float] | None = None,
    chance: float | None = None,
    n: int = 4,
) -> SuiteItems:
    """A suite of n items."""
    info = SuiteInfo.model_validate(
        {"name": name, "measures": measures, "scorer": scorer, "chance": chance}
    )
    ids = np.array([str(i) for i in range(n)])
    return SuiteItems(info, "test", ids, np.array(weights or [1.0] * n), None)


def column(*values: float) -> Floats:
    return np.array(values, dtype=float)[:, None]


def value(
    name: str,
    suites: list[SuiteItems],
    scores: dict[str, Floats],
    base: dict[str, Floats] | None,
) -> float | None:
    blocks = objectives.blocks(name, {s.info.name: s for s in suites}, scores, base)
    return None if blocks is None else sum(float(b.means().mean()) for b in blocks)


TASK, FACTS, SUMS = suite("task", "gain"), suite("facts"), suite("sums")
BASE = {"task": column(0, 0, 0, 1), "facts": column(1, 1, 1, 0), "sums": column(1, 1, 0, 0)}
TUNED = {"task": column(1, 1, 1, 0), "facts": column(1, 0, 1, 1), "sums": column(0, 0, 0, 0)}
ALL = [TASK, FACTS, SUMS]


def test_values_by_hand() -> None:
    assert value("gain", ALL, TUNED, BASE) == pytest.approx(0.5)
    assert value("forgetting", ALL, TUNED, BASE) == pytest.approx((0.0 + 0.5) / 2)
    assert value("relative_forgetting", ALL, TUNED, BASE) == pytest.approx((0.0 + 1.0) / 2)
    assert value("task_score", ALL, TUNED, BASE) == pytest.approx(0.75)
    assert value("general_score", ALL, TUNED, BASE) == pytest.approx((0.75 + 0) / 2)


def test_an_identical_model_changes_nothing() -> None:
    for name in ("gain", "forgetting", "relative_forgetting"):
        blocks = objectives.blocks(name, {s.info.name: s for s in ALL}, BASE, BASE)
        assert blocks is not None
        for block in blocks:
            assert not block.values.any()


def test_churn_identity() -> None:
    """Items lost minus items won is the drop, exactly."""
    drop = objectives.drop_block(FACTS, TUNED["facts"], BASE["facts"]).values[:, 0]
    before, after = BASE["facts"][:, 0], TUNED["facts"][:, 0]
    lost = np.mean((before == 1) & (after == 0))
    won = np.mean((before == 0) & (after == 1))
    assert lost - won == drop.mean()


@pytest.mark.parametrize("name", ["gain", "forgetting"])
def test_swapping_base_and_tuned_flips_the_sign(name: str) -> None:
    forward, back = value(name, ALL, TUNED, BASE), value(name, ALL, BASE, TUNED)
    assert forward is not None and back is not None
    assert forward == -back != 0


def test_bits_that_rise_are_forgetting_and_bits_that_fall_are_gain() -> None:
    task = suite("task", "gain", "bits_per_byte")
    text = suite("text", "forgetting", "bits_per_byte", weights=[1, 1, 1, 5])
    before = {"task": column(2, 2, 2, 2), "text": column(1, 1, 1, 1)}
    after = {"task": column(1, 1, 1, 1), "text": column(1, 1, 1, 1.8)}
    assert value("gain", [task, text], after, before) == pytest.approx(1.0)
    # Only the item of 5 bytes of 8 rose, by .8: a weighted .5.
    assert value("forgetting", [task, text], after, before) == pytest.approx(0.5)
    assert value("relative_forgetting", [task, text], after, before) == pytest.approx(0.5)
    described = {o.name: o for o in objectives.describe([task.info, text.info])}
    assert described["task_score"].direction == "minimize"
    assert described["gain"].direction == "maximize"
    assert described["forgetting"].unit == "bits/byte"


def test_retention_is_corrected_for_chance_and_leaves_out_bases_at_chance() -> None:
    quiz = suite("quiz", chance=0.25)
    coin = suite("coin", chance=0.5)
    base = {"quiz": column(1, 1, 1, 0), "coin": column(1, 0, 1, 0)}
    tuned = {"quiz": column(1, 1, 0, 0), "coin": column(0, 0, 0, 0)}
    # (.75 - .5) / (.75 - .25) = .5; coin is at chance and does not count
    assert value("relative_forgetting", [quiz, coin], tuned, base) == pytest.approx(0.5)
    suites = {"quiz": quiz, "coin": coin}
    assert objectives.near_chance(suites, base) == ("coin",)
    assert value("relative_forgetting", [coin], tuned, base) is None


def test_relative_terms_linearise_the_ratio() -> None:
    """The item terms move as the ratio itself when one item is weighted up a little."""
    base, tuned = column(1, 1, 1, 0), column(1, 0, 1, 1)
    eps = 1e-6
    for scorer, b, t in (
        ("exact_match", base, tuned),
        ("bits_per_byte", column(1, 2, 3, 4), column(2, 2, 5, 3)),
    ):
        plain = suite("s", scorer=scorer)
        terms = objectives.blocks("relative_forgetting", {"s": plain}, {"s": t}, {"s": b})
        assert terms is not None
        tilt = suite("s", scorer=scorer, weights=[1, 1 + eps, 1, 1])
        moved = value("relative_forgetting", [tilt], {"s": t}, {"s": b})
        still = value("relative_forgetting", [plain], {"s": t}, {"s": b})
        assert moved is not None and still is not None
        influence = (terms[0].values[1, 0] - still) / 4
        assert (moved - still) / eps == pytest.approx(influence, abs=1e-4)


def test_what_cannot_be_computed_is_absent() -> None:
    assert value("forgetting", [TASK], TUNED, BASE) is None
    assert value("gain", ALL, TUNED, None) is None
    assert value("task_score", ALL, TUNED, None) == 0.75
    mixed = [suite("a"), suite("b", scorer="bits_per_byte")]
    scores = {"a": column(1, 1, 1, 1), "b": column(1, 1, 1, 1)}
    assert value("forgetting", mixed, scores, scores) is None
    assert "different units" in objectives.problems([s.info for s in [TASK, *mixed]])[0]
    assert "forgetting not measured" in objectives.problems([TASK.info])[0]
    assert "gain not measured" in objectives.problems([FACTS.info])[0]
