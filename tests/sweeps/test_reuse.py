"""Which runs of other sweeps may be taken over, and that taking them over changes nothing there."""

import os
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.config import Runtime
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause, Stage, TrialStatus
from keepgain.sweeps.reuse import LEDGER_NAME, finished_elsewhere, take_over
from keepgain.sweeps.search.ledger import Asked, Event, Finished, Ledger, Rung

KEY = "aaaaaaaaaaaa-s1"


def asked(key: str, **runtime: Any) -> Asked:
    return Asked(
        run_key=key, trial_id=key[:12], seed=1, stage=Stage.SEARCH, kind="trial", model="xs",
        config={"runtime": Runtime(**runtime).model_dump(mode="json")},
    )  # fmt: skip


def report(key: str, **fields: Any) -> RungReport:
    known = {"rung": 0, "tokens": 1, "examples": 1, "final": True, "metrics": {}}
    items = f"runs/{key}/items-r{fields.get('rung', 0)}.parquet"
    return RungReport(run_key=key, items_path=items, **{**known, **fields})


def make_sweep(work: Path, name: str, *events: Event, files: bool = True) -> Path:
    folder = work / name
    with Ledger.open(folder / LEDGER_NAME) as ledger:
        for event in events:
            ledger.append(event)
            if isinstance(event, Rung) and files:
                items = folder / event.report.items_path
                items.parent.mkdir(parents=True, exist_ok=True)
                items.write_text(f"scores of {name}")
                if event.report.model_folder:
                    (folder / event.report.model_folder).mkdir()
                    (folder / event.report.model_folder / "weights").write_text(name)
    return folder


def completed(key: str = KEY, **fields: Any) -> list[Event]:
    end = Finished(run_key=key, status=TrialStatus.COMPLETED)
    return [asked(key), Rung(report=report(key, **fields)), end]


def test_completed_runs_of_other_sweeps_are_found(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, "one", *completed())
    make_sweep(tmp_path, "own", *completed("bbbbbbbbbbbb-s1"))
    found = finished_elsewhere(tmp_path, "own", Runtime(), print)
    assert {k: f.folder for k, f in found.items()} == {KEY: folder}


@pytest.mark.parametrize(
    ("other", "offered"),
    [
        ({"engine": "deepspeed"}, False),
        ({"zero_stage": 2}, False),
        ({"world_size": 2}, False),
        ({"micro_batch_size": 4}, False),
        ({"device": "cuda"}, False),
        ({"dtype": "bfloat16"}, False),
        ({"deepspeed": {"prescale_gradients": True}}, False),
        ({"scoring_batch_size": 8}, True),
    ],
)
def test_only_runs_with_the_same_numerics_are_offered(
    tmp_path: Path, other: dict[str, Any], offered: bool
) -> None:
    """The run key leaves the runtime out."""
    make_sweep(tmp_path, "one", asked(KEY, **other), *completed()[1:])
    make_sweep(tmp_path, "two", asked(KEY).model_copy(update={"config": {}}), *completed()[1:])
    assert bool(finished_elsewhere(tmp_path, "own", Runtime(), print)) is offered


def test_a_store_without_sweeps_offers_nothing(tmp_path: Path) -> None:
    assert finished_elsewhere(tmp_path / "nowhere", "own", Runtime(), print) == {}


def test_an_unreadable_ledger_costs_its_own_runs_only_and_is_named(tmp_path: Path) -> None:
    make_sweep(tmp_path, "good", *completed())
    (make_sweep(tmp_path, "bad", *completed()) / LEDGER_NAME).write_text("{}\n")
    said: list[str] = []
    found = finished_elsewhere(tmp_path, "own", Runtime(), said.append)
    assert {f.folder.name for f in found.values()} == {"good"}
    assert len(said) == 1 and "nothing is reused from bad" in said[0]


@pytest.mark.parametrize(
    "end",
    [
        None,
        Finished(run_key=KEY, status=TrialStatus.INTERRUPTED),
        Finished(run_key=KEY, status=TrialStatus.PRUNED),
        Finished(run_key=KEY, status=TrialStatus.FAILED, cause=FailureCause.NAN),
    ],
)
def test_runs_that_did_not_complete_are_not_offered(tmp_path: Path, end: Finished | None) -> None:
    make_sweep(tmp_path, "one", *completed()[:2], *([end] if end else []))
    assert finished_elsewhere(tmp_path, "own", Runtime(), print) == {}


def test_runs_whose_files_are_gone_are_not_offered(tmp_path: Path) -> None:
    make_sweep(tmp_path, "one", *completed(), files=False)
    folder = make_sweep(tmp_path, "two", *completed(model_folder=f"runs/{KEY}/model"))
    (folder / "runs" / KEY / "model" / "weights").unlink()
    (folder / "runs" / KEY / "model").rmdir()
    assert finished_elsewhere(tmp_path, "own", Runtime(), print) == {}


def test_a_ledger_that_is_being_written_is_read_up_to_its_last_line(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, "one", *completed())
    with (folder / LEDGER_NAME).open("a") as handle:
        handle.write('{"event": "ask')
    assert set(finished_elsewhere(tmp_path, "own", Runtime(), print)) == {KEY}


def test_runs_that_lack_the_scores_of_a_rung_are_not_offered(tmp_path: Path) -> None:
    """A sweep that compares trials at its rungs would not decide as if it had trained them."""
    make_sweep(tmp_path, "one", *completed(rung=1))
    whole, (ask, *last) = completed("bbbbbbbbbbbb-s1"), completed(rung=1)
    first = Rung(report=report(KEY, final=False))
    folder = make_sweep(tmp_path, "two", *whole, ask, first, *last)
    assert set(finished_elsewhere(tmp_path, "own", Runtime(), print)) == {KEY, "bbbbbbbbbbbb-s1"}
    (folder / first.report.items_path).unlink()
    assert set(finished_elsewhere(tmp_path, "own", Runtime(), print)) == {"bbbbbbbbbbbb-s1"}


def test_taking_over_links_scores_and_weights(tmp_path: Path) -> None:
    make_sweep(tmp_path, "one", *completed(model_folder=f"runs/{KEY}/model"))
    (found,) = finished_elsewhere(tmp_path, "own", Runtime(), print).values()
    own = tmp_path / "own"
    take_over(found, own)
    take_over(found, own)  # a driver killed in between does it again
    for name in ("items-r0.parquet", "model/weights"):
        ours, theirs = own / "runs" / KEY / name, found.folder / "runs" / KEY / name
        assert ours.read_bytes() == theirs.read_bytes()
        assert os.path.samefile(ours, theirs)


def test_without_hard_links_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    make_sweep(tmp_path, "one", *completed(model_folder=f"runs/{KEY}/model"))
    (found,) = finished_elsewhere(tmp_path, "own", Runtime(), print).values()
    take_over(found, tmp_path / "own")
    assert (tmp_path / "own" / "runs" / KEY / "model" / "weights").read_text() == "one"
