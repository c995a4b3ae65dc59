"""All rows of a finding, and that there are as many as it counts."""

from itertools import chain
from typing import Any

from keepgain.sweeps.gates.findings import MAX_EXAMPLES, Finding


def entries(finding: Finding) -> list[dict[str, Any]]:
    """As `sweep check --rows` has them."""
    return [rows.entry(k) for rows in finding.all_rows for k in range(len(rows))]


def whole(finding: Finding) -> list[int]:
    """The line of each; its first rows are those that people are shown."""
    found = entries(finding)
    assert len(found) == finding.count
    assert finding.rows == tuple(chain.from_iterable(finding.all_rows))[:MAX_EXAMPLES]
    return [entry["line"] for entry in found]
