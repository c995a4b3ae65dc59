"""The best trial at the edge of a range: found in the range's own units, widened to paste."""

from typing import Any

import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.edges import edges
from keepgain.analysis.render import text
from keepgain.core.record import Evidence, SpaceDimension
from tests.analysis.evidence import Trial, base, build


def dimension(name: str, form: str, low: float = 0, high: float = 0, **rest: Any) -> SpaceDimension:
    ends = {} if form in ("choice", "ordered") else {"low": low, "high": high}
    return SpaceDimension.model_validate({"name": name, "form": form, **ends, **rest})


def wider(d: SpaceDimension, value: object) -> str | None:
    found = edges("s", "t", {d.name: value}, (d,))
    return found[0].wider if found else None


LR = dimension("learning_rate", "log", 1e-5, 1e-3, least=0.0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # Two decades; 5 % of them is a factor of 1.26.
        (8.1e-4, "learning_rate: {log: [1e-05, 0.01]}"),
        (7.8e-4, None),
        (1.2e-5, "learning_rate: {log: [1e-06, 0.001]}"),
        (1.3e-5, None),
        (1e-4, None),
    ],
)
def test_a_logarithmic_range_is_judged_and_widened_in_its_logarithm(
    value: float, expected: str | None
) -> None:
    assert wider(LR, value) == expected


@pytest.mark.parametrize(
    ("d", "value", "expected"),
    [
        (dimension("weight_decay", "uniform", 0, 0.2, least=0), 0.195,
         "weight_decay: {uniform: [0, 0.3]}"),
        (dimension("weight_decay", "uniform", 0, 0.2, least=0), 0.185, None),
        (dimension("weight_decay", "uniform", 0, 0.2, least=0), 0.0, None),  # nothing below 0
        (dimension("decay_share", "uniform", 0.5, 1, least=0, most=1), 1.0, None),
        (dimension("decay_share", "uniform", 0.5, 0.8, least=0, most=1), 0.8,
         "decay_share: {uniform: [0.5, 0.95]}"),
        (dimension("warmup_share", "uniform", 0, 0.1, least=0, most=1, step=0.05), 0.1,
         "warmup_share: {uniform: [0, 0.15], step: 0.05}"),
        (dimension("batch_size", "int", 8, 32, step=8, least=1), 32,
         "batch_size: {int: [8, 48], step: 8}"),
        (dimension("lora.rank", "log_int", 4, 64, least=1, when={"method": ["lora"]}), 64,
         "lora.rank: {log_int: [4, 256], when: {method: lora}}"),
        (dimension("lora.rank", "log_int", 4, 64, least=1), 4, "lora.rank: {log_int: [1, 64]}"),
        (dimension("lora.rank", "log_int", 1, 64, least=1), 1, None),
        (dimension("batch_size", "choice", choices=[8, 16, 32], least=1), 32,
         "batch_size: [8, 16, 32, 64]"),
        (dimension("batch_size", "choice", choices=[32, 16, 8], least=1), 8,
         "batch_size: [32, 16, 8, 4]"),
        (dimension("rows", "ordered", choices=[250, 500, 1000], least=1), 250,
         "rows: {ordered: [125, 250, 500, 1000]}"),
        (dimension("batch_size", "choice", choices=[8, 16, 32], least=1), 16, None),
        (dimension("batch_size", "choice", choices=[8, 32], least=1), 32, None),  # no inside
        (dimension("method", "choice", choices=["full", "lora", "x"]), "full", None),
        (dimension("lora.dropout", "choice", choices=[0.0, 0.05, 0.1], least=0, most=1), 0.0, None),
    ],
)  # fmt: skip
def test_every_form_of_a_range(d: SpaceDimension, value: object, expected: str | None) -> None:
    assert wider(d, value) == expected


def test_a_share_at_its_edge_prints_the_whole_mixture() -> None:
    space = (
        dimension("mixture.general", "share", 0.0, 0.1, least=0, most=1),
        dimension("mixture.synthetic", "share", 0.2, 0.2, least=0, most=1),
        dimension("mixture.tickets", "share", 0.7, 0.8, least=0, most=1),
    )
    params = {"mixture.general": 0.1, "mixture.synthetic": 0.2, "mixture.tickets": 0.7}
    found = edges("s", "t", params, space)
    assert [e.name for e in found] == ["mixture.general", "mixture.tickets"]
    line = "mixture: {general: [0, 0.15], synthetic: 0.2, tickets: [0.65, 0.8]}"
    assert {e.wider for e in found} == {line}


def test_a_setting_that_the_trial_does_not_have_is_no_edge() -> None:
    assert edges("s", "t", {"method": "full"}, (LR,)) == ()


def test_the_candidate_of_each_size_is_looked_at() -> None:
    trials = [
        base("s"),
        base("m"),
        Trial("high", "m", 0.8, params={"learning_rate": 9.5e-4}),
        Trial("low", "m", 0.5, params={"learning_rate": 1e-5}),
        Trial("mid", "s", 0.8, params={"learning_rate": 1e-4}),
    ]
    plain = build(trials, n_items=300)
    evidence = Evidence(plain.sweep.model_copy(update={"space": (LR,)}), plain.items)
    (found,) = analyze(evidence).edges
    assert (found.model, found.trial, found.side) == ("m", "high", "high")
    said = " ".join(text(analyze(evidence)).split())
    assert "lies at the upper edge of learning_rate (0.00095)" in said
    assert "Wider: learning_rate: {log: [1e-05, 0.01]}" in said
    assert analyze(plain).edges == ()
