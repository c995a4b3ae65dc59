"""What is said about the columns on the command line."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.sweeps.imported.options import columns_of, parse_objective


@pytest.mark.parametrize(
    ("text", "name", "direction", "unit"),
    [
        ("accuracy:max", "accuracy", "maximize", ""),
        ("eval loss:min:nats/token", "eval loss", "minimize", "nats/token"),
        ("results.hellaswag.acc,none:max:share", "results.hellaswag.acc,none", "maximize", "share"),
        ("a:b:max", "a:b", "maximize", ""),
        ("latency:min:min", "latency", "minimize", "min"),
        ("a:maximum:min", "a:maximum", "minimize", ""),
        ("speed:max:tokens:s", "speed", "maximize", "tokens:s"),
    ],
)
def test_an_objective(text: str, name: str, direction: str, unit: str) -> None:
    found = parse_objective(text)
    assert (found.name, found.direction, found.unit) == (name, direction, unit)


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy:", "accuracy:up", ":max", " :min", "a:max:"]
)
def test_an_objective_that_does_not_say_which_way_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="does not say which way is better") as refused:
        parse_objective(text)
    assert refused.value.where == "--objective" and "COLUMN:max" in str(refused.value)


@given(st.text(min_size=1), st.sampled_from(["max", "min"]), st.text())
def test_what_is_written_is_what_is_read(name: str, way: str, unit: str) -> None:
    assume(name.strip() and ":max" not in f"{name}:" and ":min" not in f"{name}:")
    found = parse_objective(f"{name}:{way}" + (f":{unit}" if unit else ""))
    assert (found.name, found.unit) == (name, unit)
    assert found.direction == {"max": "maximize", "min": "minimize"}[way]


@given(st.text())
def test_any_text_is_an_objective_or_a_clear_refusal(text: str) -> None:
    try:
        found = parse_objective(text)
    except UserError:
        return
    way = {"maximize": "max", "minimize": "min"}[found.direction]
    assert f"{found.name}:{way}" + (f":{found.unit}" if found.unit else "") == text


def test_standard_errors_conditions_and_items() -> None:
    named = columns_of(
        label="l", objectives=["a=b:max", "a:min"], errors=["a=b=s=e", "a=c"], n="200",
        where=["state=finished", "x=a=b"],
    )  # fmt: skip
    assert named.errors == {"a=b": "s=e", "a": "c"}  # the longest objective that fits
    assert named.where == (("state", "finished"), ("x", "a=b"))
    assert named.n == 200
    assert columns_of(label="l", objectives=["a:max"], n="items").n == "items"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"objectives": ["a:max", "a:min"]}, "named twice"),
        ({"errors": ["b=c"]}, "not OBJECTIVE=COLUMN"),
        ({"errors": ["a="]}, "not OBJECTIVE=COLUMN"),
        ({"errors": ["a=c", "a=d"]}, "two columns"),
        ({"where": ["state"]}, "not COLUMN=VALUE"),
        ({"n": "1"}, "no standard error"),
        ({"n": "-5"}, "no standard error"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        columns_of(**{"label": "l", "objectives": ["a:max"], **changes})  # type: ignore[arg-type]
