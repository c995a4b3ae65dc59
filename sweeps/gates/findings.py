"""What a check found: one shape for all gates, so that people and scripts read all alike."""

from collections.abc import Iterable, Sequence
from typing import Literal

from keepgain.core.schema import StrictModel

Severity = Literal["error", "warning"]
MAX_EXAMPLES = 3


class Finding(StrictModel):
    """One thing that is wrong or doubtful."""

    code: str
    """Stable name of the kind, e.g. `split_overlap`."""
    severity: Severity
    """An error refuses the sweep."""
    where: str
    """What it is about: a source, a suite, a model or a key of the spec."""
    message: str
    rows: tuple[str, ...] = ()
    """`file:line` of the first examples."""
    hint: str | None = None
    """What to do."""
    count: int | None = None
    """Rows (pairs, items) that it is about."""
    of: int | None = None
    """Out of so many."""
    why: str | None = None
    """What it is likely to cost, in one sentence, where the message does not say so."""
    figures: dict[str, float] = {}
    """What was measured, by name; shares are 0 to 1."""


def allow(findings: Iterable[Finding], codes: Sequence[str]) -> list[Finding]:
    """Turns errors of these codes into warnings, and says that the spec asks for it."""
    return [
        f.model_copy(update={"severity": "warning", "message": f"{f.message} Allowed by the spec."})
        if f.severity == "error" and f.code in codes
        else f
        for f in findings
    ]


def has_errors(findings: Iterable[Finding]) -> bool:
    """True if the sweep must not start."""
    return any(f.severity == "error" for f in findings)


def render_finding(finding: Finding) -> str:
    """Two or three lines for people."""
    lines = [f"{finding.severity}: {finding.where}: {finding.message} [{finding.code}]"]
    if finding.rows:
        lines.append(f"  e.g. {'; '.join(finding.rows[:MAX_EXAMPLES])}")
    if finding.hint:
        lines.append(f"  {finding.hint}")
    return "\n".join(lines)
