"""Forgetting by capability, what is only masked, and the groups of the suites that decide."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from keepgain.analysis import cli
from keepgain.analysis.analyze import analyze
from keepgain.analysis.behaviour.capabilities import by_capability
from keepgain.analysis.behaviour.recovery import Recovery, masked_terms, recoveries
from keepgain.analysis.contract import view_to_json
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.measures import measures_of
from keepgain.analysis.render import view_csv, view_text
from keepgain.analysis.result import Analysis
from keepgain.analysis.views.forgetting import NO_SUITE, forgetting_view
from keepgain.core.record import Evidence
from tests.analysis.evidence import exact, ones

N = 200
MEASURES = {
    "tickets": "gain",
    "facts": "forgetting",
    "sums": "forgetting",
    "products": "forgetting",
    "again": "behaviour",
}
BASE = {"tickets": 0, "facts": 160, "sums": 200, "products": 180, "again": 160}
TUNED = {"tickets": 180, "facts": 80, "sums": 180, "products": 120, "again": 140}


def found_of(tuned: Mapping[str, int], seeds: int = 2, groups: bool = False) -> Evidence:
    """Of n items the first ones are right; the tuned model is of size m."""
    made = exact(
        {
            "base": ("m", "base", {s: ones(k, N, 1) for s, k in BASE.items()}),
            "tuned": ("m", "trial", {s: ones(k, N, seeds) for s, k in tuned.items()}),
        },
        measures=MEASURES,
        sizes={"m": 1000},
    )
    named = {"facts": "knowledge", "sums": "arithmetic", "products": "arithmetic"}
    suites = tuple(
        s.model_copy(
            update={
                "capability": named.get(s.name),
                "recovers": "facts" if s.name == "again" else None,
            }
        )
        for s in made.sweep.suites
    )
    items = made.items
    if groups:
        half = ("old",) * 100 + ("new",) * 100
        items = tuple((k, replace(i, groups=half if i.suite == "facts" else ())) for k, i in items)
    return Evidence(made.sweep.model_copy(update={"suites": suites}), items)


def grid(view: View, title: str) -> Grid:
    return next(g for g in view.grids if g.title.startswith(title))


def recovery(tuned: Mapping[str, int], seeds: int = 2) -> Recovery:
    measures = measures_of(found_of({**TUNED, **tuned}, seeds))
    who = next(c for c in measures.table.configurations if c.kind == "trial")
    (one,) = recoveries(measures, who, "test")
    return one


def test_every_capability_counts_once_and_the_worst_is_named():
    measures = measures_of(found_of(TUNED))
    who = next(c for c in measures.table.configurations if c.kind == "trial")
    found = by_capability(measures, who, "test")
    assert found is not None and found.declared
    drops = {c.name: (c.suites, c.drop.value) for c in found.capabilities}
    assert drops == {
        "knowledge": (("facts",), pytest.approx(0.4)),
        "arithmetic": (("sums", "products"), pytest.approx(0.2)),
    }
    assert found.macro.value == pytest.approx(0.3)
    # Half of knowledge, a quarter of each of the two others: independent items, t over them.
    shares, spread = {"facts": 0.5, "sums": 0.25, "products": 0.25}, 0.0
    for suite, share in shares.items():
        drop = (BASE[suite] - TUNED[suite]) / N
        spread += share**2 * drop * (1 - drop) / (N - 1)
    assert found.macro.high == pytest.approx(0.3 + 1.97 * spread**0.5, abs=1e-3)
    assert found.worst.name == "knowledge"
    assert found.worst_drop.value == pytest.approx(0.4)
    assert found.worst_drop.low < found.worst.drop.low, "bounded together with the other one"


def test_seeds_of_a_capability_are_pooled_over_its_suites():
    one = measures_of(found_of(TUNED, seeds=1))
    who = next(c for c in one.table.configurations if c.kind == "trial")
    found = by_capability(one, who, "test")
    assert found is not None and found.macro.low is None and found.bias is None
    assert found.worst_drop.value == pytest.approx(0.4) and found.worst_drop.low is None


def test_the_masked_share_is_what_comes_back_of_what_was_lost():
    r = recovery({})
    assert (r.base.value, r.tuned.value, r.tuned_with.value) == (0.8, 0.4, 0.7)
    assert r.lost.value == pytest.approx(0.4) and r.verdict == "resolved"
    assert r.masked is not None and r.masked.value == pytest.approx(0.75)
    # 60 items come back (deviation .25/.4), 20 do not (-.75/.4); t of 199 degrees of freedom.
    squares = 60 * (0.25 / 0.4) ** 2 + 20 * (0.75 / 0.4) ** 2
    reach = 1.9720 * (squares / (N * (N - 1))) ** 0.5
    assert r.masked.high == pytest.approx(0.75 + reach, abs=1e-4)
    assert r.masked.low == pytest.approx(0.75 - reach, abs=1e-4)


def test_the_two_ends_and_what_has_no_share():
    assert recovery({"again": 160}).masked.value == pytest.approx(1)
    assert recovery({"again": 80}).masked.value == pytest.approx(0)
    better = recovery({"facts": 170})
    assert better.verdict == "nothing_lost" and better.masked is None
    hardly = recovery({"facts": 159})
    assert hardly.verdict == "not_resolved" and hardly.masked is None
    alone = recovery({}, seeds=1)
    assert alone.verdict == "not_resolved", "one seed: how certain the loss is, is unknown"


def test_a_text_that_hurts_the_base_proves_no_loss(monkeypatch):
    monkeypatch.setitem(BASE, "again", 90)
    analysis = analyze(found_of({**TUNED, "again": 80}))
    said = forgetting_view(analysis).paragraphs[0]
    assert "the text alone costs the base 0.350 [" in said and "proves no loss" in said
    assert recovery({}).text_hurts
    monkeypatch.setitem(BASE, "again", 160)
    assert not recovery({}).text_hurts


def test_a_suite_that_is_lost_whole_is_lost_for_certain_though_its_items_are_all_alike():
    r = recovery({"facts": 0, "again": 0})
    assert r.verdict == "resolved" and r.masked is not None
    assert r.masked.value == 0 and 0 < r.masked.high < 0.05


def test_linearised_terms_have_the_ratio_as_their_mean():
    rng = np.random.default_rng(0)
    back, loss, weights = (
        rng.normal(1, 1, (50, 3)),
        rng.normal(2, 1, (50, 3)),
        rng.uniform(1, 2, 50),
    )
    terms = masked_terms(back, loss, weights)
    ratio = np.average(back.mean(axis=1), weights=weights) / np.average(
        loss.mean(axis=1), weights=weights
    )
    assert np.average(terms.mean(axis=1), weights=weights) == pytest.approx(ratio)


def test_the_interval_of_the_masked_share_holds_the_truth():
    """300 items; a base right on .8, a tuned model on .4, with the text on .7: masked .75."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        u = rng.random((300, 3))
        base, tuned = (u[:, :1] < 0.8) * 1.0, (u[:, [0]] < 0.4) * 1.0
        again = np.where(u[:, [1]] < 0.6, (u[:, [0]] < 0.7), u[:, [2]] < 0.7) * 1.0
        terms = masked_terms(again - tuned, base - tuned, np.ones(300))[:, 0]
        reach = 1.968 * terms.std(ddof=1) / 300**0.5
        held += abs(terms.mean() - 0.75) <= reach
    assert held >= 182


