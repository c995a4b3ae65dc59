"""Peak figures of GPUs, for guesses where nothing was measured.

Dense bfloat16 with float32 accumulation, float32 without tensor cores, and memory bandwidth, from
NVIDIA's data sheets of each device (figures "with sparsity" halved).
"""

from dataclasses import dataclass

MFU = 0.3
"""Assumed share of the peak that training reaches; 0.3 to 0.5 is usual for large models, less for
small ones."""
CPU_FLOPS = 20e9
"""Of one CPU core, reached and not peak; tiny models reached 15 to 38 GFLOP/s, measured."""
CPU_BANDWIDTH = 10e9
"""Bytes/s of one CPU core, assumed."""


@dataclass(frozen=True)
class Device:
    """Peak figures of one device."""

    name: str
    bfloat16: float
    """FLOP/s; 0: the device has none and float32 is used."""
    float32: float
    bandwidth: float
    """Bytes/s."""

    def peak(self, dtype: str) -> float:
        """FLOP/s in `dtype`."""
        return (self.bfloat16 if dtype == "bfloat16" else 0.0) or self.float32


# A name matches where all its words are in the device's; the first match counts.
DEVICES = (
    Device("B200", 2250e12, 75e12, 8.0e12),
    Device("H200", 989e12, 67e12, 4.8e12),
    Device("H100 PCIe", 756e12, 51e12, 2.0e12),
    Device("H100 NVL", 835e12, 60e12, 3.9e12),
    Device("H100", 989e12, 67e12, 3.35e12),
    Device("A100 80GB", 312e12, 19.5e12, 2.04e12),
    Device("A100", 312e12, 19.5e12, 1.56e12),
    Device("L40S", 362e12, 91.6e12, 0.86e12),
    Device("L4", 121e12, 30.3e12, 0.30e12),
    Device("A10G", 70e12, 35e12, 0.60e12),
    Device("A10", 125e12, 31.2e12, 0.60e12),
    Device("V100", 0.0, 15.7e12, 0.90e12),
    Device("T4", 0.0, 8.1e12, 0.32e12),
)
UNKNOWN = Device("a GPU that is not in the table, as an A100", 312e12, 19.5e12, 1.56e12)


def device(name: str | None) -> Device:
    """The row of a GPU's name, e.g. `NVIDIA H100 80GB HBM3`; `UNKNOWN` for any other."""
    words = (name or "").replace("-", " ").lower().split()
    for row in DEVICES:
        if all(w in words for w in row.name.lower().split()):
            return row
    return UNKNOWN
