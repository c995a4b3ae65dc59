"""Shares of the training tokens that a trial takes from each source, from its settings."""

from collections.abc import Mapping, Sequence
from typing import Any

from keepgain.core.config import Role, SourceRef
from keepgain.core.errors import UserError
from keepgain.sweeps.search.dimensions import ends
from keepgain.sweeps.search.mixture import MIXTURE, shares_by_role
from keepgain.sweeps.search.searchable import REPLAY_SHARE, SYNTHETIC_SHARE
from keepgain.sweeps.search.space import Space

SHARES = (REPLAY_SHARE, SYNTHETIC_SHARE)


def source_shares(
    params: Mapping[str, Any], refs: Sequence[SourceRef], given: Mapping[str, float] | None
) -> dict[str, float]:
    """Shares of the sources that have one.

    A source without a share is left out, so that a trial is the same in a sweep without it.

    Args:
        params: Settings of the trial; `mixture.SOURCE` say the shares, or `replay_share` and
            `synthetic_share` do; others are not looked at.
        refs: All sources.
        given: `training.mixture`: the shares where the settings say nothing, else the weights of
            the sources within their role. None: task sources by their rows.
    """
    prefix = f"{MIXTURE}."
    drawn = {n.removeprefix(prefix): v for n, v in params.items() if n.startswith(prefix)}
    by_role = {name: params[name] for name in SHARES if name in params}
    assert not (drawn and by_role), "a space has one or the other"
    shares = _by_role(by_role, refs, given or {}) if by_role else drawn or given or _by_rows(refs)
    return {r.name: float(shares[r.name]) for r in refs if shares.get(r.name)}


def _by_rows(refs: Sequence[SourceRef]) -> dict[str, float]:
    rows = {r.name: r.rows for r in refs if r.role == "task"} or {r.name: r.rows for r in refs}
    return {name: count / sum(rows.values()) for name, count in rows.items()}


def _by_role(
    asked: Mapping[str, float], refs: Sequence[SourceRef], given: Mapping[str, float]
) -> dict[str, float]:
    """A share that is not asked for is that of `given`, without it 0."""
    of_role: dict[Role, float] = {"task": 0.0, "synthetic": 0.0, "replay": 0.0}
    for ref in refs:
        of_role[ref.role] += given.get(ref.name, 0.0)
    weights = {r.name: given.get(r.name, 0.0) if of_role[r.role] else float(r.rows) for r in refs}
    rest = of_role["task"] + of_role["synthetic"]
    return shares_by_role(
        asked.get(REPLAY_SHARE, of_role["replay"]),
        asked.get(SYNTHETIC_SHARE, of_role["synthetic"] / rest if rest else 0.0),
        weights,
        {r.name: r.role for r in refs},
    )


def refuse_missing_roles(space: Space, roles: Mapping[str, Role]) -> None:
    """Refuses a share of a role that no source has.

    Args:
        space: The search space.
        roles: Source → role.

    Raises:
        UserError: With the key (`space.replay_share`) as its place.
    """
    parameters = {p.name: p.dimension for p in space.parameters if p.name in SHARES}
    for name, dimension in parameters.items():
        role = name.removesuffix("_share")
        if max(ends(dimension)) > 0 and role not in roles.values():
            raise UserError(
                f"the share is up to {max(ends(dimension)):g}, and no source has the role {role}.",
                where=f"space.{name}",
                hint=f"Give a source under `data` the role {role}, or leave the share out.",
            )
        if min(ends(dimension)) < 1 and set(roles.values()) <= {"replay", "synthetic"}:
            raise UserError(
                "the other tokens are of the task, and no source has the role task.",
                where=f"space.{name}",
                hint="Give a source under `data` the role task, or use `mixture`.",
            )
