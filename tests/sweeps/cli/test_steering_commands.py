"""`sweep stop`, `pause`, `resume`, `add` and `run --retry-failed` before anything is sent."""

from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.record import RungReport
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.cli.add import read_configs
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.cli.stop import open_trial
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import Asked, Finished, Ledger, Rung
from keepgain.sweeps.search.space import parse_space

SPACE = parse_space(
    {
        "method": ["full", "lora"],
        "learning_rate": {"log": [1e-5, 1e-3]},
        "lora.rank": {"log_int": [4, 64], "when": {"method": "lora"}},
        "mixture": {"task": [0.5, 1], "general": [0, 0.5]},
    },
    sources=["task", "general"],
    where="spec",
)
GOOD = "{method: full, learning_rate: 1e-4, mixture: {task: 0.75, general: 0.25}}"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def test_a_configuration_goes_to_every_base_model_or_to_the_one_it_names(tmp_path: Path) -> None:
    text = f"# mine\n- {GOOD}\n- {{model: b, {GOOD[1:]}\n"
    found = read_configs(write(tmp_path, text), SPACE, ["a", "b"])
    assert [c.model for c in found] == ["a", "b", "b"]
    assert found[0].params["learning_rate"] == pytest.approx(1e-4)
    assert found[0].params["mixture.task"] == pytest.approx(0.75, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        ("a: 1\n", "params.yaml", "the file must be a list"),
        ("[]\n", "params.yaml", "the list is empty"),
        ("- 3\n", "params.yaml:0 (line 1)", "must be a mapping of settings"),
        (f"- {GOOD}\n- {{method: full}}\n", "params.yaml:1 (line 2)", "learning_rate is missing"),
        (f"- {{model: c, {GOOD[1:]}\n", "params.yaml:0 (line 1)", "unknown base model 'c'"),
        (
            f"- {GOOD.replace('1e-4', '0.5')}\n",
            "params.yaml:0 (line 1)",
            "learning_rate = 0.5 is not in the space",
        ),
        (f"- {{lora.rank: 8, {GOOD[1:]}\n", "params.yaml:0 (line 1)", "lora.rank"),
    ],
)
def test_what_cannot_be_tried_is_named_by_file_and_row(
    tmp_path: Path, text: str, where: str, problem: str
) -> None:
    with pytest.raises(UserError) as error:
        read_configs(write(tmp_path, text), SPACE, ["a", "b"])
    assert str(error.value.where).endswith(where) and problem in error.value.problem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a sweep with two open trials, one that has ended, and a base."""
    folder = tmp_path / "tiny-1a2b3c"
    with Ledger.open(folder / LEDGER_NAME) as ledger:
        for key, stage in (
            ("aa1", Stage.SEARCH),
            ("aa2", Stage.SEARCH),
            ("bb1", Stage.SEARCH),
            ("cc1", Stage.BASE),
        ):
            kind = "trial" if stage is Stage.SEARCH else "base"
            ledger.append(
                Asked(
                    run_key=key, trial_id=key, seed=0, stage=stage, kind=kind, model="a", config={}
                )
            )
        report = RungReport(
            run_key="aa1", rung=0, tokens=1, examples=1, final=False, metrics={}, items_path="x"
        )
        ledger.append(Rung(report=report))
        ledger.append(Finished(run_key="bb1", status=TrialStatus.COMPLETED))
    return folder


def test_a_trial_is_named_by_its_first_digits(folder: Path) -> None:
    assert open_trial(folder, "aa1") == "aa1"
    for key, problem in (
        ("aa", "2 open trials"),
        ("bb", "has ended already: completed"),
        ("cc", "belongs to the base stage"),
        ("dd", "no run of tiny-1a2b3c"),
    ):
        with pytest.raises(UserError, match=problem):
            open_trial(folder, key)


@pytest.mark.parametrize("command", ["stop", "pause", "resume", "add", "list", "run"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and f"sweep {command}" in said and "examples:" in said


def test_grouping_without_costs_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--by", "month"]) == 2
    assert "Add --costs" in capsys.readouterr().err


def test_an_unknown_sweep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweeps").mkdir()
    for command in ("stop", "pause", "resume"):
        assert main([command, "gone-1a2b3c", "--store", str(tmp_path)]) == 2
        assert "no sweep 'gone-1a2b3c'" in capsys.readouterr().err
