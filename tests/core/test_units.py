import math

import pytest

from keepgain.core.units import human_bytes, human_count, human_seconds, human_usd


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (human_count(999), "999"),
        (human_count(1_234_567), "1.23M"),
        (human_count(-2_500), "-2.5k"),
        (human_count(7e9), "7B"),
        (human_bytes(512), "512 B"),
        (human_bytes(1536), "1.5 KiB"),
        (human_bytes(3 << 30), "3 GiB"),
        (human_seconds(2.345), "2.3 s"),
        (human_seconds(42), "42 s"),
        (human_seconds(61), "1 min 01 s"),
        (human_seconds(3725), "1 h 02 min"),
        (human_usd(0), "$0"),
        (human_usd(0.00123), "$0.00123"),
        (human_usd(12.345), "$12.35"),
        (human_usd(math.inf), "$inf"),
    ],
)
def test_figures_read_well(text: str, expected: str) -> None:
    assert text == expected


def test_no_figure_rounds_up_into_an_odd_unit() -> None:
    assert human_seconds(59.9) == "1 min 00 s"
    assert human_seconds(3599.9) == "1 h 00 min"
    assert human_count(999_999) == "1M"
    assert human_count(999.6) == "1k"
    assert human_bytes(1023 * 1024) == "0.999 MiB"
