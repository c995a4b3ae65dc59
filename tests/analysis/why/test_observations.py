"""One observation a trial, with the settings that differ."""

import numpy as np

from keepgain.analysis.why.observations import design, observations, settings, share, shares
from keepgain.core.record import Evidence, SpaceDimension
from tests.analysis.evidence import Trial, base, build
from tests.analysis.why.made import measured, observation, sweep


def test_a_confirmed_trial_counts_once_with_its_fresh_seeds() -> None:
    evidence = build([base("s"), Trial("a", "s", 0.7), Trial("b", "s", 0.5, seeds=0)], n_items=200)
    found = observations(measured(evidence))
    assert [o.who.trial_id for o in found] == ["a", "b"]
    assert [o.who.seeds("validation") for o in found] == [3, 1]


def test_figures_are_those_of_the_items() -> None:
    (found,) = observations(measured(sweep([("s", {}, 120, 90)])))
    assert found.values["gain"] == 0.5  # 120 - 20 of 200
    assert found.values["forgetting"] == 0.05  # 100 - 90
    assert found.suites == {"tickets": 0.6, "facts": 0.45}


def test_weights_that_were_mixed_and_not_trained_are_left_out() -> None:
    evidence = sweep([("s", {}, 120, 90), ("s", {}, 110, 95)])
    runs = tuple(
        r.model_copy(update={"made_from": "t000-s0"}) if r.trial_id == "t001" else r
        for r in evidence.sweep.runs
    )
    sweep_ = evidence.sweep.model_copy(update={"runs": runs})
    found = observations(measured(Evidence(sweep_, evidence.items)))
    assert [o.who.trial_id for o in found] == ["t000"]


def test_settings_are_compared_as_they_were_searched() -> None:
    found = [
        observation("a", {"learning_rate": 1e-4, "method": "full", "batch_size": 8, "x": 1}, {}),
        observation(
            "b",
            {"learning_rate": 1e-2, "method": "lora", "batch_size": 16, "x": 1, "lora.rank": 4},
            {},
        ),
        observation(
            "c",
            {"learning_rate": 1e-3, "method": "lora", "batch_size": 8, "x": 1, "lora.rank": 8},
            {},
        ),
    ]
    kinds = {s.name: s.kind for s in settings(found)}
    assert kinds == {
        "learning_rate": "log",
        "method": "category",
        "batch_size": "number",
        "lora.rank": "number",
    }
    told = settings(found, [SpaceDimension(name="lora.rank", form="log_int", low=4, high=8)])
    assert {s.name: s.kind for s in told}["lora.rank"] == "log"
    names, columns = design(found, settings(found))
    assert names == ["learning_rate", "method=lora", "batch_size", "lora.rank"]
    np.testing.assert_allclose(columns[:, 0], np.array([-1, 1, 0]) / np.sqrt(2 / 3))
    # A trial without the setting stands at its mean.
    np.testing.assert_allclose(columns[:, 3], [0, -1, 1])


def test_a_source_left_out_has_share_0_and_a_fixed_share_is_not_searched() -> None:
    found = [
        observation("a", {"mixture.task": 0.7, "mixture.general": 0.2, "mixture.fixed": 0.1}, {}),
        observation("b", {"mixture.task": 0.9, "mixture.fixed": 0.1}, {}),
    ]
    assert shares(found) == ("mixture.task", "mixture.general")
    assert [share(o, "mixture.general") for o in found] == [0.2, 0.0]
