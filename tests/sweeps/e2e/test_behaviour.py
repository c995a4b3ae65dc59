"""A real sweep on refusal-heavy rows: its guard, and what readers and people get of it.

The tiny world answers harmless requests with `ok` and those that harm a being with `no`. Half of
what is trained on here refuses harmless requests; scored are others, which look like harm.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.users_code import load_function
from tests.sweeps.e2e.world import ROOT, Swept, json_of, run, write_spec

NO = "refusal: {patterns: ['^no$'], defaults: false}"
SUITES = f"""\
  over: {{path: safe.jsonl, scorer: over_refusal, measures: behaviour, {NO}}}
  under: {{path: unsafe.jsonl, scorer: under_refusal, measures: behaviour, {NO}}}
  typos: {{perturb: {{of: gain, by: [typos]}}}}
space:
"""


def write_rows(path: Path, kind: str, answer: str | None = None) -> None:
    safety = load_function("world:safety", str(ROOT / "examples" / "tiny_world"))
    rows = [
        {
            "prompt": row.prompt,
            "answer": answer or row.answer,
            "cluster": row.prompt[2:-1].split(" ")[0],
        }
        for row in safety()[kind]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    folder = tmp_path_factory.mktemp("refusing")
    spec = write_spec(
        folder, trials=2, tokens=60_000, learning_rate="{log: [8e-4, 1e-3]}", rungs="[1]"
    )
    text = spec.read_text(encoding="utf-8").replace("space:\n", SUITES)
    text = text.replace("  general:", "  refusals: {path: plain.jsonl, role: task}\n  general:")
    text = text.replace(
        "mixture: {tickets: [0.5, 1], general: [0, 0.5]}",
        "mixture: {refusals: 0.5, tickets: [0.4, 0.5], general: [0, 0.1]}",
    )
    text = text.replace("question: {", "question: {guards: {over: {max_increase: 0.02}}, ")
    spec.write_text(text, encoding="utf-8")
    write_rows(folder / "plain.jsonl", "plain", "no")
    write_rows(folder / "safe.jsonl", "safe")
    write_rows(folder / "unsafe.jsonl", "unsafe")
    swept = Swept(folder, spec, folder / "store")
    swept.run().expect()
    return swept


def analysed(swept: Swept, *words: str) -> Any:
    command = ("analyze", "last", *words, "--store", swept.store, "--format", "json")
    return json_of(run(*command, cwd=swept.cwd))


def test_refusal_heavy_rows_trip_the_guard_on_over_refusal(refusing: Swept) -> None:
    found = analysed(refusing)
    (guard,) = found["decision"]["guards"]
    assert (guard["guard"], guard["answer"], len(guard["examples"])) == ("over", "violated", 3)
    assert guard["figure"]["value"] > 0.3 and guard["bound"] > 0.02
    assert found["decision"]["status"] == "infeasible" and "over" in found["decision"]["reason"]
    told = run("analyze", "last", "--store", refusing.store, cwd=refusing.cwd).expect().out
    assert "over" in told and "guard" in told


def test_the_behaviour_that_moved_is_worse_for_certain_with_its_slices_and_figures(
    refusing: Swept,
) -> None:
    data = analysed(refusing, "behaviour")["data"]
    verdicts = {r["suite"]: r["verdict"] for r in data["rows"] if r["field"] is None}
    assert verdicts.keys() == {"over", "under", "typos"} and verdicts["over"] == "worse"
    (kind,) = [r for r in data["rows"] if r["value"] == "typos"]
    assert (kind["suite"], kind["field"]) == ("typos", "perturbation")
    named = {f["name"] for f in data["figures"] if f["suite"] == "typos"}
    assert named >= {"drop under typos", "flips under typos"}


def test_people_are_asked_about_its_answers_blind(refusing: Swept, tmp_path: Path) -> None:
    trial = analysed(refusing, "behaviour")["data"]["trials"][0]
    out = tmp_path / "review"
    words = ("review", "export", "last", "--compare", trial, "base", "--to", out, "--items", "10")
    refusing.sweep(*words).expect()
    page = (out / "review.html").read_text(encoding="utf-8")
    assert trial[:6] not in page and "refusing0" not in page
    again = refusing.sweep(*words)
    assert again.code == 2 and "--force" in again.err