def test_the_view_tells_all_of_it_and_draws_and_writes_it():
    analysis: Analysis = analyze(found_of(TUNED, groups=True))
    view = forgetting_view(analysis)
    assert "the worst one is knowledge, 0.400 [" in view.paragraphs[0]
    assert "facts: 0.750 [0.654, 0.846] of what was lost is only masked" in view.paragraphs[0]
    capabilities = grid(view, "Forgetting by capability")
    assert [r[1] for r in capabilities.rows] == [
        "knowledge",
        "arithmetic",
        "macro-average",
        "worst: knowledge",
    ]
    assert grid(view, "Lost, or only masked").rows[0][-1] == "0.750 [0.654, 0.846]"
    churn = grid(view, "Answers that flipped")
    assert [r[1] for r in churn.rows] == ["facts", "sums", "products"]
    groups = grid(view, "Groups")
    worst = next(r for r in groups.rows if r[2] == "worst group")
    # Of the first 100 items 80 are still right, of the others none.
    assert worst[1] == "facts" and worst[3] == "new, n = 100" and worst[4].startswith("0.000")
    assert view_text(view) and view_csv(view).startswith("trial,model,capability")
    data = json.loads(view_to_json(analysis, view))["data"]["candidates"][0]
    assert data["recovered"][0]["masked"]["value"] == pytest.approx(0.75)
    assert data["worst"]["capability"] == "knowledge"


def test_without_general_suites_the_view_says_so():
    made = exact(
        {
            "base": ("m", "base", {"tickets": ones(0, N, 1)}),
            "tuned": ("m", "trial", {"tickets": ones(150, N)}),
        },
        measures={"tickets": "gain"},
        sizes={"m": 1000},
    )
    view = forgetting_view(analyze(made))
    assert NO_SUITE in view.paragraphs[0] and not view.grids


def test_the_command_shows_the_shipped_example(capsys):
    assert cli.main(["--example", "forgetting"]) == 0
    shown = capsys.readouterr().out
    assert "Forgetting by capability" in shown and "worst: forgetting_fact" in shown
    assert cli.main(["--example", "forgetting", "--trial", "x"]) == 2
