"""The example sweeps of `examples/methods` name every way to train, and are sound."""

from pathlib import Path

import pytest

from keepgain.core.config import Method, RetentionSettings
from keepgain.core.yaml_io import load_yaml
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec

FOLDER = Path(__file__).parents[2] / "examples" / "methods"
SPECS = [FOLDER / f"{name}.yaml" for name in ("methods", "retention", "zero")]


def profiles(path: Path) -> list[str | None]:
    return [None, *load_yaml(path)[0].get("profiles", {})]


@pytest.mark.parametrize(
    ("path", "profile"), [(p, name) for p in SPECS for name in profiles(p)], ids=str
)
def test_every_listed_configuration_is_a_trial(path: Path, profile: str | None) -> None:
    prepared = prepare(load_spec(path, profile), None)
    configs = prepared.spec.search.configs
    assert configs
    trials = [prepared.trial_config("xs", config) for config in configs]
    assert (
        len({t.trial_id for t in trials}) == len(configs) == prepared.spec.search.trials_per_model
    )


def test_the_sweep_of_a_trainer_of_ones_own_names_a_script_that_is_there() -> None:
    spec = load_spec(FOLDER / "own_trainer.yaml").spec
    assert spec.trainer is not None
    assert (FOLDER / spec.trainer.command[-1]).is_file()


def test_every_method_that_a_cpu_can_run_is_listed() -> None:
    spec = load_spec(FOLDER / "methods.yaml").spec
    assert {c["method"] for c in spec.search.configs or ()} == set(Method.__args__) - {"qlora"}


def test_every_retention_strategy_is_listed_once() -> None:
    spec = load_spec(FOLDER / "retention.yaml").spec
    strategies = set(RetentionSettings.model_fields) - {"temperature", "fisher_rows"}
    configs = spec.search.configs or ()
    assert sorted(k for c in configs for k in strategies if c[f"retention.{k}"]) == sorted(
        strategies
    )


def test_every_zero_stage_has_a_profile() -> None:
    found = {
        load_spec(FOLDER / "zero.yaml", p).spec.training.zero_stage
        for p in profiles(FOLDER / "zero.yaml")
    }
    assert found == {0, 1, 2, 3}
