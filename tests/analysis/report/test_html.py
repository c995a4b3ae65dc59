"""The HTML report: one file, well-formed, harmless, and with the figures of the JSON."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.asked import parser
from keepgain.analysis.contract import to_contract
from keepgain.analysis.grid import Grid
from keepgain.analysis.report.html import table, to_html, write_report
from keepgain.analysis.report.links import Links
from keepgain.analysis.report.thin import MAX_CLOUD, MAX_NEAR, MAX_TOP
from keepgain.analysis.result import Analysis
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence, Question
from keepgain.core.status import TrialStatus
from tests.analysis.evidence import Trial, base, build
from tests.analysis.report.page import Page

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
SERVER = Links("https://mlflow.example", "7", "toy-123456", {"small-s100": "0a1b"})


def evidence() -> Evidence:
    made = build(
        [
            base("s"),
            base("m"),
            Trial("arm", "m", 0.4, arm="few_shot"),
            Trial("big", "m", 0.8, params={"learning_rate": 1e-3, "note": EVIL}),
            Trial("small", "s", 0.8, params={"learning_rate": 3e-4, "note": "`code`"}),
            Trial(EVIL, "s", 0.6, seeds=0, params={"learning_rate": 1e-2}),
            Trial("gone", "s", 0.5, seeds=0, status=TrialStatus.FAILED),
        ],
        n_items=300,
        question=Question(delta=0.1, max_forgetting=0.2, cost="train_seconds"),
    )
    runs = tuple(
        r.model_copy(update={"reason": EVIL}) if r.trial_id == "gone" else r
        for r in made.sweep.runs
    )
    facts = {"spec": EVIL, "version.torch": "2.13", "host": "secret-machine"}
    more = {"runs": runs, "warnings": (EVIL,), "provenance": facts, "name": EVIL}
    return Evidence(made.sweep.model_copy(update=more), made.items)


@pytest.fixture(scope="module")
def given() -> tuple[Evidence, Analysis]:
    found = evidence()
    return found, analyze(found)


@pytest.fixture(scope="module")
def page(given: tuple[Evidence, Analysis]) -> Page:
    return Page(to_html(*given))


def test_it_is_well_formed_and_its_anchors_and_labels_resolve(page: Page) -> None:
    assert page.faults == []
    assert page.text.startswith("<!DOCTYPE html>")
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, "front") in page.ids
    anchors = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
    assert len(anchors) >= 8 and set(anchors) <= page.ids


def test_it_loads_nothing_and_links_nowhere_without_a_server(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    outside = page.text
    for script in page.scripts:
        outside = outside.replace(script, "")
    assert "http://" not in outside and "https://" not in outside
    assert "url(" not in outside and "@import" not in outside


def test_only_the_two_scripts_of_ours_may_run_and_nothing_may_be_fetched(page: Page) -> None:
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    data, plotly, ours = page.scripts
    digests = {
        base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in (plotly, ours)
    }
    assert allowed == digests and "default-src 'none'" in policy
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]
    assert page.all("script")[0]["type"] == "application/json" and json.loads(data)


def test_what_users_named_is_text_everywhere(page: Page) -> None:
    assert page.all("script") == [{"type": "application/json", "id": "front-data"}, {}, {}]
    assert not [i for i in page.all("img") if "onerror" in i]
    assert page.shown.count(EVIL) >= 4  # the name, the warning, the reason and the provenance
    hover = json.dumps(page.panels)
    texts = [t for p in page.panels for tr in p["traces"] for t in tr.get("hovertext", [])]
    assert "alert(1)" in hover and not any("<script" in t or "<img" in t for t in texts)
    assert "secret-machine" not in page.text


def test_figures_have_texts_and_tables_have_scopes(page: Page) -> None:
    assert page.all("img") and all(len(i["alt"]) > 60 for i in page.all("img"))
    assert all(h.get("scope") in ("col", "row") for h in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    plots = [d for d in page.all("div") if "plot" in d.get("class", "").split()]
    assert plots and all(p["tabindex"] == "0" and p["aria-label"] for p in plots)
    regions = [d for d in page.all("div") if d.get("class") == "scroll"]
    assert all(r["tabindex"] == "0" and r["aria-label"] for r in regions)
    assert page.all("html")[0]["lang"] == "en"


def test_the_numbers_are_those_of_the_json(given: tuple[Evidence, Analysis], page: Page) -> None:
    contract = to_contract(given[1])
    expected = sorted(
        (100 * t.objectives["forgetting"].value, 100 * t.objectives["gain"].value)
        for t in contract.trials
        if t.objectives["gain"].value is not None and t.objectives["forgetting"].value is not None
    )
    assert len(expected) >= 5
    plotted = sorted((x, y) for x, y, _, _ in page.points)
    assert [x for x, _ in plotted] == pytest.approx([x for x, _ in expected])
    assert [y for _, y in plotted] == pytest.approx([y for _, y in expected])
    halves = sorted(h for p in page.panels for t in p["traces"] for h in _halves(t))
    wanted = sorted(
        100 * (t.objectives["gain"].high - t.objectives["gain"].value)
        for t in contract.trials
        if t.objectives["gain"].value is not None and t.objectives["gain"].high is not None
    )
    assert [h for h in halves if h > 0] == pytest.approx([w for w in wanted if w > 0])
    chosen = next(t for t in contract.trials if t.id == contract.decision.trial)
    told = chosen.objectives["task_score"]
    assert f"{told.value:.3f} [{told.low:.3f}, {told.high:.3f}]" in page.shown
    assert contract.decision.reason in re.sub(r"\s+", " ", page.shown)
    assert f"{contract.decision.probability:.2f}" in page.shown
    assert any("the answer would be" in line for line in page.shown.splitlines())


def _halves(trace: dict[str, dict[str, list[float]]]) -> list[float]:
    return trace["error_y"]["array"] if "error_y" in trace else []


def test_shapes_tell_where_a_trial_stands(given: tuple[Evidence, Analysis], page: Page) -> None:
    symbols = {
        custom[0].partition(" · ")[0].partition(" – ")[0]: trace["marker"]["symbol"]
        for panel in page.panels
        for trace in panel["traces"]
        for custom in trace.get("customdata", [])
    }
    rows = {r.who.label: r for r in given[1].rows if r.who.label in symbols}
    assert symbols["s base"] == "square" and symbols["m few_shot"] == "cross"
    tested = {k: r for k, r in rows.items() if r.who.kind == "trial" and r.split == "test"}
    assert {"s small", "m big"} == set(tested)
    for label, row in tested.items():
        assert row.place is not None
        assert (symbols[label] == "diamond") == row.place.on_front
    (searched,) = (k for k in symbols if EVIL[:6] in k)
    assert symbols[searched].startswith("triangle")


def test_the_limit_is_a_line_and_the_choice_a_ring(page: Page) -> None:
    for panel in page.panels:
        (line,) = panel["layout"]["shapes"]
        assert line["x0"] == line["x1"] == 20.0 and line["yref"] == "paper"
    marked = [t for p in page.panels for t in p["traces"] if "marker" in t]
    rings = [t for t in marked if t["marker"]["size"] == 22]
    assert len(rings) == 1 and len(rings[0]["x"]) == 1


def test_names_link_to_their_runs_on_a_server(given: tuple[Evidence, Analysis]) -> None:
    page = Page(to_html(*given, links=SERVER))
    outside = {a["href"] for a in page.all("a") if a["href"].startswith("https:")}
    assert any(h.endswith("/#/experiments/7/runs/0a1b") for h in outside)
    assert all(h.startswith("https://mlflow.example/#/experiments/7/runs") for h in outside)
    assert page.faults == []
    addresses = {text.partition(" · ")[0]: href for _, _, text, href in page.points}
    assert addresses["s small – the decision's choice"].endswith("/runs/0a1b")


def test_the_commands_of_the_report_parse(given: tuple[Evidence, Analysis]) -> None:
    found, _ = given
    asked = analyze(found, delta=0.2, split="validation", objectives=("gain", "parameters"))
    page = Page(to_html(found, asked))
    commands = re.findall(r"^analyze .*$", page.shown, re.MULTILINE)
    again = "analyze toy-123456 --store /somewhere/.keepgain --delta 0.2 --split validation"
    again += " --objectives gain,parameters"
    assert commands == [f"{again} --report report.html", f"{again} --format json"]
    assert parser().parse_args(commands[1].split()[1:]).delta == 0.2
    assert "sweep ui toy-123456 --store /somewhere/.keepgain" in page.shown


def test_ten_thousand_trials_are_thinned(tmp_path: Path, given: tuple[Evidence, Analysis]) -> None:
    found, small = given
    trials = [r for r in small.rows if r.who.kind == "trial" and r.split is not None]
    many = [
        replace(
            row,
            who=replace(row.who, trial_id=f"{n:06x}", label=f"{row.who.model} {n:06x}"),
            place=replace(row.place, rank=n + 1, on_front=n < 9, near_front=n % 9 == 0),
            measures=None,
            given=row.estimates,
        )
        for n in range(10_000)
        if (row := trials[n % len(trials)]).place is not None
    ]
    crowded = replace(small, rows=(*small.rows, *many))
    write_report(found, crowded, tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    drawn = len(page.points)
    assert drawn < len(page.panels) * (MAX_TOP + MAX_NEAR + MAX_CLOUD + 30)
    assert re.search(r"Drawn are \d+ of [\d,]{5,} configurations", page.shown)
    assert re.search(r"Not computed here for 10,\d+ trials", page.shown)
    assert re.search(r"The 60 rows shown of 10,\d+", page.shown)
    assert len(page.text) < 7_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_without_forgetting_there_is_nothing_to_draw_and_it_says_so() -> None:
    found = build([base("m"), Trial("big", "m", 0.8)], n_items=100, general_suites=())
    page = Page(to_html(found, analyze(found)))
    assert page.faults == [] and page.scripts == []
    assert "no configuration has both figures" in page.shown
    assert "forgetting not measured" in page.shown


def test_a_file_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, given: tuple[Evidence, Analysis]
) -> None:
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_report(*given, tmp_path / "taken.html")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.html"]


def test_the_mark_of_the_choice_is_a_property_of_its_row() -> None:
    grid = Grid("T", ("", "trial", "gain"), (("►", "s 1", "0.5"), ("", "m 2", "–")), (True, False))
    made = table(grid, {"s 1": "https://h/x"})
    assert [c.text for c in made.header] == ["trial", "gain"]
    (chosen, (name, gain)), (other, (plain, _)) = made.rows
    assert (chosen, other) == (True, False)
    assert name.href == "https://h/x" and plain.href is None and not name.number and gain.number
