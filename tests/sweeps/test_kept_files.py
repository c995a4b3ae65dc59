"""What goes when a sweep is decided, and what never does."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.publish import exists, publish, remove
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.iterate import BEST, DECISION, find_start
from keepgain.sweeps.kept_files import SPEC, drop_checkpoints, prune
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import Ledger
from tests.sweeps.test_export import SWEEP, base_ref, decide, make_store
from tests.sweeps.tiny_models import make_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decided sweep: t1 and t2 were confirmed with three seeds each, t1 is the decision's."""
    folder = tmp_path_factory.mktemp("made")
    base = base_ref(make_model(folder / "base"))
    return make_store(folder / "store", base, make_model(folder / "tuned"))


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "store"))


@pytest.fixture
def sweep(store: Path) -> Path:
    return store / "sweeps" / SWEEP


def weights(sweep: Path) -> set[str]:
    return {p.parent.name for p in sweep.glob("runs/*/model")}


ALL = {f"t{t}-s{s}" for t in (1, 2) for s in (100, 101, 102)}
FIRST = {k for k in ALL if k.startswith("t1")}


def test_the_weights_of_the_front_stay_and_the_others_go(store: Path, sweep: Path) -> None:
    before = {p: p.read_bytes() for p in sweep.rglob("*") if p.is_file() and "runs" not in p.parts}
    assert weights(sweep) == ALL
    assert main(["prune", "last", "--dry-run", "--store", str(store)]) == 0
    assert weights(sweep) == ALL, "--dry-run only lists"
    assert main(["prune", "last", "--store", str(store)]) == 0
    assert weights(sweep) == FIRST
    after = {p: p.read_bytes() for p in sweep.rglob("*") if p.is_file() and "runs" not in p.parts}
    assert after == before, "ledger, record and decision are untouched"
    assert find_start(sweep.parent, f"{SWEEP}/{BEST}", "here").trial_id == "t1"
    with pytest.raises(UserError, match=r"are gone.*sweep prune"):
        find_start(sweep.parent, f"{SWEEP}/t2", "here")


def test_what_goes_is_listed_with_its_bytes(store: Path, sweep: Path, capsys) -> None:
    each = sum(p.stat().st_size for p in (sweep / "runs" / "t2-s100" / "model").iterdir())
    # A file that another sweep took over by a link gives no room.
    shared = sweep / "runs" / "t2-s100" / "model" / "model.safetensors"
    os.link(shared, sweep.parent / "elsewhere")
    main(["prune", "last", "--dry-run", "--json", "--store", str(store)])
    said = json.loads(capsys.readouterr().out)
    assert [r["what"] for r in said["removed"]] == [
        f"weights of s t2-s{s}" for s in (100, 101, 102)
    ]
    assert said["bytes"] == 3 * each - shared.stat().st_size
    main(["prune", "last", "--store", str(store)])
    out = capsys.readouterr().out
    assert "weights of s t2-s101" in out and "3 folders, gave free" in out
    assert (sweep.parent / "elsewhere").stat().st_size > 0
    main(["prune", "last", "--store", str(store)])
    assert "0 folders" in capsys.readouterr().out


def test_trials_near_the_front_and_those_that_the_decision_names_stay(sweep: Path) -> None:
    path = sweep / DECISION
    answer = json.loads(path.read_text())
    trials = {t["id"]: t for t in answer["trials"]}
    assert not trials["t2"]["on_front"] and not trials["t2"]["near_front"]
    for change in (
        lambda a: a["decision"].update(tied_with=["t2"]),
        lambda a: next(t for t in a["trials"] if t["id"] == "t2").update(near_front=True),
        lambda a: a["sizes"][0].update(trial="t2"),
    ):
        changed = json.loads(json.dumps(answer))
        change(changed)
        path.write_text(json.dumps(changed))
        assert prune(sweep, "front", dry_run=True) == []
        assert len(prune(sweep, "decided", dry_run=True)) == 3


def test_all_keeps_all_and_a_decision_for_no_trial_takes_nothing(store: Path, sweep: Path) -> None:
    assert prune(sweep, "all") == []
    decide(store, None, "do_not_fine_tune")
    assert prune(sweep, "decided") == prune(sweep, "front") == []
    assert weights(sweep) == ALL


