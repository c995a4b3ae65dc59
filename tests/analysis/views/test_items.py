"""`items`: which items are shown, in which order, and what is said of their texts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keepgain.analysis import render
from keepgain.analysis.analyze import analyze
from keepgain.analysis.grid import View
from keepgain.analysis.views.chosen import Wanted
from keepgain.analysis.views.items import items_view
from keepgain.core.answers import Answers, Text, texts_path, write_answers
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence
from tests.analysis.evidence import exact, ones


def worked() -> Evidence:
    """Ten items. The base has 0-4 right; the trial's runs have 2-6 and 3-7 right."""
    facts = np.column_stack([ones(5, 10, 1, start=2), ones(5, 10, 1, start=3)])
    evidence = exact(
        {
            "base-m": ("m", "base", {"task": ones(1, 10, 1), "facts": ones(5, 10, 1)}),
            "aaa": ("m", "trial", {"task": ones(9, 10), "facts": facts}),
        },
        measures={"task": "gain", "facts": "forgetting"},
        sizes={"m": 10},
    )
    groups = tuple("low" if i < 3 else "high" for i in range(10))
    return replace(evidence, items=tuple((k, replace(s, groups=groups)) for k, s in evidence.items))


def shown(wanted: Wanted, folders: dict[str, Path] | None = None) -> View:
    evidence = worked()
    wanted = replace(wanted, trial=wanted.trial or "aaa")
    return items_view(evidence, analyze(evidence), wanted, folders or {})


def numbers(view: View) -> list[int]:
    return [int(str(r["item"])[-2:]) for r in view.data["rows"]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("worse", [0, 1, 2]),  # 2 only in the second run: half as much
        ("better", [5, 6, 7]),
        ("changed", [0, 1, 5, 6, 2, 7]),
        ("wrong", [0, 1, 8, 9, 2, 7]),
    ],
)
def test_which_items_largest_change_first(where: str, expected: list[int]) -> None:
    view = shown(Wanted(suite="facts", where=where))
    assert numbers(view) == expected and view.data["found"] == len(expected)


def test_the_words_count_means_and_every_run() -> None:
    said = shown(Wanted(suite="facts")).paragraphs[0]
    assert "3 are worse than the base in the mean over 2 runs, 3 better, 4 the same" in said
    assert "In every run: 2 went from right to wrong, 2 from wrong to right." in said


def test_base_and_every_run_stand_side_by_side() -> None:
    view = shown(Wanted(suite="facts"))
    rows = {r[0]: r[1:] for r in view.grids[0].rows}
    assert rows["validation-00002"] == ("low", "right", "right", "wrong")
    row = view.data["rows"][2]  # type: ignore[index]
    assert row["base"] == [{"seed": 0, "score": 1.0, "answer": None}]
    assert [r["score"] for r in row["trial"]] == [1.0, 0.0] and row["change"] == -0.5


def test_slices_narrow_and_are_counted() -> None:
    view = shown(Wanted(suite="facts", where="changed", slice=("group", "high")))
    assert numbers(view) == [5, 6, 7] and view.data["items"] == 7
    whole = shown(Wanted(suite="facts", where="worse"))
    assert whole.grids[1].rows == (("group=low", "3", "3", "100 %"),)


def test_a_limit_says_how_many_more() -> None:
    view = shown(Wanted(suite="facts", where="changed", limit=2))
    assert numbers(view) == [0, 1] and any(n.startswith("4 more:") for n in view.notes)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(), "which suite.*task, facts"),
        (Wanted(suite="fact"), "no suite 'fact'. Nearest: facts"),
        (Wanted(suite="facts", trial="aab"), "no trial.*'aab'. Nearest: m aaa"),
        (Wanted(suite="facts", slice=("grup", "low")), "no field of facts 'grup'. Nearest: group"),
        (Wanted(suite="facts", slice=("group", "lo")), "no value of group 'lo'. Nearest: low"),
    ],
)
def test_unknown_names_get_the_nearest(wanted: Wanted, message: str) -> None:
    with pytest.raises(UserError, match=message):
        shown(wanted)


def test_wrong_of_scores_that_are_not_right_or_wrong_is_refused() -> None:
    evidence = exact(
        {
            "base-m": ("m", "base", {"text": np.full((40, 1), 1.5)}),
            "aaa": ("m", "trial", {"text": np.linspace(1.0, 1.9, 80).reshape(40, 2)}),
        },
        measures={"text": "gain"},
        sizes={"m": 10},
        scorer="bits_per_byte",
    )
    analysis = analyze(evidence)
    with pytest.raises(UserError, match="not right or wrong"):
        items_view(evidence, analysis, Wanted("text", "wrong", "aaa"), {})
    view = items_view(evidence, analysis, Wanted("text", "worse", "aaa", limit=1), {})
    # Bits up is worse: the last item has the most.
    assert [r["item"] for r in view.data["rows"]] == ["validation-00039"]  # type: ignore[attr-defined]


def test_questions_and_answers_come_from_the_sweeps_folder(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    evidence = worked()
    ids = tuple(f"validation-{i:05d}" for i in range(10))
    given = {"base-m-s0": "Paris", "aaa-s0": "Lyon\x1b[31m", "aaa-s1": "Nice"}
    runs = []
    for run in evidence.sweep.runs:
        write_answers(
            tmp_path / f"{run.run_key}.parquet",
            [Answers("facts", "validation", "d1", ids, (given[run.run_key],) * 10)],
        )
        runs.append(run.model_copy(update={"answers": (f"{run.run_key}.parquet",)}))
    path = texts_path(tmp_path, "d1")
    path.parent.mkdir()
    texts = [Text("Capital of France?", "Paris")] * 10
    columns = [list(ids), [t.question for t in texts], [t.reference for t in texts]]
    pq.write_table(pa.table(columns, names=["item_id", "question", "reference"]), path)
    evidence = replace(evidence, sweep=evidence.sweep.model_copy(update={"runs": tuple(runs)}))
    folders = {r.run_key: tmp_path for r in runs}
    view = items_view(evidence, analyze(evidence), Wanted("facts", trial="aaa", limit=1), folders)
    told = view.grids[-1]
    assert told.title == "validation-00000"
    assert told.rows == (
        ("question", "", "Capital of France?"),
        ("expected", "", "Paris"),
        ("base", "right", "Paris"),
        ("run 1", "wrong", "Lyon[31m"),
        ("run 2", "wrong", "Nice"),
    )
    row = view.data["rows"][0]  # type: ignore[index]
    assert row["question"] == "Capital of France?" and row["trial"][1]["answer"] == "Nice"
    assert "Capital of France?" in render.view_text(view, width=80)


def test_without_answers_the_note_says_where_they_would_be() -> None:
    assert any("sweep's own folder" in note for note in shown(Wanted(suite="facts")).notes)
