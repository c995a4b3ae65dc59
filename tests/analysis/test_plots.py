"""The points of the plot, and that files are written."""

from pathlib import Path

import pytest

from keepgain.analysis import plots
from keepgain.analysis.analyze import analyze
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, Question
from tests.analysis.evidence import Trial, base, build


def example() -> Evidence:
    trials = [
        base("s"),
        base("m"),
        Trial("arm", "m", 0.4, arm="few_shot"),
        Trial("big", "m", 0.8),
        Trial("small", "s", 0.8),
        Trial("searched", "s", 0.5, seeds=0),
    ]
    return build(trials, n_items=300, question=Question(delta=0.1, max_forgetting=0.2))


def test_points_are_the_estimates_in_points() -> None:
    analysis = analyze(example())
    small, large = plots.panels(analysis)
    assert small.title == "s (100k parameters)" and large.title == "m (1M parameters)"
    kinds = {p.label: p.kind for p in (*small.points, *large.points)}
    assert kinds == {
        "base": "base", "few shot": "reference", "big": "confirmed", "small": "confirmed",
        "search": "search",
    }  # fmt: skip
    row = next(r for r in analysis.rows if r.who.trial_id == "small")
    point = next(p for p in small.points if p.label == "small")
    gain = row.estimates["gain"]
    assert gain.value is not None and gain.high is not None
    assert point.y == pytest.approx(100 * gain.value)
    assert point.y_half == pytest.approx(100 * (gain.high - gain.value))
    chosen = [p.label for p in (*small.points, *large.points) if p.recommended]
    assert chosen == [analysis.decision.trial]


def test_points_of_one_training_are_joined_from_the_base_on(tmp_path: Path) -> None:
    names = {"all": 1.0, "most": 0.9, "half": 0.5}
    evidence = build(
        [
            base("s"),
            Trial("other", "s", 0.7, seeds=0),
            *(Trial(n, "s", a, seeds=0, params={"interpolation": a}) for n, a in names.items()),
        ],
        n_items=100,
    )
    (training,) = [r.run_key for r in evidence.sweep.runs if r.trial_id == "all"]
    runs = tuple(
        r.model_copy(update={"made_from": training}) if r.trial_id in ("most", "half") else r
        for r in evidence.sweep.runs
    )
    evidence = Evidence(evidence.sweep.model_copy(update={"runs": runs}), evidence.items)
    (panel,) = plots.panels(analyze(evidence))
    assert [[p.label for p in path] for path in panel.paths] == [["half", "most", "all"]]
    plots.save(analyze(evidence), tmp_path / "p.svg")
    assert "one training, towards its base" in (tmp_path / "p.svg").read_text()
    assert all(not panel.paths for panel in plots.panels(analyze(example())))


@pytest.mark.parametrize("name", ["p.svg", "p.png"])
def test_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    plots.save(analyze(example()), path)
    start = path.read_bytes()[:200]
    assert (b"<?xml" in start) if name.endswith("svg") else start.startswith(b"\x89PNG")


def test_nothing_to_plot_is_said(tmp_path: Path) -> None:
    evidence = build([base("m"), Trial("big", "m", 0.8)], n_items=100, general_suites=())
    with pytest.raises(UserError, match="nothing to plot"):
        plots.save(analyze(evidence), tmp_path / "p.png")
