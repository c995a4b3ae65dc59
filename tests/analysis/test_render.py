"""Text, Markdown and CSV."""

import csv
import io
from dataclasses import replace

import pytest

from keepgain.analysis import render, words
from keepgain.analysis.analyze import analyze
from keepgain.analysis.grid import Grid, View
from keepgain.analysis.result import Analysis
from keepgain.core.record import Question
from keepgain.core.status import TrialStatus
from tests.analysis.evidence import Trial, base, build


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    trials = [
        base("s"),
        base("m"),
        Trial("few-m", "m", 0.4, arm="few_shot"),
        Trial("aaaaaa11", "m", 0.8, params={"learning_rate": 3e-4, "mixture.general": 0.2}),
        Trial("bbbbbb22", "s", 0.8, params={"learning_rate": 1e-3, "note": "=cmd()\x1b[31m"}),
        Trial("cccccc33", "s", 0.5, seeds=0, method="lora", params={"learning_rate": 1e-2}),
        Trial("dddddd44", "s", 0.5, seeds=0, status=TrialStatus.FAILED),
    ]
    question = Question(delta=0.1, max_forgetting=0.2, cost="train_seconds")
    return analyze(build(trials, n_items=300, question=question))


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 160])
def test_text_fits_the_width_and_keeps_the_figures(analysis: Analysis, width: int) -> None:
    said = render.text(analysis, width=width)
    assert max(len(line) for line in said.splitlines()) <= width
    assert "RECOMMENDED" in said and "\x1b" not in said
    value = next(r for r in analysis.rows if r.who.trial_id == "aaaaaa11").estimates["task_score"]
    assert f"{value.value:.3f}" in said
    if width >= 100:
        assert "forgetting" in said and "few_shot" in said and "(val.)" in said


def test_text_says_what_was_left_out_and_what_would_flip(analysis: Analysis) -> None:
    said = " ".join(render.text(analysis, width=160).split())
    assert "Left out (1): dddddd failed: loss is NaN at step 3." in said
    assert "the answer would be: m." in said


def test_colour_only_when_asked(analysis: Analysis) -> None:
    assert "\x1b[" in render.text(analysis, colour=True)


def test_markdown_tables_are_square(analysis: Analysis) -> None:
    said = render.markdown(analysis)
    assert said.startswith("# toy-123456")
    tables = [line for line in said.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables[:4]} == {tables[0].count("|")}
    assert "**RECOMMENDED.** Use s" in said


def test_csv_is_complete_and_harmless(analysis: Analysis) -> None:
    rows = list(csv.DictReader(io.StringIO(render.csv_table(analysis))))
    assert len(rows) == len(analysis.rows)
    by_id = {r["id"]: r for r in rows}
    assert by_id["bbbbbb22"]["params.note"] == "'=cmd()[31m"
    assert by_id["dddddd44"]["gain"] == ""
    gain = next(r for r in analysis.rows if r.who.trial_id == "aaaaaa11").estimates["gain"]
    assert float(by_id["aaaaaa11"]["gain"]) == gain.value


@pytest.mark.parametrize(
    ("given", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@sum", "'@sum"),
        ("-x", "'-x"),
        ("\t=x", "'=x"),
        ("-0.5", "-0.5"),
        ("+3e-4", "+3e-4"),
        (-0.25, "-0.25"),
        (None, ""),
    ],
)
def test_formula_cells(given: object, cell: str) -> None:
    assert render._cell(given) == cell


def test_words() -> None:
    assert words.amount(0.0213, "exact_match") == "2.1 points"
    assert words.amount(-0.0001, "exact_match") == "0.0 points"
    assert words.amount(0.0213, "bits_per_byte") == "0.021 bits/byte"
    assert words.level(0.5, "exact_match") == "0.500"
    assert words.join(["a", "b", "c"]) == "a, b and c"
    assert words.join(["a"]) == "a" and words.join([]) == ""
    assert words.count(1, "seed") == "1 seed" and words.count(2000, "item") == "2,000 items"
    assert words.clean("a\x1b[0m\u202eb\n") == "a[0mb"


def example_view() -> View:
    grid = Grid(
        "A table with a title that is longer than the table itself, and than many terminals are",
        ("item", "text", "score", "extra"),
        (("a-1", "what it was asked\x1b[31m", "0.5", "x" * 30), ("a-2", "=cmd", "–", "")),
        (False, True),
        ("extra",),
    )
    data = {"rows": [{"id": "a", "of": {"value": 0.1234567}, "seeds": [1, 2]}, {"id": "=b"}]}
    return View("made", "one · line", ("In words. " * 20,), (grid,), ("A note. " * 20,), data)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_view_fits_the_width(width: int) -> None:
    said = render.view_text(example_view(), width=width)
    assert max(len(line) for line in said.splitlines()) <= width
    assert "\x1b" not in said and "a-1" in said and "one · line" in said
    assert ("xxx" in said) == (width >= 80)
    assert "\x1b[" in render.view_text(example_view(), colour=True)


def test_a_view_in_markdown_and_csv() -> None:
    said = render.view_markdown(example_view())
    assert said.startswith("# one · line\n\nIn words.") and "\n- A note." in said
    assert "| a-1 |" in said
    rows = list(csv.reader(io.StringIO(render.view_csv(example_view()))))
    assert rows == [["id", "of.value", "seeds"], ["a", "0.1234567", "1; 2"], ["'=b", "", ""]]
    shown = replace(example_view(), data={})
    rows = list(csv.reader(io.StringIO(render.view_csv(shown))))
    assert rows[0] == ["item", "text", "score", "extra"] and rows[2][1] == "'=cmd"
