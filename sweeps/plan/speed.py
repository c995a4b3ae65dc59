"""How fast a trial of one base model and method will be, and from what that is known.

The first of these that there is: earlier trials of the same base on this hardware; a calibration
of it; earlier trials or calibrations of the base that is nearest in size; a guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Literal

from keepgain.core.schema import StrictModel
from keepgain.core.units import human_count
from keepgain.sweeps.plan.devices import CPU_BANDWIDTH, CPU_FLOPS, MFU, device
from keepgain.sweeps.plan.measured import Measured, nearest

OTHER_SECONDS = {"torch": 1.0, "deepspeed": 10.0}
"""Of a job beside training and scoring, where it was not measured: loading and transfer; under
DeepSpeed also a new process (7 to 10 s measured)."""

Source = Literal["given", "earlier trials", "calibration", "another size", "guess"]


class Speed(StrictModel):
    """Of one trial."""

    source: Source
    basis: str
    """In words, with the number of trials and their spread, or the peak and its share."""
    flops_per_second: float
    """Of training."""
    score_seconds: float
    """To score all validation suites once."""
    other_seconds: float
    """Of each job beside training and scoring."""


@dataclass(frozen=True)
class Hardware:
    """What a trial runs on."""

    label: str
    """As `core.record.RungReport.hardware`."""
    gpu: str | None
    """Its model, if it is a GPU and known."""
    gpus: float
    """Of one trial; 0: it runs on the CPU."""
    cpus: float
    dtype: str
    """Of computation: float32 or bfloat16."""
    engine: str

    @property
    def flops_per_second(self) -> float:
        """Guessed of training."""
        if not self.gpus:
            return CPU_FLOPS * self.cpus
        return MFU * device(self.gpu).peak(self.dtype) * self.gpus

    @property
    def bandwidth(self) -> float:
        """Guessed, in bytes/s."""
        return device(self.gpu).bandwidth * self.gpus if self.gpus else CPU_BANDWIDTH * self.cpus

    @property
    def assumed(self) -> str:
        """What the guess rests on."""
        if not self.gpus:
            return f"guess: {CPU_FLOPS / 1e9:g} GFLOP/s a CPU, assumed; nothing was measured here"
        row = device(self.gpu)
        return (
            f"guess: {MFU:.0%} (assumed) of the {row.peak(self.dtype) / 1e12:g} TFLOP/s "
            f"{self.dtype} peak of {row.name} (data sheet); nothing was measured here"
        )


@dataclass(frozen=True)
class Scoring:
    """What scoring all suites once takes, before any speed is known."""

    suites: str
    """See `measured.suites_label`."""
    items: int
    tokens: int
    """Of prompts and answers."""
    decoding_steps: int
    """Forward passes that generate one token for a whole batch of items."""
    batch_size: int
    non_embedding: int
    weight_bytes: int

    def guess(self, hardware: Hardware) -> float:
        """Seconds by a roofline: tokens by FLOPs; each decoding step by FLOPs or by reading the
        weights, whichever is slower."""
        speed = hardware.flops_per_second
        step = max(
            2.0 * self.non_embedding * self.batch_size / speed,
            self.weight_bytes / hardware.bandwidth,
        )
        return 2.0 * self.non_embedding * self.tokens / speed + self.decoding_steps * step


def choose_speed(
    measured: Sequence[Measured],
    hardware: Hardware,
    scoring: Scoring,
    *,
    digest: str,
    parameters: int,
    method: str,
    given: float | None = None,
) -> Speed:
    """See the module's text.

    Args:
        measured: Everything that the store knows, newest calibration first.
        parameters: Of the base.
        given: FLOP/s of training that the user states; scoring is still looked up or guessed.
    """
    here = [m for m in measured if m.hardware == hardware.label and m.method == method]
    own = [m for m in here if m.digest == digest]
    trials = [m for m in own if m.source == "trial"]
    calibrations = [m for m in own if m.source == "calibration"]
    others = nearest([m for m in here if m.digest != digest], parameters)
    chosen: Sequence[Measured] = trials or calibrations[:1] or others
    if not chosen and given is None:
        return Speed(
            source="guess",
            basis=hardware.assumed,
            flops_per_second=hardware.flops_per_second,
            score_seconds=scoring.guess(hardware),
            other_seconds=OTHER_SECONDS[hardware.engine],
        )
    speeds = [m.flops_per_second for m in chosen]
    source: Source = (
        "earlier trials" if trials else "calibration" if calibrations else "another size"
    )
    known = [m.other_seconds for m in chosen if m.other_seconds is not None]
    return Speed(
        source="given" if given is not None else source,
        basis="given" if given is not None else _basis(source, chosen, parameters, hardware),
        flops_per_second=median(speeds) if given is None else given,
        score_seconds=_score_seconds(chosen, scoring, parameters, hardware),
        other_seconds=median(known) if known else OTHER_SECONDS[hardware.engine],
    )


def _score_seconds(
    chosen: Sequence[Measured], scoring: Scoring, parameters: int, hardware: Hardware
) -> float:
    """By the item, of the same suites if they were scored; in proportion to the size of a base."""
    alike = [m for m in chosen if m.suites == scoring.suites] or chosen
    each = [
        m.score_seconds_per_item * parameters / m.parameters
        for m in alike
        if m.score_seconds_per_item is not None
    ]
    return median(each) * scoring.items if each else scoring.guess(hardware)


def _basis(source: Source, chosen: Sequence[Measured], parameters: int, hardware: Hardware) -> str:
    if source == "calibration":
        return f"measured by --calibrate on {hardware.label}"
    speeds = [m.flops_per_second for m in chosen]
    low, high = (min(speeds), max(speeds))
    if len(speeds) >= 4:
        quarters = quantiles(speeds, n=4, method="inclusive")
        low, high = quarters[0], quarters[2]
    kind = "trials" if len(speeds) > 1 else "trial"
    spread = f", middle half {human_flops(low)} to {human_flops(high)}" if len(speeds) > 1 else ""
    if source == "earlier trials":
        return f"median of {len(speeds)} earlier {kind} on {hardware.label}{spread}"
    size = human_count(chosen[0].parameters)
    return (
        f"from {len(speeds)} runs of the nearest size ({size} parameters, here "
        f"{human_count(parameters)}) on {hardware.label}{spread}"
    )


def human_flops(value: float) -> str:
    """`6.22 GFLOP/s`."""
    return f"{human_count(value / 1e9)} GFLOP/s" if value < 1e12 else f"{value / 1e12:.3g} TFLOP/s"
