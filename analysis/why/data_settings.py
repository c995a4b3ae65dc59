"""Settings of the data: which of them differ, what each trial had of one, and what else differed.

A share of the training tokens cannot rise alone. The others fall in proportion: the share's curve
is adjusted for each other source's part of what is left. `replay_share` and `synthetic_share` are
such parts by definition.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from keepgain.analysis.dose import ROOM
from keepgain.analysis.why.observations import (
    SHARE,
    SHARES,
    Observation,
    Setting,
    design,
    independent,
    settings,
    share,
    shares,
)
from keepgain.core.items import Floats
from keepgain.core.record import SpaceDimension

WEIGHING = ("balance_strength", "balance_by", "group_dro_step")
FILTER, NO_FILTER, REPEAT_LIMIT = "filter.", "none", "repeat_limit."
"""`filter.SOURCE` and `repeat_limit.SOURCE`: which rows of a source are left out, and how often one
may be drawn. A limit acts through the shares alone, which are recorded as it left them."""
DATA = ("rows", *SHARES, *WEIGHING)
LEARNING_RATE = "learning_rate"
SQUARED = 18
"""Trials beyond the other settings from which on the learning rate has a square, for its
optimum."""

MAX_BLOCKS = 100


def data_settings(
    own: Sequence[Observation], space: Sequence[SpaceDimension], roles: Mapping[str, str]
) -> tuple[Setting, ...]:
    """Settings of the data that differ; of the shares that sum to 1 not the task's, which has the
    rest: of several sources of the task the first one of the spec, and without known roles the
    largest on average."""
    mixed = [n for n in shares(own) if n.startswith(SHARE)]
    tasks = [f"{SHARE}{n}" for n, role in roles.items() if role == "task"]
    left_out = next((n for n in tasks if n in mixed), mixed[0] if mixed else None)
    varied = {s.name: s for s in settings(own, space)}
    # A source that some trials lack is a share of 0 there.
    varied |= {n: Setting(n, "number") for n in mixed}
    return tuple(
        s
        for n, s in varied.items()
        if (n in DATA or n in mixed or n.startswith((FILTER, REPEAT_LIMIT)))
        and n != left_out
        and not _single(own, s)
    )


def _single(own: Sequence[Observation], setting: Setting) -> bool:
    return len({amount_of(o, setting) for o in own} - {None}) < 2


def amount_of(o: Observation, setting: Setting) -> float | str | None:
    """As it is told: a number or text."""
    if setting.name.startswith(SHARE):
        return share(o, setting.name)
    value = o.params.get(setting.name)
    if value is None or setting.kind == "category":
        return None if value is None else str(value)
    assert isinstance(value, int | float), "settings() checked it"
    return float(value)


def other_settings(
    setting: Setting, used: Sequence[Observation], space: Sequence[SpaceDimension]
) -> tuple[tuple[str, ...], Floats]:
    """Names and centred columns of the other settings, shape [T, d].

    Where all their combinations recur, as in a grid, each has a column (a block), so that amounts
    are compared within it; else each setting has one, or one a level.
    """
    mixed = [n for n in shares(used) if n.startswith(SHARE)]
    is_share = setting.name.startswith(SHARE)
    # The budget follows from the duration.
    is_limit = setting.name.startswith(REPEAT_LIMIT)
    apart = {setting.name, "budget", *(mixed if is_share or is_limit else ())}
    others = [
        s
        for s in settings(used, space)
        if s.name not in apart and not s.name.startswith(REPEAT_LIMIT)
    ]
    rest = [n for n in mixed if n != setting.name] if is_share else []
    parts = [_of_rest(used, setting.name, n) for n in rest]
    varied = [n for n, p in zip(rest, parts, strict=True) if np.ptp(p) > 1e-9]
    names = (*(s.name for s in others), *varied)
    values = [[str(s.of(o.params)) for s in others] for o in used]
    cells = [(*v, *(f"{p[t]:.6g}" for p in parts)) for t, v in enumerate(values)]
    blocks = Counter(cells)
    room = len(used) - len(blocks) - len({amount_of(o, setting) for o in used}) >= ROOM
    if room and 1 < len(blocks) <= MAX_BLOCKS and min(blocks.values()) > 1:
        z = np.array([[float(c == b) for b in list(blocks)[1:]] for c in cells])
        return names, z - z.mean(axis=0)
    columns, z = design(used, others)
    if LEARNING_RATE in columns and len(used) >= z.shape[1] + SQUARED:
        rate = z[:, columns.index(LEARNING_RATE)]
        if len(set(rate.tolist())) > 2:
            z = np.column_stack([z, rate**2])
    z = np.column_stack([z, *parts])
    z = (z - z.mean(axis=0))[:, z.std(axis=0) > 1e-9]
    return names, independent(z)


def _of_rest(used: Sequence[Observation], setting: str, other: str) -> Floats:
    """A source's part of the tokens that `setting` leaves, shape [T]; where it leaves none, the
    mean."""
    left = np.array([1 - share(o, setting) for o in used])
    part = np.array([share(o, other) for o in used])
    known = left > 1e-9
    part[known] /= left[known]
    part[~known] = part[known].mean() if known.any() else 0.0
    return part
