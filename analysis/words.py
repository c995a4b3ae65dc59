"""How figures and configurations are put into words: one place, so that all texts agree."""

from collections.abc import Mapping, Sequence

from keepgain.analysis.stats import Estimate, Uncertain
from keepgain.analysis.table import Configuration
from keepgain.core.scorers import in_points, unit_of
from keepgain.core.terminal import clean as clean


def level(value: float | None, scorer: str) -> str:
    """A score: `0.913`, or `1.204 bits/byte`."""
    if value is None:
        return "–"
    return f"{value:.3f}{_suffix(scorer)}"


def amount(value: float | None, scorer: str) -> str:
    """A difference: points of a hundred for shares, else the scorer's unit; unsigned zero."""
    if value is None:
        return "unknown"
    if in_points(scorer):
        return f"{100 * value + 0.0:.1f} points".replace("-0.0 ", "0.0 ")
    return f"{value + 0.0:.3f}{_suffix(scorer)}"


def interval(estimate: Estimate, scorer: str) -> str:
    """A level with its interval, or with the reason why it has none."""
    if estimate.value is None:
        return "not measured"
    if estimate.low is None or estimate.high is None:
        return f"{level(estimate.value, scorer)} (interval unknown)"
    low, high = f"{estimate.low:.3f}", f"{estimate.high:.3f}"
    return f"{level(estimate.value, scorer)} [{low}, {high}]"


def amount_interval(uncertain: Uncertain, scorer: str) -> str:
    """A difference with its two-sided interval."""
    e = uncertain.estimate()
    if e.low is None or e.high is None:
        return f"{amount(e.value, scorer)} (interval unknown)"
    factor, digits = (100, 1) if in_points(scorer) else (1, 3)
    low, high = (f"{factor * v + 0.0:.{digits}f}" for v in (e.low, e.high))
    return f"{amount(e.value, scorer)} [{low}, {high}]"


def confidence(share: float) -> str:
    """`95 %`, `97.5 %`."""
    return f"{100 * share:.4g} %"


def plain(value: object) -> str:
    """A parameter's value: three digits for numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value)
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def settings(who: Configuration, varying: Sequence[str]) -> str:
    """The parameters that tell a trial from its rivals: `lora, learning_rate 0.0003`."""
    params: Mapping[str, object] = who.params
    named = [f"{clean(k)} {plain(params[k])}" for k in varying if k in params and k != "method"]
    method = [clean(params["method"])] if "method" in params else []
    return ", ".join(method + named) or "default settings"


def varying_params(configurations: Sequence[Configuration]) -> list[str]:
    """Names of the parameters that differ between the trials that have them, the method first."""
    trials = [c for c in configurations if c.kind == "trial"]
    names = list(dict.fromkeys(name for c in trials for name in c.params))
    differ = [n for n in names if len({plain(c.params[n]) for c in trials if n in c.params}) > 1]
    return sorted(differ, key=lambda n: n != "method")


def count(n: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def join(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(p for p in (", ".join(parts[:-1]), *parts[-1:]) if p)


def _suffix(scorer: str) -> str:
    unit = "" if in_points(scorer) else unit_of(scorer)
    return f" {unit}" if unit else ""
