"""Every key of the JSON contract, and its promises."""

import json
from typing import Any

import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.core.record import Evidence, Question
from keepgain.core.status import TrialStatus
from tests.analysis.evidence import Trial, base, build


def example() -> Evidence:
    trials = [
        base("s"),
        base("m"),
        Trial("arm", "m", 0.4, general=None, arm="few_shot"),
        Trial("big", "m", 0.8, params={"learning_rate": 1e-3}),
        Trial("small", "s", 0.8, params={"learning_rate": 1e-4}),
        Trial("searched", "s", 0.5, seeds=0),
        Trial("broken", "s", 0.5, seeds=0, status=TrialStatus.FAILED),
    ]
    return build(trials, n_items=300, question=Question(delta=0.1, max_forgetting=0.2))


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    return json.loads(to_json(analyze(example())))


def test_every_key(data: dict[str, Any]) -> None:
    assert list(data) == [
        "schema", "sweep", "objectives", "descriptions", "trials", "sizes", "slices", "churn",
        "overfitting",
        "served", "subsets", "behaviours", "outcomes", "decision", "rung_checks", "edges",
        "effort", "fronts", "choices",
        "trades", "best_of_k", "scaling", "inference", "looks", "reviews", "excluded",
    ]  # fmt: skip
    assert data["schema"] == 1
    assert set(data["sweep"]) == {"id", "name", "stage", "store", "test_opened"}
    for o in data["objectives"]:
        assert set(o) == {"name", "direction", "unit", "metric_version"}
    names = [o["name"] for o in data["objectives"]]
    assert {"gain", "forgetting", "task_score", "general_score"} <= set(names)
    for t in data["trials"]:
        assert set(t) == {
            "id", "label", "model", "kind", "params", "stage", "split", "replicates", "status",
            "rank", "rank_group", "objectives", "cost", "candidate", "on_front", "near_front",
            "front_membership", "front_excluded", "descriptions",
        }  # fmt: skip
        assert list(t["objectives"]) == names
        for e in t["objectives"].values():
            assert set(e) == {"value", "low", "high", "n_items", "n_seeds", "interval_method"}
        if t["candidate"] is not None:
            assert set(t["candidate"]) == {"tokens", "alpha"}
    for s in data["sizes"]:
        assert set(s) == {
            "model", "parameters", "trial", "objectives", "cost", "probability_adequate",
            "unequal_effort", "worst_suite", "over_budget", "checks", "seed_variance", "seed_df",
        }  # fmt: skip
    assert set(data["decision"]) == {
        "status", "model", "trial", "probability", "confidence", "reason", "tied_with",
        "flips", "guards", "awaits_review",
    }  # fmt: skip
    for f in data["decision"]["flips"]:
        assert list(f) == ["what", "from", "to", "answer"]
    for e in data["effort"]:
        assert set(e) == {"model", "trials", "tokens"}
    for x in data["excluded"]:
        assert set(x) == {"trial", "reason"}
    assert {c["trial"] for c in data["churn"]} == {"big", "small", "searched", "arm"}
    for c in data["churn"]:
        assert set(c) == {
            "trial", "split", "suite", "right_to_wrong", "wrong_to_right",
            "right_to_wrong_beyond_chance", "wrong_to_right_beyond_chance",
        }  # fmt: skip
    assert data["overfitting"] == {
        "runs": 0, "comparisons": 0, "confidence": 0.95, "findings": [], "gaps": [],
    }  # fmt: skip


def test_every_key_of_the_parts_on_sizes(data: dict[str, Any]) -> None:
    for s in data["sizes"]:
        for c in s["checks"]:
            assert set(c) == {
                "claim", "subject", "value", "bound", "threshold", "confidence", "holds",
                "holds_at_point", "side",
            }  # fmt: skip
    for f in data["fronts"]:
        assert set(f) == {
            "field", "objectives", "on_front", "excluded", "reference_point", "hypervolume",
            "beyond_reference",
        }  # fmt: skip
    for c in data["choices"]:
        assert set(c) == {"field", "by_limits", "by_weights", "weights", "knee"}
    for t in data["trades"]:
        assert set(t) == {"cheaper", "dearer", "cost", "price"}
    for c in data["best_of_k"]:
        assert set(c) == {"model", "trials", "audits", "points", "compared_at", "reason"}
    assert set(data["scaling"]) == {"refusal", "slopes"}


