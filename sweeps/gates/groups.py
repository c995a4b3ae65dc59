"""Settings that weigh rows by their group, on rows that have none."""

from collections.abc import Sequence

from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet


def check_groups(sets: Sequence[RowSet], keys: Sequence[str]) -> list[Finding]:
    """One warning a key where fewer than two groups are among the rows that it weighs: it then does
    nothing.

    Args:
        sets: Of the sweep.
        keys: Settings of the spec that weigh by group.
    """
    if not keys:
        return []
    weighed = [s for s in sets if s.part == "train" and s.role in ("task", "synthetic")]
    groups = {row.group for s in weighed for row in s.rows} - {None}
    if len(groups) > 1:
        return []
    found = f"all have the group '{groups.pop()}'" if groups else "none has a `group`"
    return [
        Finding(
            code="no_groups",
            severity="warning",
            where=key,
            message=f"weighs rows by their group, and of {sum(len(s.rows) for s in weighed)} rows "
            f"to train on {found}.",
            hint="Map a field, `fields: {group: KEY}` at the source, or leave the setting out.",
        )
        for key in keys
    ]
