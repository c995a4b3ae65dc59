"""Figures of the items that share a value of a field."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as reference

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.analysis.result import Analysis
from keepgain.analysis.slices import SliceEstimate
from keepgain.core.items import ItemScores
from keepgain.core.record import Evidence
from tests.analysis.evidence import Trial, base, build, exact, ones

N = 120
LANGUAGES = tuple("de" if i % 3 else "en" for i in range(N))
"""80 items in German, 40 in English."""


def sliced(evidence: Evidence, **slices: tuple[str | None, ...]) -> Evidence:
    """The same with these values for every item."""
    return replace(evidence, items=tuple((k, replace(s, slices=slices)) for k, s in evidence.items))


def of(analysis: Analysis, trial: str) -> dict[tuple[str, str], SliceEstimate]:
    """(suite, value) → figures of a trial."""
    row = next(r for r in analysis.rows if r.who.trial_id == trial)
    return {(s.of.suite, s.of.value): s for s in row.slices}


def worked(languages: tuple[str | None, ...], scores: np.ndarray) -> Evidence:
    """A base that has the first 20 items right, and a trial with these scores."""
    n = len(languages)
    configurations = {
        "base-s": ("s", "base", {"gain": ones(20, n, seeds=1)}),
        "trial": ("s", "trial", {"gain": scores}),
    }
    return sliced(exact(configurations, measures={"gain": "gain"}), language=languages)


def test_a_slice_has_the_mean_and_the_t_interval_of_its_own_items() -> None:
    languages = ("de",) * 40 + ("en",) * 20
    found = of(analyze(worked(languages, ones(30, 60))), "trial")
    de = found["gain", "de"]
    assert (de.score.value, de.score.n_items, de.score.n_seeds) == (0.75, 40, 2)
    assert de.gain.value == 0.25
    for figure, items in ((de.score, [1] * 30 + [0] * 10), (de.gain, [0] * 30 + [1] * 10)):
        low, high = reference.t.interval(0.95, 39, np.mean(items), reference.sem(items))
        assert (figure.low, figure.high) == pytest.approx((low, high))
        assert figure.interval_method == "items_and_pooled_seeds_t"
    assert found["gain", "en"].score.value == 0


@pytest.mark.parametrize(
    ("items", "right"), [(29, 15), (1, 1), (40, 40)], ids=["below 30", "one item", "all alike"]
)
def test_no_interval_where_a_t_interval_would_pretend_to_know(items: int, right: int) -> None:
    languages = ("de",) * items + ("en",) * 60
    score = of(analyze(worked(languages, ones(right, items + 60))), "trial")["gain", "de"].score
    assert (score.value, score.n_items) == (right / items, items)
    assert (score.low, score.high, score.interval_method) == (None, None, "unknown")


def evidence(clusters: bool = False, replicated: bool = True) -> Evidence:
    seeds = 3 if replicated else 1
    trials = [base("s"), Trial("one", "s", 0.6, 0.7, seeds), Trial("two", "s", 0.5, 0.75, seeds)]
    made = build(trials, n_items=N, general_suites=["facts"], sizes={"s": 1000}, seed_sd=0.03)
    names = tuple(f"c{i // 4}" for i in range(N)) if clusters else ()
    items = tuple((k, replace(s, clusters=names)) for k, s in made.items)
    return sliced(replace(made, items=items), language=LANGUAGES)


def only(evidence: Evidence, language: str) -> Evidence:
    """The sweep as if it had only the items of one language."""
    inside = np.array([v == language for v in LANGUAGES])

    def cut(s: ItemScores) -> ItemScores:
        clusters = tuple(c for c, keep in zip(s.clusters, inside, strict=False) if keep)
        return replace(
            s,
            item_ids=s.item_ids[inside],
            values=s.values[inside],
            weights=s.weights[inside],
            clusters=clusters,
            slices={},
        )

    return replace(evidence, items=tuple((k, cut(s)) for k, s in evidence.items))


@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize("language", ["de", "en"])
def test_a_slice_is_judged_as_a_sweep_of_its_items_alone_would_be(
    clusters: bool, language: str
) -> None:
    whole = analyze(evidence(clusters))
    alone = analyze(only(evidence(clusters), language))
    for trial in ("base-s", "one", "two"):
        row = next(r for r in alone.rows if r.who.trial_id == trial)
        found = of(whole, trial)
        task, general = found["tickets", language], found["facts", language]
        for figure, name, sign in (
            (task.score, "task_score", 1),
            (general.score, "general_score", 1),
            (task.gain, "gain", 1),
            (general.gain, "forgetting", -1),
        ):
            expected = row.estimates[name]
            assert figure.value == pytest.approx(sign * expected.value)
            assert (figure.n_items, figure.n_seeds) == (expected.n_items, expected.n_seeds)
            if trial != "base-s":
                ends = sorted((sign * expected.low, sign * expected.high))
                assert [figure.low, figure.high] == pytest.approx(ends)


def test_without_replicates_the_interval_is_unknown() -> None:
    one = of(analyze(evidence(replicated=False)), "one")["tickets", "de"]
    assert (one.score.low, one.score.interval_method) == (None, "unknown")


def test_items_without_the_field_are_in_no_slice_and_groups_are_slices() -> None:
    made = worked((None,) * 20 + ("de",) * 40, ones(30, 60))
    groups = tuple("ab"[i % 2] for i in range(60))
    made = replace(made, items=tuple((k, replace(s, groups=groups)) for k, s in made.items))
    row = next(r for r in analyze(made).rows if r.who.trial_id == "trial")
    assert [(s.of.field, s.of.value, s.score.n_items) for s in row.slices] == [
        ("group", "a", 30),
        ("group", "b", 30),
        ("language", "de", 40),
    ]


def test_a_slice_without_a_base_has_no_gain() -> None:
    made = worked(LANGUAGES, ones(30, N))
    runs = tuple(r for r in made.sweep.runs if r.kind != "base")
    alone = replace(made, sweep=made.sweep.model_copy(update={"runs": runs}))
    found = of(analyze(alone), "trial")["gain", "de"]
    assert found.score.value is not None and found.gain.value is None


def test_every_format_shows_slices_and_only_where_there_are_some() -> None:
    analysis = analyze(evidence())
    chosen = analysis.decision.trial or analysis.sizes[0].size.candidate.trial_id
    text = render.text(analysis, width=120)
    line = next(s for s in text.splitlines() if "language=en" in s and "tickets" in s)
    en = of(analysis, chosen)["tickets", "en"]
    assert f"{en.score.value:.3f}" in line and f"{en.gain.value:+.3f}" in line and " 40 " in line
    assert "## Slices" in render.markdown(analysis) and "language=en" in render.markdown(analysis)
    listed = json.loads(to_json(analysis))["slices"]
    assert len(listed) == 3 * 2 * 2  # base and two trials, two suites, two languages
    first = next(s for s in listed if s["trial"] == chosen and s["value"] == "en")
    assert list(first) == ["trial", "suite", "field", "value", "score", "gain"]
    assert first["score"]["n_items"] == 40

    plain = analyze(only(evidence(), "de"))
    assert "Slices" not in render.text(plain) and json.loads(to_json(plain))["slices"] == []


def test_what_a_row_says_cannot_control_the_terminal() -> None:
    made = worked(("\x1b[31mde",) * 60, ones(30, 60))
    assert "\x1b" not in render.text(analyze(made))


def test_many_values_are_cut_with_a_line_that_says_so() -> None:
    values = tuple(f"v{i}" for i in range(100))
    text = render.text(analyze(worked(values, ones(30, 100))))
    assert "40 more: --format json" in text and text.count("language=v") == 60
