"""The chosen model becomes a version in MLflow's model registry, with what speaks for it, once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keepgain.core.store.bootstrap import prepare_store
from keepgain.core.store.client import new_client
from keepgain.core.store.location import resolve_store
from keepgain.core.store.record_files import load_folder
from keepgain.core.store.registry import MAX_DESCRIPTION
from keepgain.core.store.shipper import Shipper
from keepgain.core.store.spool import Spool
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.promote import replicate_figures
from keepgain.sweeps.run_figures import run_figures
from tests.sweeps.test_export import SWEEP, base_ref, make_store
from tests.sweeps.tiny_models import make_model


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep in a store that has its runs."""
    folder = tmp_path_factory.mktemp("promote")
    base, tuned = make_model(folder / "base"), make_model(folder / "tuned")
    store = make_store(folder / "store", base_ref(base), tuned)
    location = resolve_store(str(store))
    prepare_store(location, "toy")
    spool = Spool(store / "sweeps" / SWEEP / "spool", "driver")
    for key in ("t1-s100", "t1-s101", "t2-s100"):
        spool.start(key, key, {}, {})
    spool.close()
    with Shipper(location, SWEEP, "toy", store / "sweeps" / SWEEP / "spool") as shipper:
        assert shipper.drain(60), shipper.trouble
    return store


def promote(store: Path, *words: str) -> int:
    return main(["promote", *words, "--store", str(store)])


def client_of(store: Path) -> Any:
    return new_client(resolve_store(str(store)))


def test_a_version_has_figures_card_decision_and_alias(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert promote(swept, "last") == 0
    assert "models:/" in capsys.readouterr().out
    client = client_of(swept)
    name = load_folder(swept / "sweeps" / SWEEP / "record").sweep.name
    version = client.get_model_version_by_alias(name, "champion")
    assert version.tags["keepgain.run_key"] == "t1-s100"
    assert version.tags["keepgain.decision.chosen"] == "true"
    assert version.tags["keepgain.figure.gain"].count("[") == 1
    assert "over items" in version.description and len(version.description) <= MAX_DESCRIPTION
    run = client.get_run(version.run_id)
    assert run.data.tags["keepgain.run_key"] == "t1-s100", "the version belongs to its replicate"
    folder = version.source.removeprefix(f"runs:/{version.run_id}/")
    got = Path(client.download_artifacts(version.run_id, folder, str(tmp_path)))
    kept = swept / "sweeps" / SWEEP / "runs" / "t1-s100" / "model" / "model.safetensors"
    assert (got / "model.safetensors").read_bytes() == kept.read_bytes()
    assert json.loads((got / "decision.json").read_text())["decision"]["trial"] == "t1"
    assert "run `t1-s100`" in (got / "README.md").read_text()


def test_the_same_weights_make_no_second_version_and_other_ones_do(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = client_of(swept)
    assert promote(swept, "last", "--name", "twice") == 0
    assert promote(swept, "last", "--name", "twice", "--alias", "staging") == 0
    assert "version 1 had these weights already" in capsys.readouterr().out
    aliased = {a: client.get_model_version_by_alias("twice", a).version
               for a in ("champion", "staging")}  # fmt: skip
    assert len(set(aliased.values())) == 1
    # Another replicate is another model, though its settings are the same.
    assert promote(swept, "last", "--name", "twice", "--trial", "t1-s101") == 0
    assert len(client.search_model_versions("name='twice'")) == 2
    assert client.get_model_version_by_alias("twice", "champion").tags["keepgain.run_key"] == (
        "t1-s101"
    )
    assert client.get_model_version_by_alias("twice", "staging").tags["keepgain.run_key"] == (
        "t1-s100"
    )


@pytest.mark.parametrize("status", ["not_resolved", "infeasible", "do_not_fine_tune"])
def test_a_decision_for_no_model_is_promoted_by_hand_only(
    swept: Path, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    path = swept / "sweeps" / SWEEP / "decision" / "decision.json"
    before = path.read_text()
    changed = json.loads(before)
    changed["decision"] |= {"status": status, "trial": "t2" if status.startswith("do") else None}
    path.write_text(json.dumps(changed))
    try:
        assert promote(swept, "last", "--name", status) == 2
        said = capsys.readouterr().err
        assert f"no tuned model ({status.replace('_', ' ')})" in said and "t1, t2" in said
        assert not client_of(swept).search_model_versions(f"name='{status}'")
        assert promote(swept, "last", "--name", status, "--trial", "t2") == 0
        (version,) = client_of(swept).search_model_versions(f"name='{status}'")
        assert version.tags["keepgain.decision.status"] == status
    finally:
        path.write_text(before)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--name", "a/b"), "--name: 'a/b' cannot be"),
        (("--alias", "v1"), "--alias: 'v1' cannot be"),
        (("--alias", "latest"), "--alias: 'latest' cannot be"),
        (("--trial", "t3"), "only confirmed"),
        (("--trial", "t2-s101"), "no MLflow run of toy-123456/t2-s101"),
    ],
)
def test_what_cannot_be_promoted_is_refused_and_nothing_is_left(
    swept: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    before = {v.name: v.version for v in client_of(swept).search_model_versions()}
    assert promote(swept, "last", "--name", "refused", *words) == 2
    assert said in capsys.readouterr().err
    assert {v.name: v.version for v in client_of(swept).search_model_versions()} == before
    assert not list((swept / "sweeps").glob(".promote-*"))


def test_a_replicates_figures_are_its_own_with_intervals_over_items(swept: Path) -> None:
    evidence = load_folder(swept / "sweeps" / SWEEP / "record")
    items = {(key, s.suite): s.values for key, s in evidence.items if s.split == "test"}
    mine = items["t1-s101", "tickets"]
    base = next(v for (key, suite), v in items.items() if suite == "tickets" and "base" in key)
    split, figures = replicate_figures(evidence, "t1-s101")
    assert split == "test"
    gain = mine - base
    assert figures["gain"].value == pytest.approx(gain.mean())
    half = figures["gain"].high - figures["gain"].value  # type: ignore[operator]
    assert half == pytest.approx(1.962 * gain.std(ddof=1) / np.sqrt(len(gain)), rel=1e-3)
    assert figures["gain"].interval_method == "items_only_t"
    assert "max_forgetting" not in figures, "a maximum has no interval"


def test_every_run_has_figures_of_its_own_against_the_base(swept: Path) -> None:
    evidence = load_folder(swept / "sweeps" / SWEEP / "record")
    figures = run_figures(evidence)
    means = {(k, s.split, s.suite): float(s.values.mean()) for k, s in evidence.items}
    (zero,) = {r.run_key for r in evidence.sweep.runs if r.kind == "base"}
    drops = {
        suite: means[zero, "validation", suite] - means["t1-s0", "validation", suite]
        for suite in ("facts", "sums")
    }
    assert figures["t1-s0"]["forgetting"] == pytest.approx(sum(drops.values()) / 2)
    assert figures["t1-s0"]["max_forgetting"] == pytest.approx(max(drops.values()))
    assert figures["t1-s0"]["task_score"] == pytest.approx(means["t1-s0", "validation", "tickets"])
    assert "test_gain" not in figures["t1-s0"], "a search run was not scored on test items"
    assert figures["t1-s101"]["test_gain"] == pytest.approx(
        means["t1-s101", "test", "tickets"] - means[zero, "test", "tickets"]
    )
    assert figures[zero]["gain"] == figures[zero]["forgetting"] == 0.0
