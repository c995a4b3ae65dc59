"""How figures are written for people: one place, so that all tables agree."""

import math


def human_count(value: float) -> str:
    """`1234567` as `1.23M`."""
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * limit:  # what three digits would round up to it
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def human_bytes(value: float) -> str:
    """`1536` as `1.5 KiB`."""
    for limit, suffix in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if abs(value) >= limit * 999.5 / 1024:  # else three digits would need an exponent
            return f"{value / limit:.3g} {suffix}"
    return f"{value:.0f} B"


def human_seconds(value: float) -> str:
    """`3725` as `1 h 02 min`."""
    if value < 59.5:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def human_usd(value: float) -> str:
    """Money with three significant digits, e.g. `$0.00123` or `$12.3`."""
    if value == 0 or not math.isfinite(value):
        return f"${value:g}"
    digits = max(2, 2 - math.floor(math.log10(abs(value))))
    return f"${value:.{min(digits, 9)}f}"
