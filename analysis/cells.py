"""Cells of tables: estimates, differences and costs as short strings."""

from collections.abc import Sequence

from keepgain.analysis import words
from keepgain.analysis.result import Row
from keepgain.analysis.stats import Estimate
from keepgain.core.units import human_bytes, human_count, human_seconds, human_usd

_COSTS = {
    "usd_per_million_tokens": "$/1M tokens",
    "usd": "training $",
    "train_seconds": "training time",
    "gpu_seconds": "GPU time",
    "peak_memory_bytes": "peak memory",
}


def level(e: Estimate) -> str:
    """`0.857 ±0.017`: t intervals are symmetric. `±?` where the interval is unknown."""
    return "–" if e.value is None else f"{e.value:.3f} {half(e)}"


def signed(e: Estimate) -> str:
    """A difference, with its sign."""
    return "–" if e.value is None else f"{plus(e.value)} {half(e)}"


def half(e: Estimate) -> str:
    """Half the interval's width: `±0.017`."""
    if e.value is None or e.high is None:
        return "±?"
    return f"±{e.high - e.value:.3f}"


def short(e: Estimate) -> str:
    """A difference without its interval."""
    return "–" if e.value is None else plus(e.value)


def interval(value: float, low: float | None, high: float | None) -> str:
    """`0.857 [0.840, 0.871]`: of intervals that need not be symmetric."""
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def plus(value: float) -> str:
    """A number with its sign; zero has none."""
    said = f"{value:+.3f}"
    return "0.000" if said in ("+0.000", "-0.000") else said


def front(row: Row) -> str:
    """Where a row stands against the front: `● 0.93` on it, `○` near it, `·` behind it; empty for
    what may not be on it."""
    place = row.place
    if place is None or place.excluded is not None:
        return ""
    mark = "●" if place.on_front else "○" if place.near_front else "·"
    return mark if place.membership is None else f"{mark} {place.membership:.2f}"


def cost_name(name: str) -> str:
    """Header of a cost's column: `$/1M tokens`, `s/answer p50`."""
    price, _, quantile = name.partition("_per_answer_")
    if quantile:
        return f"{'$' if price == 'usd' else 's'}/answer {quantile}"
    return _COSTS.get(name, tail(name).replace("_", " "))


def cost(name: str, value: float | None) -> str:
    """A cost with its unit, three digits."""
    if value is None:
        return "–"
    if "usd" in name:
        return human_usd(value)
    if "bytes" in name:
        return human_bytes(value)
    if name.startswith("seconds_per_answer"):
        return f"{value:.3g}"
    if name.endswith("seconds"):
        return human_seconds(value)
    return human_count(value)


def tails(names: Sequence[str]) -> list[str]:
    """Headers of settings: their last parts, where those differ."""
    short = [tail(n) for n in names]
    return [s if short.count(s) == 1 else words.clean(n) for n, s in zip(names, short, strict=True)]


def tail(name: str) -> str:
    """`mixture.general` as `general`."""
    return words.clean(name).rpartition(".")[2].replace("learning_rate", "lr")