def test_every_key_of_the_parts_beside_the_decision(data: dict[str, Any]) -> None:
    told = data["inference"]
    assert set(told) == {"against_base", "best", "luck", "optimism", "resolutions"}
    assert [set(t) for t in told["against_base"]] == [{"trial", "p", "adjusted"}] * 2
    for b in told["best"]:
        assert set(b) == {"model", "compared", "confidence", "trials", "cheapest"}
    assert [b["model"] for b in told["best"]] == ["s", "m", None]
    assert told["luck"] is None
    assert set(told["optimism"]) == {"trial", "others", "bare", "optimism"}
    for r in told["resolutions"]:
        assert set(r) == {
            "trial", "other", "against", "difference", "discordance", "detectable", "target",
            "items_needed",
        }  # fmt: skip
    assert [d["name"] for d in data["descriptions"]] == ["normalised_gain", "clipped_forgetting"]
    for t in data["trials"]:
        names = {"normalised_gain", "clipped_forgetting"}
        assert set(t["descriptions"]) == (names if t["kind"] == "trial" and t["split"] else set())


def test_values(data: dict[str, Any]) -> None:
    trials = {t["id"]: t for t in data["trials"]}
    assert trials["base-s"]["kind"] == "base" and trials["arm"]["kind"] == "reference"
    assert trials["base-s"]["objectives"]["gain"]["value"] == 0.0
    assert trials["base-s"]["objectives"]["task_score"]["interval_method"] == "items_only_t"
    small = trials["small"]
    assert (small["split"], small["replicates"], small["stage"]) == ("test", 3, "confirm")
    assert small["objectives"]["gain"]["interval_method"] == "items_and_pooled_seeds_t"
    assert small["objectives"]["max_forgetting"]["low"] is None
    assert small["rank_group"] == "s / test" and small["rank"] == 1
    assert small["candidate"] == {"tokens": 1000, "alpha": 1.0}
    searched = trials["searched"]
    assert (searched["split"], searched["rank_group"]) == ("validation", "s / validation")
    assert data["decision"]["trial"] in ("small", "big")
    assert data["sizes"][0]["model"] == "m" and data["sizes"][0]["parameters"] == 1_000_000


def test_absent_is_null(data: dict[str, Any]) -> None:
    trials = {t["id"]: t for t in data["trials"]}
    broken = trials["broken"]
    assert (broken["status"], broken["split"], broken["rank"]) == ("failed", None, None)
    assert broken["candidate"] is None and broken["front_membership"] is None
    for e in broken["objectives"].values():
        assert set(e.values()) == {None}
    assert not broken["on_front"]
    assert data["excluded"] == [
        {"trial": "broken", "reason": "failed: loss is NaN at step 3"},
    ]
    # The arm was not scored on the general suites: no forgetting, and no place on the front.
    assert trials["arm"]["objectives"]["forgetting"]["value"] is None
    assert not trials["arm"]["on_front"] and trials["arm"]["front_membership"] is None


def test_the_front_is_that_of_the_printed_points(data: dict[str, Any]) -> None:
    groups: dict[str, list[dict[str, Any]]] = {}
    for t in data["trials"]:
        if t["split"] == "test" and t["objectives"]["forgetting"]["value"] is not None:
            groups.setdefault(t["rank_group"], []).append(t)
    for members in groups.values():
        for t in members:
            gain, drop = (t["objectives"][k]["value"] for k in ("gain", "forgetting"))
            beaten = any(
                o["objectives"]["gain"]["value"] >= gain
                and o["objectives"]["forgetting"]["value"] <= drop
                and (o["objectives"]["gain"]["value"], o["objectives"]["forgetting"]["value"])
                != (gain, drop)
                for o in members
            )
            assert t["on_front"] == (not beaten)


def test_a_sweep_without_any_model_that_finished_is_still_valid() -> None:
    data = json.loads(to_json(analyze(build([Trial("x", "s", 0.5, status=TrialStatus.FAILED)]))))
    assert data["decision"]["model"] is None
    assert {s["trial"] for s in data["sizes"]} == {None}


def test_the_same_evidence_gives_the_same_bytes() -> None:
    assert to_json(analyze(example())) == to_json(analyze(example()))
