"""Which measurement counts, what a spread is, and what a guess rests on."""

from pathlib import Path
from typing import Any

import pytest

from keepgain.core.record import RungReport
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.location import resolve_store
from keepgain.sweeps.plan.devices import device
from keepgain.sweeps.plan.measured import (
    CALIBRATIONS,
    Measured,
    add_calibration,
    of_ledger,
    read_measured,
)
from keepgain.sweeps.plan.speed import Hardware, Scoring, choose_speed
from keepgain.sweeps.search.ledger import Asked, Event, Finished, Reused, Rung

HERE = "EPYC, 1 thread"
CPU = Hardware(HERE, None, 0.0, 1.0, "float32", "torch")
SCORING = Scoring("gain exact_match", 600, 6000, 40, 64, 1000, 4000)


def measured(flops: float, **changes: Any) -> Measured:
    fields: dict[str, Any] = {
        "source": "trial",
        "hardware": HERE,
        "digest": "own",
        "parameters": 1000,
        "method": "full",
        "flops_per_second": flops,
        "score_seconds_per_item": 0.01,
        "suites": "gain exact_match",
    }
    return Measured(**fields | changes)


def chosen(*known: Measured, hardware: Hardware = CPU, **changes: Any) -> Any:
    fields: dict[str, Any] = {"digest": "own", "parameters": 1000, "method": "full"}
    return choose_speed(known, hardware, SCORING, **fields | changes)


def test_trials_of_the_same_base_go_before_calibration_other_sizes_and_guesses() -> None:
    trials = [measured(f) for f in (1e9, 3e9, 2e9)]
    calibration = measured(5e9, source="calibration")
    other = measured(7e9, digest="other", parameters=4000)
    foreign = [measured(9e9, hardware="another"), measured(9e9, method="lora")]
    known = [calibration, *trials, other, *foreign]
    assert (chosen(*known).source, chosen(*known).flops_per_second) == ("earlier trials", 2e9)
    assert "median of 3 earlier trials on EPYC, 1 thread" in chosen(*known).basis
    assert "1 GFLOP/s to 3 GFLOP/s" in chosen(*known).basis
    without = [calibration, other, *foreign]
    assert (chosen(*without).source, chosen(*without).flops_per_second) == ("calibration", 5e9)
    scaled = chosen(other, *foreign)
    assert (scaled.source, scaled.flops_per_second) == ("another size", 7e9)
    assert "nearest size (4k parameters, here 1k)" in scaled.basis
    assert chosen(*foreign).source == "guess"


def test_the_newest_calibration_counts() -> None:
    new, old = (measured(f, source="calibration") for f in (2e9, 1e9))
    assert chosen(new, old).flops_per_second == 2e9


def test_the_nearest_size_is_nearest_by_ratio() -> None:
    known = [measured(f, digest=str(n), parameters=n) for f, n in ((1e9, 100), (2e9, 5000))]
    assert chosen(*known).flops_per_second == 2e9, "5 times larger is nearer than 10 times smaller"


def test_scoring_goes_by_the_item_and_by_size() -> None:
    assert chosen(measured(1e9)).score_seconds == pytest.approx(600 * 0.01)
    other = measured(1e9, digest="other", parameters=500)
    assert chosen(other).score_seconds == pytest.approx(2 * 600 * 0.01)
    slow = measured(1e9, score_seconds_per_item=0.5, suites="another exact_match")
    assert chosen(measured(1e9), slow).score_seconds == pytest.approx(6.0), "like for like"
    assert chosen(slow).score_seconds == pytest.approx(300.0)


def test_a_guess_of_scoring_is_a_roofline() -> None:
    # Tokens: 2 · 1000 · 6000 / 20e9. Steps: compute 2 · 1000 · 64 / 20e9 = 6.4 µs, weights
    # 4000 / 10e9 = 0.4 µs: compute binds.
    assert SCORING.guess(CPU) == pytest.approx(2 * 1000 * 6000 / 20e9 + 40 * 6.4e-6)
    gpu = Hardware("T", "NVIDIA H100", 1.0, 1.0, "bfloat16", "torch")
    step = 4000 / 3.35e12  # reading the weights binds: 2 · 1000 · 64 / 0.3 / 989e12 is less
    assert SCORING.guess(gpu) == pytest.approx(2 * 1000 * 6000 / (0.3 * 989e12) + 40 * step)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA A10G", "A10G"),
        ("Tesla T4", "T4"),
    ],
)
def test_devices_are_known_by_what_the_driver_calls_them(name: str, row: str) -> None:
    assert device(name).name == row


def test_an_unknown_device_is_called_so() -> None:
    assert "not in the table" in device("NVIDIA X9000").name
    assert device(None) == device("NVIDIA X9000")


# -- ledgers ---------------------------------------------------------------------------------------


def asked(key: str, method: str = "full") -> Asked:
    suites = [{"name": "gain", "scorer": "exact_match", "items": 50}]
    return Asked(
        run_key=key,
        trial_id=key,
        seed=0,
        stage=Stage.SEARCH,
        kind="trial",
        model="m",
        config={"model": {"digest": "own"}, "method": method, "suites": suites},
    )


def rung(key: str, number: int, seconds: float, *, hardware: str = HERE, wall: float = 0) -> Rung:
    cost = {
        "train_seconds": seconds,
        "train_flops": 1e9 * seconds * 2,
        "score_seconds": 1.0,
        "parameters": 1100.0,
        "trainable_parameters": 100.0,
    }
    report = RungReport(
        run_key=key,
        rung=number,
        tokens=10,
        examples=1,
        final=number == 1,
        metrics={},
        items_path="i",
        cost=cost,
        hardware=hardware,
    )
    return Rung(report=report, seconds=wall or None)


def ended(key: str, status: TrialStatus = TrialStatus.COMPLETED) -> Finished:
    return Finished(run_key=key, status=status)


def test_a_ledger_gives_one_measurement_a_trial_trained_here() -> None:
    events: list[Event] = [
        asked("a"), rung("a", 0, 4.0, wall=6.0), rung("a", 1, 10.0, wall=8.0), ended("a"),
        asked("b", "lora"), rung("b", 0, 5.0), ended("b", TrialStatus.PRUNED),
        asked("c"), Reused(run_key="c", sweep="s", reports=(rung("c", 0, 4.0).report,)), ended("c"),
        asked("d"), rung("d", 0, 4.0), ended("d", TrialStatus.FAILED),
        asked("e"), rung("e", 1, 4.0, hardware=""), ended("e"),
    ]  # fmt: skip
    full, lora = of_ledger(events)
    assert (full.flops_per_second, full.score_seconds_per_item) == (2e9, 0.02)
    assert full.other_seconds == pytest.approx(1.0), "6 - 4 - 1 and 8 - (10 - 4) - 1, the lesser"
    assert (full.parameters, lora.parameters) == (1100, 1000), "adapters are no part of a base"
    assert (lora.method, lora.other_seconds) == ("lora", None)


def test_calibrations_are_kept_in_the_store_and_a_torn_one_is_left_out(tmp_path: Path) -> None:
    store = resolve_store(str(tmp_path / "store"), create=True)
    assert read_measured(store) == []
    first, second = (measured(f, source="calibration") for f in (1e9, 2e9))
    add_calibration(store, first)
    add_calibration(store, second)
    with (store.work.parent / CALIBRATIONS).open("a") as handle:
        handle.write('{"source": "cali')
    assert read_measured(store) == [second, first]
