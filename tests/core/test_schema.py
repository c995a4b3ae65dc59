import math
from typing import Literal

import pytest
from pydantic import Field

from keepgain.core.config import SuiteRef
from keepgain.core.errors import UserError
from keepgain.core.metrics import METRICS, metric
from keepgain.core.schema import StrictModel, parse
from keepgain.core.scorers import metric_of


class Inner(StrictModel):
    rank: int = Field(ge=1)
    kind: Literal["a", "b"] = "a"


class Outer(StrictModel):
    name: str
    pair: tuple[int, ...] | None = Field(None, min_length=2, max_length=3)
    some: tuple[Inner, ...] | None = Field(None, min_length=1)
    inner: Inner | None = None
    rate: float = 0.1
    either: Inner | tuple[str, ...] = ()
    named: dict[str, Inner] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("data", "where", "words"),
    [
        (
            {"name": "x", "nmae": 1},
            "s.yaml:nmae",
            "unknown key 'nmae'.*name, pair, some, inner, rate",
        ),
        ({"name": "x", "Search": 1}, "s.yaml:Search", "unknown key 'Search'"),
        ({"name": "x", "named": {"Big": {"rank": 0}}}, "s.yaml:named.Big.rank", "given: 0"),
        ({"name": "x", "named": {"Big": {}}}, "s.yaml:named.Big.rank", "'rank' is missing"),
        ({"name": "x", "either": {"rank": 0}}, "s.yaml:either.rank", "given: 0"),
        ({"name": "x", "either": ["a", 1]}, "s.yaml:either", "given"),
        (
            {"name": "x", "inner": {"rank": 1, "rnak": 1}},
            "s.yaml:inner.rnak",
            "unknown key.*rank, kind",
        ),
        ({}, "s.yaml:name", "required key 'name' is missing"),
        ({"name": 5}, "s.yaml:name", "valid string.*given: 5"),
        ({"name": "x", "inner": {"rank": 0}}, "s.yaml:inner.rank", "greater than.*given: 0"),
        ({"name": "x", "inner": {"rank": 1, "kind": "c"}}, "s.yaml:inner.kind", "'a' or 'b'"),
        ({"name": "x", "rate": math.nan}, "s.yaml:rate", "finite number"),
        ({"name": 5, "extra": 1}, "s.yaml:name", "1 more fault follows"),
        ([], "s.yaml", "given: \\[\\]"),
        ({"name": "x", "pair": [1]}, "s.yaml:pair", r"must have at least 2 \(given: \[1\]\)"),
        ({"name": "x", "pair": [1, 2, 3, 4]}, "s.yaml:pair", "must have at most 3"),
        ({"name": "x", "some": [{"rank": 0}]}, "s.yaml:some.0.rank", r"given: 0\)\.$"),
    ],
)
def test_a_fault_names_place_given_and_allowed(data: object, where: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        parse(Outer, data, source="s.yaml")
    assert caught.value.where == where


def test_the_line_is_that_of_the_nearest_known_key() -> None:
    data = {"name": "x", "inner": {"rank": 0}}
    with pytest.raises(UserError) as caught:
        parse(Outer, data, source="s.yaml", lines={"inner": 7})
    assert caught.value.where == "s.yaml:inner.rank (line 7)"


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(UserError) as caught:
        parse(Outer, {"name": ["x" * 1000]}, source="s.yaml")
    assert len(str(caught.value)) < 200


def test_models_are_frozen_and_contracts_strict() -> None:
    inner = Inner(rank=1)
    with pytest.raises(ValueError, match="frozen"):
        inner.rank = 2  # type: ignore[misc]
    with pytest.raises(UserError, match="required key 'measures'"):
        parse(SuiteRef, {"name": "x"}, source="suite")


def test_metrics_are_found_by_name_and_signed() -> None:
    assert metric_of("bits_per_byte").sign == -1.0 and metric_of("exact_match").sign == 1.0
    assert metric("gain").sign == 1.0 and metric("forgetting").sign == -1.0
    assert all(name == m.name and m.unit and m.meaning for name, m in METRICS.items())
    with pytest.raises(UserError, match=r"unknown metric 'acc'.*max_forgetting"):
        metric("acc")
    with pytest.raises(UserError, match=r"unknown scorer 'acc'.*exact_match"):
        metric_of("acc")
