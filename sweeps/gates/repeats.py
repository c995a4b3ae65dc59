"""How often the rows of a source are drawn: repeated rows are worth less and less."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keepgain.core.config import BudgetUnit, SourceRef
from keepgain.sweeps.gates.findings import Finding

SLACK = 1.005
"""A trial ends with a whole batch, and lengths of long files are of a sample."""


@dataclass(frozen=True)
class Case:
    """What a configuration draws."""

    setting: str
    """The settings that make it so, for people; empty: every trial is like this."""
    shares: Mapping[str, float]
    """Source → share of the training tokens."""
    budget: int
    rows: int | None = None
    """Rows used of each task source; None: all."""
    filtered: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Source → rows and tokens that a filter leaves of it."""


def check_repeats(
    cases: Iterable[Case],
    refs: Sequence[SourceRef],
    tokens: Mapping[str, int],
    limits: Mapping[str, float],
    unit: BudgetUnit,
) -> list[Finding]:
    """A warning for each source whose rows some trial draws more often than its limit.

    Args:
        cases: Configurations that draw most.
        refs: The sources.
        tokens: Source → tokens of all its training rows.
        limits: Source → `max_repeats`.
        unit: Of the cases' budgets.
    """
    worst: dict[str, tuple[float, Case]] = {}
    for case in cases:
        for name, times in repeats(case, refs, tokens, unit).items():
            if name not in worst or times > worst[name][0]:
                worst[name] = (times, case)
    return [
        _finding(ref, *worst[ref.name], limits[ref.name], unit)
        for ref in refs
        if ref.name in worst and worst[ref.name][0] > limits[ref.name] * SLACK
    ]


def repeats(
    case: Case, refs: Sequence[SourceRef], tokens: Mapping[str, int], unit: BudgetUnit
) -> dict[str, float]:
    """Source → how often a row of it is drawn on average; `tokens` as in `check_repeats`."""
    total = float(case.budget)
    size = {r.name: case.filtered.get(r.name, (r.rows, tokens[r.name])) for r in refs}
    length = {name: whole / count for name, (count, whole) in size.items()}
    if unit == "examples":  # shares are of tokens: rows drawn are share * total / length
        total /= sum(share / length[name] for name, share in case.shares.items())
    rows = {r.name: case.rows if case.rows and r.role == "task" else size[r.name][0] for r in refs}
    return {n: share * total / (rows[n] * length[n]) for n, share in case.shares.items()}


def _finding(ref: SourceRef, times: float, case: Case, limit: float, unit: BudgetUnit) -> Finding:
    share = f"{case.shares[ref.name]:.3g} of {case.budget:,} {unit}"
    left, _ = case.filtered.get(ref.name, (ref.rows, 0))
    rows = case.rows if case.rows and ref.role == "task" else left
    under = f" with {case.setting}" if case.setting else ""
    about = "at least" if ref.answers else "about"  # answers may be shorter than they may be
    return Finding(
        code="repeated_rows",
        severity="warning",
        where=f"data.{ref.name}",
        message=f"each of {rows:,} rows is drawn {about} {times:.1f} times{under} ({share}); "
        f"max_repeats is {limit:g}.",
        hint="Beyond about 4 epochs repeated rows are worth ever less (Muennighoff et al. 2023, "
        f"arXiv 2305.16264): more rows, a smaller budget or share, or raise "
        f"data.{ref.name}.max_repeats.",
    )
