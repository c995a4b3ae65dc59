"""The ladder of sizes: levels and costs, what kills a size, equal effort, trends and prices."""

import numpy as np
import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.render import view_text
from keepgain.analysis.result import Analysis
from keepgain.analysis.views.sizes import sizes_view
from keepgain.core.record import Question
from tests.analysis.evidence import Trial, base, build, exact, ones


def ladder(question: Question | None = None) -> Analysis:
    trials = [
        base("s"),
        base("m"),
        Trial("big", "m", 0.85, 0.78),
        *(Trial(f"b{n}", "m", 0.5 + 0.05 * n, seeds=0) for n in range(4)),
        Trial("small", "s", 0.6, 0.7),
        *(Trial(f"a{n}", "s", 0.4 + 0.05 * n, seeds=0) for n in range(2)),
    ]
    asked = question or Question(delta=0.05, max_forgetting=0.3)
    return analyze(build(trials, n_items=400, question=asked))


def grid(view: View, title: str) -> Grid:
    return next(g for g in view.grids if g.title.startswith(title))


def column(found: Grid, name: str) -> list[str]:
    return [row[found.header.index(name)] for row in found.rows]


def test_levels_costs_and_the_choice_of_every_size() -> None:
    analysis = ladder()
    view = sizes_view(analysis)
    sizes = grid(view, "Sizes, each by its candidate")
    assert column(sizes, "size") == ["m", "s"]
    assert sizes.marked == (True, False)
    for row, cells in zip(analysis.sizes, sizes.rows, strict=True):
        assert cells[4].startswith(f"{row.estimates['task_score'].value:.3f} ±")
        worst = max((d.value, d.suite.info.name) for d in [row.worst] if d is not None)
        assert worst[0] == row.estimates["max_forgetting"].value
        assert cells[sizes.header.index("worst drop")].endswith(worst[1])
    costs = grid(view, "Cost of each candidate")
    assert costs.header == ("", "size", "parameters", "training time")
    assert column(costs, "parameters") == ["1M", "100k"]
    assert view_text(view)


def test_every_condition_with_its_figure_bound_and_verdict() -> None:
    analysis = ladder()
    conditions = grid(sizes_view(analysis), "What each size must hold")
    small = [r for r in conditions.rows if r[0] == "s"]
    assert [r[1] for r in small] == [
        "task score against m big",
        "drop on facts",
        "drop on sums",
        f"ahead of {analysis.decision.verdict.arm.label}",  # type: ignore[union-attr]
    ]
    assert small[0][4:] == ("> -0.050", "fails")
    assert {r[-1] for r in small[1:]} == {"holds"}
    view = sizes_view(analysis)
    told = view.data["sizes"][1]["checks"][0]  # type: ignore[index]
    assert told["claim"] == "task_score" and told["holds"] is told["holds_at_point"] is False
    assert float(small[0][2]) == pytest.approx(told["value"], abs=5e-4)
    assert float(small[0][3]) == pytest.approx(told["bound"], abs=5e-4)


def test_sizes_compare_at_the_k_that_both_have() -> None:
    view = sizes_view(ladder())
    curves = grid(view, "Expected best task score")
    assert curves.title.endswith("sizes compare at 3 trials")
    assert curves.header == ("size", "trials", "best of 1", "best of 2", "best of 3", "all it had")
    assert column(curves, "trials") == ["3", "5"]
    assert column(curves, "all it had")[1].endswith("of 5")
    assert not any("not comparable" in n for n in view.notes)


def test_too_few_trials_are_not_comparable() -> None:
    trials = [base("s"), base("m"), Trial("one", "s", 0.7), Trial("two", "m", 0.8)]
    view = sizes_view(analyze(build(trials, n_items=200)))
    assert not any(g.title.startswith("Expected best") for g in view.grids)
    assert "Sizes are not comparable at equal effort: it takes 3 trials each." in view.notes
    assert any("a fit over sizes needs at least 4 of them, here are 2" in n for n in view.notes)


def test_absolute_and_relative_forgetting_are_told_apart() -> None:
    """Luo et al. 2023, table of BLOOMZ (domain knowledge): drops of 9.54, 10.72, 14.63 and 18.37
    points rise with size; these bases know ever more, so that the shares that are lost fall."""
    sizes = {"b1": 1_100_000_000, "b2": 1_700_000_000, "b3": 3_000_000_000, "b7": 7_100_000_000}
    drops, known = (238, 268, 366, 459), (373, 487, 850, 1837)
    n = 2_500
    given: dict[str, tuple[str, str, dict[str, np.ndarray]]] = {}
    for (name, _), lost, had in zip(sizes.items(), drops, known, strict=True):
        given[f"base-{name}"] = (name, "base", {"task": ones(0, n, 1), "facts": ones(had, n, 1)})
        given[f"t-{name}"] = (name, "trial", {"task": ones(2250, n), "facts": ones(had - lost, n)})
    measures = {"task": "gain", "facts": "forgetting"}
    analysis = analyze(exact(given, measures=measures, sizes=sizes))
    assert analysis.scaling is not None
    slopes = {(s.figure, s.form): s for s in analysis.scaling.slopes}
    assert slopes["forgetting", "per_tenfold"].low > 0
    assert slopes["relative_forgetting", "per_tenfold"].high < 0
    found = grid(sizes_view(analysis), "Sizes, each by its candidate")
    assert [c.split()[0] for c in column(found, "forgetting")] == [
        "+0.184", "+0.146", "+0.107", "+0.095",
    ]  # fmt: skip
    assert [c.split()[0] for c in column(found, "relative")] == [
        "+0.250", "+0.431", "+0.550", "+0.638",
    ]  # fmt: skip


def test_fronts_say_what_they_left_out_and_why() -> None:
    view = sizes_view(ladder(Question(delta=0.05, max_forgetting=0.05)))
    fronts = grid(view, "Fronts")
    assert column(fronts, "field")[-1] == "sizes"
    left = {
        f: int(c) for f, c in zip(column(fronts, "field"), column(fronts, "left out"), strict=True)
    }
    assert left["s / test"] == 1
    assert any(n.startswith("Not on a front in s / test: 1 row, largest drop") for n in view.notes)


def test_weights_and_prices_are_in_the_users_units() -> None:
    question = Question(delta=0.05, max_forgetting=0.3, weights={"gain": 1, "forgetting": 2})
    analysis = ladder(question)
    view = sizes_view(analysis)
    ways = grid(view, "Other ways to choose")
    assert column(ways, "by weights") == ["s small", "m big"]
    assert column(ways, "by limits") == ["s small", "m big"]
    assert "gain 1 (same from" in column(ways, "weights")[0]
    prices = grid(view, "Who would pay less")
    scores = {r.size.model: r.estimates["task_score"].value for r in analysis.sizes}
    assert scores["m"] is not None and scores["s"] is not None
    price = 900_000 / (scores["m"] - scores["s"])
    assert view.data["trades"] == [
        {"cheaper": "small", "dearer": "big", "cost": "parameters", "price": pytest.approx(price)}
    ]
    assert prices.rows[0][3] == "point"  # a hundredth of a share
    assert prices.rows[0][2] == f"{price / 100 / 1000:.3g}k parameters"
