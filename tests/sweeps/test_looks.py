"""Adaptive confirmation over a whole sweep: who gets more seeds, what is recorded, continuations.

The worker is the stand-in of `test_program`: its scores differ so much between seeds that the first
look decides nothing.
"""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_contract
from keepgain.core.errors import UserError
from keepgain.core.record import LookRecord
from keepgain.core.status import Stage
from keepgain.sweeps.search.ledger import Asked, Look
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_search import ConfirmSpec
from keepgain.sweeps.stages.looks import describe_look
from tests.sweeps.test_program import SEARCH, Sweep, comparable, edit
from tests.sweeps.tiny_models import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_world(tmp_path_factory.mktemp("world"))
    edit(path, "search: {trials_per_model: 12}\n", SEARCH)
    edit(path, "confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 3, looks: [2, 3]}")
    edit(path, "prices:", "training: {budget_tokens: 1000, rungs: [1]}\nprices:")
    return path


@pytest.fixture(scope="module")
def sweep(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return Sweep(world, tmp_path_factory.mktemp("looks")).run()


def looks(sweep: Sweep) -> list[LookRecord]:
    return [e.record for e in sweep.ledger.events() if isinstance(e, Look)]


def seeds(sweep: Sweep) -> Counter[str]:
    return Counter(r.asked.trial_id for r in sweep.by_stage(Stage.CONFIRM))


def test_only_what_a_look_names_gets_more_seeds(sweep: Sweep) -> None:
    first, last = looks(sweep)
    assert (first.look, last.look) == (1, 2)
    assert set(first.seeds.values()) == {2} and first.undecided
    assert set(first.more.values()) == {3} and set(first.more) <= set(first.seeds)
    assert seeds(sweep) == {t: first.more.get(t, 2) for t in first.seeds}
    assert last.seeds == dict(seeds(sweep)) and last.more == {}
    assert "last look" in last.reason or "decided" in last.reason


def test_looks_come_before_the_test_items(sweep: Sweep) -> None:
    events = sweep.ledger.events()
    at = [i for i, e in enumerate(events) if isinstance(e, Look)]
    tests = [i for i, e in enumerate(events) if isinstance(e, Asked) and e.stage is Stage.TEST]
    assert max(at) < min(tests)
    assert len(sweep.opened) == 1


def test_the_record_says_the_looks_and_the_decision_uses_what_is_left(sweep: Sweep) -> None:
    record = sweep.evidence().sweep
    assert record.planned_looks == (2, 3)
    assert list(record.looks) == looks(sweep)
    contract = to_contract(analyze(sweep.evidence()))
    assert contract.decision.confidence == pytest.approx(0.955)
    assert [x.look for x in contract.looks] == [1, 2]


def test_continued_at_any_line_the_looks_are_the_same(
    world: Path, tmp_path: Path, sweep: Sweep
) -> None:
    lines = (sweep.folder / "ledger.jsonl").read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"event":"look"' in line)
    for count in range(first - 2, len(lines), 3):
        folder = tmp_path / f"after-{count}"
        shutil.copytree(sweep.folder / "runs", folder / "runs")
        (folder / "ledger.jsonl").write_text("".join(lines[:count]))
        again = Sweep(world, folder).run()
        assert looks(again) == looks(sweep), f"after line {count}"
        assert comparable(again.evidence()) == comparable(sweep.evidence())


def test_a_look_in_words() -> None:
    look = LookRecord(
        look=1, seeds={"abcdef123": 3}, undecided=("s",), more={"abcdef123": 6}, reason="s is open"
    )
    assert describe_look(look, 2) == "look 1 of 2: s is open; abcdef to 6 seeds"


@pytest.mark.parametrize("given", ["[3]", "[1, 3]", "[6, 3]", "[2, 3, 4, 5]"])
def test_looks_that_mean_nothing_are_refused(world: Path, tmp_path: Path, given: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(world.read_text().replace("looks: [2, 3]", f"looks: {given}"))
    with pytest.raises(UserError) as error:
        load_spec(path)
    assert "confirm.looks" in str(error.value)


def test_looks_take_the_place_of_seeds() -> None:
    assert (ConfirmSpec(seeds=5).first, ConfirmSpec(seeds=5).most) == (5, 5)
    adaptive = ConfirmSpec(looks=(3, 6, 9))
    assert (adaptive.first, adaptive.most) == (3, 9)
