"""Live outcomes: files read strictly, intervals by hand, what they do to a decision."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.behaviour.outcomes import (
    KIND,
    ArmRecord,
    OutcomeRecord,
    found_of,
    outcome_judged,
    outcomes_found,
)
from keepgain.analysis.contract import to_contract
from keepgain.analysis.stats import t_quantile
from keepgain.core.errors import UserError
from keepgain.core.later import FILE_NAME, LaterEvidence, read_later
from keepgain.core.record import Evidence, OutcomeLimit, Question
from keepgain.core.store.location import StoreLocation, resolve_store
from keepgain.core.store.reader import open_reader
from keepgain.core.store.record_files import save_folder
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.iterate import decided_trial
from keepgain.sweeps.later_evidence import append
from keepgain.sweeps.outcomes import import_outcomes, read_arms
from tests.analysis.behaviour.worlds import behaviour_world

SWEEP = "exact-123456"


def stored(folder: Path) -> Path:
    """A store with one sweep that is decided for the trial `tuned`."""
    store = folder / ".keepgain"
    (store / "sweeps").mkdir(parents=True)
    place = resolve_store(str(store)).sweep_folder(SWEEP)
    save_folder(place / "record", behaviour_world({}))
    (place / "decision").mkdir()
    decision = {"decision": {"trial": "tuned", "status": "recommended"}}
    (place / "decision" / "decision.json").write_text(json.dumps(decision))
    return store


def kept(location: StoreLocation, kind: str | None = None) -> tuple[LaterEvidence, ...]:
    return read_later(location.sweep_folder(SWEEP), kind)


def csv(folder: Path, rows: Sequence[str], name: str = "ab.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(["arm,unit,success", *rows]) + "\n")
    return path


def shares(base: tuple[int, int], new: tuple[int, int]) -> list[str]:
    """(successes, units) of both arms as lines."""
    return [
        f"{arm},{arm}{i},{int(i < hits)}"
        for arm, (hits, n) in (("base", base), ("new", new))
        for i in range(n)
    ]


def record(**changes: object) -> OutcomeRecord:
    arms = (
        ArmRecord(arm="base", units=80, mean=0.5, variance=20 / 79),
        ArmRecord(arm="new", trial="tuned", units=70, mean=0.8, variance=11.2 / 69),
    )
    given = {"metric": "resolved", "direction": "maximize", "of": "success", "control": "base"}
    return OutcomeRecord.model_validate({**given, "arms": arms, **changes})


def test_a_difference_of_shares_has_newcombes_interval() -> None:
    """56/70 against 48/80: the worked example of Newcombe 1998, table II (a), method 10."""
    arms = (
        ArmRecord(arm="base", units=80, mean=48 / 80, variance=0.24),
        ArmRecord(arm="new", units=70, mean=56 / 70, variance=0.16),
    )
    _, new = found_of(record(arms=arms)).arms
    assert new.improvement is not None
    assert (new.improvement.low, new.improvement.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    _, down = found_of(record(arms=arms, direction="minimize")).arms
    assert down.improvement is not None
    assert (down.improvement.low, down.improvement.high) == pytest.approx(
        (-0.3339, -0.0524), abs=5e-5
    )


def test_a_difference_of_means_has_welchs_interval() -> None:
    arms = (
        ArmRecord(arm="base", units=10, mean=20.0, variance=16.0),
        ArmRecord(arm="new", units=20, mean=17.0, variance=4.0),
    )
    base, new = found_of(record(of="value", direction="minimize", arms=arms)).arms
    error = math.sqrt(1.6 + 0.2)
    df = 1.8**2 / (1.6**2 / 9 + 0.2**2 / 19)
    reach = t_quantile(0.975, df) * error
    assert new.improvement is not None and (new.standard_error, new.df) == pytest.approx(
        (error, df)
    )
    assert (new.improvement.value, new.improvement.low) == pytest.approx((3.0, 3.0 - reach))
    assert base.improvement is None
    assert base.level.high == pytest.approx(20 + t_quantile(0.975, 9) * math.sqrt(1.6))
    assert new.bound() == pytest.approx(3.0 - t_quantile(0.95, df) * error)


def test_a_limit_holds_is_violated_or_is_not_resolved() -> None:
    _, new = found_of(record()).arms  # +0.3
    for least, answer in ((0.1, "holds"), (0.29, "not_resolved"), (0.6, "violated")):
        found, bound = outcome_judged(new, OutcomeLimit(metric="resolved", min_improvement=least))
        assert found == answer and bound == pytest.approx(new.bound())


def evidence(least: float | None, data: OutcomeRecord) -> Evidence:
    made = behaviour_world({})
    limit = None if least is None else OutcomeLimit(metric="resolved", min_improvement=least)
    question = made.sweep.question.model_copy(update={"outcome": limit})
    later = LaterEvidence(kind=KIND, time="2026-01-01T00:00:00+00:00", data=data.model_dump())
    sweep = made.sweep.model_copy(update={"question": question})
    return replace(made, sweep=sweep, later=(later,))


def test_an_outcome_stands_in_the_reason_and_decides_only_as_a_limit() -> None:
    found = analyze(evidence(None, record()))
    assert found.decision.status == "recommended"
    assert "Live, resolved: new 0.800 against 0.500 of base, an improvement of +0.300" in (
        found.decision.reason
    )
    assert analyze(evidence(0.1, record())).decision.status == "recommended"
    bad = analyze(evidence(0.6, record())).decision
    assert bad.status == "infeasible"
    assert "the limit on the live outcome resolved (min_improvement 0.6) is violated" in bad.reason
    assert analyze(evidence(0.29, record())).decision.status == "not_resolved"


def test_a_trial_that_was_never_live_is_not_held_to_the_limit() -> None:
    arms = tuple(a.model_copy(update={"trial": None}) for a in record().arms)
    assert analyze(evidence(0.6, record(arms=arms))).decision.status == "recommended"
    other = analyze(evidence(0.6, record(metric="clicks"))).decision
    assert "No outcome resolved was recorded yet" in other.reason


def test_json_has_the_arms() -> None:
    (found,) = to_contract(analyze(evidence(None, record()))).outcomes
    assert [a.arm for a in found.arms] == ["base", "new"] and found.arms[1].trial == "tuned"
    assert found.arms[1].improvement is not None
    assert found.arms[1].improvement.interval_method == "newcombe"


def test_an_import_is_read_back_beside_the_sweep(tmp_path: Path) -> None:
    store, path = stored(tmp_path), csv(tmp_path, shares((40, 80), (56, 70)))
    given = ["--metric", "resolved", "--direction", "maximize", "--store", str(store)]
    assert main(["outcomes", "import", str(path), "--sweep", SWEEP, *given]) == 0
    loaded = open_reader(resolve_store(str(store))).load(SWEEP)
    (found,) = outcomes_found(loaded.later)
    assert [(a.arm, a.trial, a.level.n_items) for a in found.arms] == [
        ("base", None, 80),
        ("new", "tuned", 70),
    ]
    assert found.record.arms[0].variance == pytest.approx(20 / 79)
    assert "Live, resolved: new 0.800 against 0.500" in analyze(loaded).decision.reason
    text = (resolve_store(str(store)).sweep_folder(SWEEP) / FILE_NAME).read_text()
    assert "new12" not in text  # no unit is kept
    again = csv(tmp_path, shares((40, 80), (42, 70)), "later.csv")
    assert main(["outcomes", "import", str(again), "--sweep", SWEEP, *given]) == 0
    (newest,) = outcomes_found(open_reader(resolve_store(str(store))).load(SWEEP).later)
    assert newest.arms[1].level.value == pytest.approx(0.6)


def test_an_import_makes_the_decision_files_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = stored(tmp_path)
    folder = resolve_store(str(store)).sweep_folder(SWEEP)
    question = Question(outcome=OutcomeLimit(metric="resolved", min_improvement=0.01))
    made = behaviour_world({})
    sweep = made.sweep.model_copy(update={"question": question})
    save_folder(folder / "record", replace(made, sweep=sweep))
    path = csv(tmp_path, shares((56, 70), (20, 70)))
    words = ["outcomes", "import", str(path), "--sweep", SWEEP, "--store", str(store)]
    words += ["--metric", "resolved", "--direction", "maximize"]
    assert decided_trial(folder, "x") == "tuned"
    assert main(words) == 0
    assert "the sweep's decision is now: infeasible" in capsys.readouterr().out
    with pytest.raises(UserError, match="decided for no trial"):
        decided_trial(folder, "x")
    assert main(words) == 2  # what was live is not what is decided now
    assert "Say it: `--arm new=tuned`" in capsys.readouterr().err
    assert main([*words, "--arm", "new=tuned", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision_status"] == "infeasible"


def test_jsonl_and_named_arms(tmp_path: Path) -> None:
    store = resolve_store(str(stored(tmp_path)))
    path = tmp_path / "ab.jsonl"
    rows = [{"arm": a, "unit": f"{a}{i}", "value": i + (a == "x")} for a in "yx" for i in range(5)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    found = import_outcomes(
        store, SWEEP, path, metric="time", direction="minimize", control="y", trials={"x": "tun"}
    ).record
    assert found.of == "value" and [a.trial for a in found.arms] == [None, "tuned"]
    assert [(a.mean, a.variance) for a in found.arms] == [(2.0, 2.5), (3.0, 2.5)]


@pytest.mark.parametrize(
    ("lines", "where", "said"),
    [
        (["arm,unit,success", "base,u1,1", "base,u1,0"], ":3", "is on line 2 too"),
        (["arm,unit,success", "base,u1,1", "new,u1,0"], ":3", "is on line 2 too"),
        (["arm,unit,success", "base,u1,maybe"], ":2", "`success` is 'maybe'"),
        (["arm,unit,value", "base,u1,nan"], ":2", "no finite number"),
        (["arm,unit,value", "base,u1,"], ":2", "no finite number"),
        (["arm,unit", "base,u1"], ":2", "neither `success` nor `value`"),
        (["arm,unit,value,success", "base,u1,1,1"], ":2", "both `success` and `value`"),
        (["arm,success", "base,1"], ":2", "no `unit`"),
        (["arm,unit,success", ",u1,1"], ":2", "`arm` is empty"),
        (["arm,unit,success", "base,u1,1", "base,u2"], ":3", "2 cells"),
        (["arm,unit,success", "base,u1,1", "base,u2,1"], "", "1 arms"),
        (["arm,unit,success", "a,1,1", "a,2,1", "b,3,1"], "", "arm 'b' has a single unit"),
        (["arm,unit,success"], "", "0 arms"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(
    tmp_path: Path, lines: list[str], where: str, said: str
) -> None:
    path = tmp_path / "ab.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError) as caught:
        read_arms(path)
    assert said in str(caught.value), str(caught.value)
    assert caught.value.where == f"{path}{where}"


@pytest.mark.parametrize("value", ["1e308", "1e200"])
def test_values_beyond_a_variance_record_nothing(
    tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"base,1,{value}", f"base,2,{value}", "base,3,0", "new,4,1", "new,5,2"]
    path = tmp_path / "ab.csv"
    path.write_text("\n".join(["arm,unit,value", *rows]) + "\n")
    given = ["outcomes", "import", str(path), "--metric", "m", "--direction", "maximize"]
    store = stored(tmp_path)
    assert main([*given, "--store", str(store), "--sweep", SWEEP, "--arm", "new=tuned"]) == 2
    assert "the values of arm 'base' are too large" in capsys.readouterr().err
    assert kept(resolve_store(str(store))) == ()


def test_bad_words_record_nothing(tmp_path: Path) -> None:
    store, path = stored(tmp_path), csv(tmp_path, shares((1, 4), (2, 4)))
    given = ["outcomes", "import", str(path), "--metric", "m", "--direction", "maximize"]
    given += ["--store", str(store)]
    for more in (
        ["--sweep", "nobody"],
        ["--sweep", SWEEP, "--control", "old"],
        ["--sweep", SWEEP, "--arm", "new"],
        ["--sweep", SWEEP, "--arm", "new=zzzz"],
        ["--sweep", SWEEP, "--arm", "other=tuned"],
        ["--sweep", SWEEP, "--arm", "new=tuned", "--arm", "new=tun"],
    ):
        assert main([*given, *more]) == 2
    assert main([*given[:2], str(tmp_path / "ab.txt"), *given[3:], "--sweep", SWEEP]) == 2
    assert kept(resolve_store(str(store))) == ()


def test_later_evidence_is_appended_and_a_torn_line_gives_way(tmp_path: Path) -> None:
    location = resolve_store(str(stored(tmp_path)))
    append(location, SWEEP, "review", {"a": 1})
    path = location.sweep_folder(SWEEP) / FILE_NAME
    with path.open("ab") as file:
        file.write(b'{"kind": "rev')
    append(location, "last", "outcomes", {"b": [2]})
    assert [(e.kind, e.data) for e in kept(location)] == [
        ("review", {"a": 1}),
        ("outcomes", {"b": [2]}),
    ]
    assert [e.data for e in kept(location, "outcomes")] == [{"b": [2]}]
    with pytest.raises(UserError, match="no sweep 'nobody'"):
        append(location, "nobody", "review", {})
    with pytest.raises(ValueError, match="Out of range"):
        append(location, SWEEP, "review", {"x": math.nan})
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(UserError) as caught:
        read_later(path.parent)
    assert caught.value.where is not None and f"{FILE_NAME}:3" in caught.value.where
