from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.config import (
    LoraSettings,
    ModelRef,
    PeftSettings,
    Runtime,
    ScoreConfig,
    SourceRef,
    SuiteRef,
    TrialConfig,
    run_key,
)
from keepgain.core.identity import (
    canonical_json,
    derive_seed,
    file_digest,
    fingerprint,
    folder_digest,
    sweep_id,
)
from keepgain.core.store.names import check_id

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def config(**changes: object) -> TrialConfig:
    base: dict[str, object] = {
        "model": ModelRef(name="xs", path="/models/xs", digest="m" * 64),
        "learning_rate": 1e-4,
        "budget": 900,
        "rungs": (100, 300, 900),
        "mixture": {"tickets": 1.0},
        "sources": (SourceRef(name="tickets", role="task", path="/d/t", digest="d", rows=10),),
        "suites": (suite("/d/s"),),
    }
    return TrialConfig.model_validate({**base, **changes})


def suite(path: str) -> SuiteRef:
    return SuiteRef(
        name="gain",
        measures="gain",
        split="validation",
        scorer="exact_match",
        path=path,
        digest="s",
        items=5,
    )


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(turned)
    assert fingerprint(value) == fingerprint(turned)


def test_ids_of_configurations_stand_when_fields_are_added():
    """Recorded before `rows`, `peft` and `trust_remote_code` were fields."""
    assert config().trial_id == "3d867cebda81"
    lora = LoraSettings(rank=4, targets=("a", "b"))
    assert config(method="lora", lora=lora).trial_id == "2ccc1e4cf785"
    scored = ScoreConfig(model=config().model, suites=config().suites)
    shown = scored.model_copy(update={"few_shot": ({"prompt": "a", "answer": "b"},)})
    assert shown.trial_id == "2133dba32cb0"


def test_nan_has_no_identity() -> None:
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(float("nan"))


def test_paths_and_runtime_are_not_identity() -> None:
    moved = config(
        model=ModelRef(name="xs", path="/elsewhere", digest="m" * 64),
        suites=(suite("/other"),),
        runtime=Runtime(world_size=2, device="cuda"),
    )
    assert moved.trial_id == config().trial_id
    score = ScoreConfig(model=config().model, suites=config().suites)
    assert score.model_copy(update={"checkpoint": "/x"}).trial_id == score.trial_id


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 2e-4},
        {"method": "lora", "lora": LoraSettings(rank=4)},
        {"peft": PeftSettings.model_validate({"type": "VERA", "r": 4})},
        {"rows": 5},
        {"rungs": (300, 900)},
        {"mixture": {"tickets": 0.5, "general": 0.5}},
        {"model": ModelRef(name="xs", path="/models/xs", digest="n" * 64)},
    ],
)
def test_what_changes_the_result_changes_the_id(change: dict[str, object]) -> None:
    assert config(**change).trial_id != config().trial_id


def test_the_id_is_the_same_in_every_version() -> None:
    assert fingerprint({"b": [1, 2.5, None], "a": "ü"}) == "703dceec79c3"
    assert derive_seed("sweep", "trial", 3) == derive_seed("sweep", "trial", "3")


@given(st.lists(st.text(max_size=5), max_size=3))
def test_seeds_are_in_range_and_differ_by_their_parts(parts: list[str]) -> None:
    assert 0 <= derive_seed(*parts) < 1 << 31
    assert derive_seed(*parts, "a") != derive_seed(*parts, "b")


def test_folders_are_known_by_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("1")
    (tmp_path / "b.bin").write_text("2")
    first = folder_digest(tmp_path, ("*.json", "*.bin"))
    assert folder_digest(tmp_path, ("*.bin", "*.json", "*.json")) == first
    (tmp_path / "notes.txt").write_text("no matter")
    assert folder_digest(tmp_path, ("*.json", "*.bin")) == first
    (tmp_path / "a.json").rename(tmp_path / "c.json")
    assert folder_digest(tmp_path, ("*.json", "*.bin")) != first
    (tmp_path / "empty").write_bytes(b"")
    assert file_digest(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_ids_are_safe_names() -> None:
    assert check_id(sweep_id("ticket-routing", {"a": 1})).startswith("ticket-routing-")
    assert run_key("abc", 3) == "abc-s3"