@pytest.mark.parametrize(("start", "kept"), [("t2", 3), ("t2-s101", 1), (BEST, 0), ("t9", 0)])
def test_what_another_sweep_starts_from_stays(sweep: Path, start: str, kept: int) -> None:
    other = sweep.parent / "next-654321"
    other.mkdir()
    (other / SPEC).write_text(json.dumps({"models": [{"start": f"{SWEEP}/{start}"}, {"id": "x"}]}))
    prune(sweep, "front")
    assert len(weights(sweep) - FIRST) == kept and weights(sweep) >= FIRST


@pytest.mark.parametrize("place", ["in the sweep's folder", "in a folder apart", "on a URL"])
def test_checkpoints_and_leftovers_of_a_decided_sweep_go(
    sweep: Path, tmp_path: Path, place: str
) -> None:
    (sweep / "runs" / "t2-s100" / "tmp.dead").mkdir()
    if place == "in a folder apart":
        (sweep / SPEC).write_text(json.dumps({"storage": {"checkpoints": f"{tmp_path}/apart/"}}))
        target = tmp_path / "apart" / SWEEP / "t3-s0" / "checkpoint-r0"
        neighbour = tmp_path / "apart" / "other-sweep" / "t3-s0" / "checkpoint-r0"
    elif place == "on a URL":
        url = f"memory://{tmp_path.name}"
        (sweep / SPEC).write_text(json.dumps({"storage": {"checkpoints": url}}))
        target = f"{url}/{SWEEP}/t3-s0/checkpoint-r0"
        neighbour = f"{url}/other-sweep/t3-s0/checkpoint-r0"
    else:
        target, neighbour = sweep / "runs" / "t3-s0" / "checkpoint-r0", None
    for one in (target, neighbour):
        if one is not None:
            publish(
                one, lambda into: (into / "x").write_bytes(bytes(100)) and None, staging=tmp_path
            )
    found = prune(sweep, "all")
    assert sorted(r.what.replace("/", " of ") for r in found) == sorted(
        ["tmp.dead of t2-s100"]
        + (["t3-s0 of checkpoint-r0"] if place == "on a URL" else ["checkpoint-r0 of t3-s0"])
    )
    assert sum(r.bytes for r in found) > 100
    assert prune(sweep, "all") == []
    if isinstance(neighbour, Path):
        assert neighbour.exists(), "another sweep's checkpoints stay"
    elif neighbour is not None:
        assert exists(neighbour) and not exists(target)
        remove(neighbour)


def test_a_sweep_without_a_decision_is_refused(store: Path, sweep: Path, capsys) -> None:
    (sweep / DECISION).unlink()
    assert main(["prune", "last", "--store", str(store)]) == 2
    assert "has no decision yet" in capsys.readouterr().err
    assert weights(sweep) == ALL


def test_a_sweep_that_a_driver_works_on_is_refused(store: Path, sweep: Path, capsys) -> None:
    with Ledger.open(sweep / LEDGER_NAME):
        assert main(["prune", "last", "--store", str(store)]) == 2
    assert "another driver works on this sweep" in capsys.readouterr().err
    assert weights(sweep) == ALL


def test_a_stopped_runs_checkpoints_are_removed_wherever_they_lie(tmp_path: Path) -> None:
    own = tmp_path / "sweep" / "runs" / "k" / "checkpoint-r0"
    apart = tmp_path / "apart" / "sweep" / "k" / "checkpoint-r1"
    other = tmp_path / "apart" / "sweep" / "l" / "checkpoint-r1"
    for one in (own, apart, other):
        publish(one, lambda into: (into / "x").touch())
    drop_checkpoints(tmp_path / "sweep", str(tmp_path / "apart" / "sweep"), "k", str(apart))
    assert [p.exists() for p in (own, apart, other)] == [False, False, True]


def test_a_stopped_runs_checkpoint_on_a_url_is_removed_beside_the_drivers_work(
    tmp_path: Path,
) -> None:
    url = f"memory://{tmp_path.name}/sweep/k/checkpoint-r1"
    publish(url, lambda into: (into / "x").touch(), staging=tmp_path)
    drop_checkpoints(tmp_path, f"memory://{tmp_path.name}/sweep", "k", url)
    deadline = time.monotonic() + 30
    while exists(url):
        assert time.monotonic() < deadline
        time.sleep(0.01)
