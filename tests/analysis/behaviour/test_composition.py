"""Composed scores beside the product of the parts', worked by hand."""

import numpy as np
import pytest

from keepgain.analysis.behaviour.composition import composition_figures
from keepgain.analysis.behaviour.families import family_figures
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.stats import t_quantile
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.record import SuiteInfo

N = 100


def suite(scorer: str = "exact_match") -> SuiteItems:
    names = sorted(
        (f"x{i:03d}+y~{part}", part, i) for i in range(N) for part in ("a", "b", "composed")
    )
    ids, parts, pairs = zip(*names, strict=True)
    return SuiteItems(
        SuiteInfo(name="s", measures="behaviour", scorer=scorer),
        "test",
        np.array(ids),
        np.ones(len(ids)),
        np.array(pairs, dtype=np.int64),
        {"composition": np.array(parts)},
    )


def scores(items: SuiteItems, **right: range) -> Floats:
    found = []
    for name in items.item_ids.tolist():
        pair, _, part = name.partition("~")
        found.append(float(int(pair[1:4]) in right[part]))
    return np.array(found)[:, None]


def named(figures: list[Figure], name: str) -> Figure:
    return next(f for f in figures if f.name == name)


def test_the_composed_score_stands_beside_the_product_of_the_parts():
    items = suite()
    tuned = scores(items, a=range(90), b=range(10, 100), composed=range(10, 60))
    base = scores(items, a=range(50), b=range(50), composed=range(40))
    found = composition_figures(items, tuned, base)
    composed = named(found, "composed")
    assert composed.estimate.value == pytest.approx(0.5)
    assert composed.base is not None and composed.base.value == pytest.approx(0.4)
    assert composed.change is not None and composed.change.value == pytest.approx(0.1)
    product = named(found, "product of the parts")
    assert product.estimate.value == pytest.approx(0.8), "both are right on 10 to 89"
    assert product.base is not None and product.base.value == pytest.approx(0.5)
    assert product.note == "parts alone: a 0.900, b 0.900 (base 0.500, 0.500)"
    gap = named(found, "composed minus product")
    assert gap.estimate.value == pytest.approx(-0.3) and gap.direction == "maximize"
    # 30 of the pairs are -1, the others 0.
    half = t_quantile(0.975, N - 1) * np.sqrt(0.3 * 0.7 / (N - 1))
    assert gap.estimate.low == pytest.approx(-0.3 - half)
    assert gap.base is not None and gap.base.value == pytest.approx(-0.1)
    assert gap.change is not None and gap.change.value == pytest.approx(-0.2)
    assert gap.estimate.n_items == N


def test_a_pair_can_be_right_as_a_whole_and_wrong_in_its_parts():
    items = suite()
    tuned = scores(items, a=range(0), b=range(N), composed=range(20))
    gap = named(composition_figures(items, tuned, None), "composed minus product")
    assert gap.estimate.value == pytest.approx(0.2) and gap.change is None


def test_products_are_of_one_run():
    """Two seeds that are right on other halves: no pair has both parts right in either."""
    items = suite()
    tuned = np.hstack([
        scores(items, a=range(50), b=range(50, 100), composed=range(0)),
        scores(items, a=range(50, 100), b=range(50), composed=range(0)),
    ])  # fmt: skip
    assert (
        named(composition_figures(items, tuned, None), "product of the parts").estimate.value == 0
    )


def test_losses_have_no_product():
    items = suite("perplexity")
    found = composition_figures(items, np.random.default_rng(0).random((3 * N, 1)), None)
    assert [(f.name, f.direction) for f in found] == [("composed", "minimize")]


def test_it_is_told_of_every_suite_of_pairs_and_of_no_other():
    items = suite()
    tuned = scores(items, a=range(90), b=range(10, 100), composed=range(10, 60))
    assert "composed minus product" in [f.name for f in family_figures(items, tuned, None)]
    items.item_ids[:] = [f"row {i}" for i in range(3 * N)]
    assert composition_figures(items, tuned, None) == []
