"""Which function tells more of a suite, by its scorer."""

from dataclasses import replace

import numpy as np
import pytest

from keepgain.analysis.behaviour import families
from keepgain.analysis.behaviour.families import FAMILIES, OF_ALL, OF_SLICES, family_figures
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.measures import measures_of
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.scorers import SCORERS
from keepgain.core.users_code import load_function
from tests.analysis.behaviour.worlds import N, behaviour_world
from tests.analysis.evidence import ones


def spread(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """A family of one figure: the shapes that it was given."""
    shape = Estimate(float(tuned.shape[1]), n_items=len(suite.item_ids))
    before = None if base is None else Estimate(float(base.shape[1]))
    return [Figure("columns", "columns", "maximize", shape, before, None, note=suite.info.name)]


def suite() -> tuple[SuiteItems, Floats, Floats]:
    beside = measures_of(behaviour_world({"rude": (ones(9, N, 1), ones(12, N))})).behaviours
    assert beside is not None
    items = replace(beside.table.suites["test"]["rude"], slices={})
    return items, ones(12, N), ones(9, N, 1)


def test_a_scorer_without_a_family_has_no_further_figures() -> None:
    assert "exact_match" not in FAMILIES
    assert family_figures(*suite()) == []


def test_the_function_of_a_family_is_loaded_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"exact_match": f"{__name__}:spread"}
    monkeypatch.setattr(families, "FAMILIES", mine)
    (found,) = family_figures(*suite())
    assert (found.estimate.value, found.estimate.n_items, found.note) == (2.0, N, "rude")
    assert found.base == Estimate(1.0)
    (alone,) = family_figures(*suite()[:2], None)
    assert alone.base is None


def test_every_entry_is_a_scorer_and_a_function_that_is_there() -> None:
    for name, entry in FAMILIES.items():
        assert name in SCORERS, name
        assert callable(load_function(entry))
    assert all(callable(load_function(e)) for e in (*OF_SLICES.values(), OF_ALL))


def test_items_of_a_kind_that_a_slice_tells_have_its_family_whatever_the_scorer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(families, "OF_SLICES", {"twisted": f"{__name__}:spread"})
    items, tuned, base = suite()
    values = np.array(["yes"] * N, dtype=np.str_)
    (found,) = family_figures(replace(items, slices={"twisted": values}), tuned, base)
    assert found.name == "columns"
