"""The comparison as Markdown: every figure computed here, none written by hand."""

import importlib.metadata
import math
import os
import platform
from collections.abc import Iterable, Sequence
from statistics import median

from measure import LEVEL, MAX_FORGETTING, Compared, Estimate, at, quantile, settled_at
from settings import Constants
from tables import cpu_model

MAIN_SLOTS = 4
"""Of the tables that show one number of slots."""
NOT_REACHED = "not reached"
OURS = "ours"


def markdown(compared: Compared, table: str, constants: Constants) -> str:
    """The whole section of one domain."""
    parts = [
        f"### Domain `{compared.domain.name}`",
        _setting(compared, table, constants),
        *_titled(f"Tokens to {LEVEL:.0%} of the table's hypervolume", _costs(compared)),
        _standing(compared),
        *_titled("By base model", _by_model(compared)),
        *_titled("Virtual wall time", _costs(compared, seconds=True)),
        *_titled("At a third of random search's tokens, and at the end", _levels(compared)),
        *_titled("Time to first comparison", _first_comparison(compared)),
    ]
    return "\n\n".join(parts) + "\n"


def _titled(title: str, body: str) -> list[str]:
    return [f"#### {title}", body]


def _setting(compared: Compared, table: str, constants: Constants) -> str:
    domain, stopping = compared.domain, constants.stopping
    twice = sum(count > 1 for count in domain.seeds.values())
    wall = sum(o.wall_seconds for o in compared.outcomes.values())
    generation = constants.generation_size or "the search's default"
    versions = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in ("optuna", "ray", "numpy"))
    return (
        f"Table: {table}. {twice} of {len(domain.cells)} configurations have two seeds or more; "
        "the truth of the others is a single run, which is then also what a search sees of them. "
        f"{compared.seeds} benchmark seeds an arm. Ours: generations of {generation}, keep "
        f"{stopping.keep:.3g}, grace {stopping.grace:g}, {stopping.audit_trials} audit trials.\n\n"
        f"Simulated on {cpu_model()} with {os.cpu_count()} processors, Python "
        f"{platform.python_version()}, {versions}: {len(compared.outcomes)} sweeps, "
        f"{median(o.wall_seconds for o in compared.outcomes.values()):.1f} s each (median), "
        f"{wall / 3600:.1f} h of work in all."
    )


def _costs(compared: Compared, *, seconds: bool = False) -> str:
    """Median cost over that of random search, by slots."""
    unit = "virtual s" if seconds else "M tokens"
    header = ["arm"]
    for slots in compared.slots:
        header += [f"{unit}, {_slots(slots)}", "/ random [95 %]", "reached"]
    rows = []
    for arm, label in compared.arms.items():
        row = [label]
        for slots in compared.slots:
            costs = compared.costs(arm, slots, seconds=seconds)
            found = compared.estimate(arm, slots, seconds=seconds)
            middle = sorted(costs)[len(costs) // 2]
            row.append(_number(middle if seconds else middle / 1e6, ".0f" if seconds else ".2f"))
            row += [_estimate(found), f"{found.reached}/{found.of}"]
        rows.append(row)
    return _table(header, rows)


def _by_model(compared: Compared) -> str:
    """Ratios of tokens within each base model."""
    models = compared.domain.models
    rows = []
    for arm, label in compared.arms.items():
        row = [label]
        for model in models:
            found = compared.estimate(arm, MAIN_SLOTS, model)
            row.append(f"{_estimate(found)} ({found.reached}/{found.of})")
        rows.append(row)
    header = [f"tokens / random, {_slots(MAIN_SLOTS)}"]
    return _table([*header, *(f"{m} (reached)" for m in models)], rows)


def _levels(compared: Compared) -> str:
    """Hypervolume at fixed costs: never missing, unlike a cost."""
    reference = compared.costs(compared.reference, MAIN_SLOTS)
    third = sorted(reference)[len(reference) // 2] / 3
    rows = []
    for arm, label in compared.arms.items():
        curves = compared.of(arm, MAIN_SLOTS)
        ends = [c.average[-1] if c.average else 0.0 for c in curves]
        outcomes = [compared.outcomes[arm, MAIN_SLOTS, s] for s in range(compared.seeds)]
        rows.append(
            [
                label,
                _quartiles([at(c, [third])[0] for c in curves]),
                _quartiles(ends),
                f"{median(o.tokens for o in outcomes) / 1e6:.2f}",
                f"{median(len(o.finishes) for o in outcomes):.0f} of "
                f"{median(o.trials for o in outcomes):.0f}",
            ]
        )
    header = ["arm", f"hypervolume at {third / 1e6:.2f} M tokens", "at its end"]
    return _table([*header, "M tokens in all", "full trials"], rows)


def _first_comparison(compared: Compared) -> str:
    """The share of random search's whole training within which 95 % of the sweeps have settled."""
    domain = compared.domain
    whole = compared.outcomes[compared.reference, MAIN_SLOTS, 0].tokens
    rows = []
    for arm, label in compared.arms.items():
        outcomes = [compared.outcomes[arm, MAIN_SLOTS, s] for s in range(compared.seeds)]
        row = [label]
        for model in (*domain.models, None):
            share = [settled_at(domain, o, model) / whole for o in outcomes]
            row.append(f"{_number(quantile(share, 0.95), '.2f')} ({_number(median(share), '.2f')})")
        rows.append(row)
    text = (
        "The share of the whole grid's training after which the pick (the largest seen gain with a "
        f"mean forgetting of at most {MAX_FORGETTING:g}) stays within one standard error of the "
        f"best, in 95 % of the sweeps (in half of them); {_slots(MAIN_SLOTS)}.\n\n"
    )
    return text + _table(["arm", *domain.models, "all base models"], rows)


def _standing(compared: Compared) -> str:
    """Who is behind whom, in words that follow from the figures."""
    if OURS not in compared.arms:
        return ""
    lines = [_target(compared)]
    for arm, label in compared.arms.items():
        if not arm.startswith(OURS):
            lines.append(_duel(compared, OURS, arm, label))
    return "\n".join(lines)


def _target(compared: Compared) -> str:
    found = compared.estimate(OURS, MAIN_SLOTS)
    label = compared.arms[OURS]
    if math.isinf(found.value):
        return f"{label}: the median sweep does not reach the level; the target of 1/3 is missed."
    target = "1/4 (the stretch)" if found.value <= 1 / 4 else "1/3"
    met = "met" if found.value <= 1 / 3 else "missed"
    sure = "" if found.high <= 1 / 3 else "; the interval reaches beyond it"
    tail = sure if met == "met" else ""
    return (
        f"{label}: {found.value:.2f} of random search's tokens {_interval(found)}; the target of "
        f"{target} is {met}{tail}."
    )


def _duel(compared: Compared, own: str, other: str, label: str) -> str:
    pairs = list(
        zip(compared.costs(own, MAIN_SLOTS), compared.costs(other, MAIN_SLOTS), strict=True)
    )
    wins = sum(a < b for a, b in pairs)
    losses = sum(a > b for a, b in pairs)
    name = compared.arms[own]
    stand = "ahead of" if wins > losses else "behind" if losses > wins else "level with"
    return (
        f"- {name} is {stand} {label}: fewer tokens in {wins} of {len(pairs)} paired sweeps, more "
        f"in {losses}, neither reached the level in {sum(math.isinf(min(p)) for p in pairs)}."
    )


def _estimate(found: Estimate) -> str:
    if math.isinf(found.value):
        return NOT_REACHED
    return f"{found.value:.2f} {_interval(found)}"


def _interval(found: Estimate) -> str:
    return f"[{_number(found.low, '.2f')}, {_number(found.high, '.2f')}]"


def _number(value: float, form: str) -> str:
    return NOT_REACHED if math.isinf(value) else format(value, form)


def _quartiles(values: Sequence[float]) -> str:
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    return f"{median(ordered):.3f} ({low:.3f} to {high:.3f})"


def _slots(count: int) -> str:
    return "1 slot" if count == 1 else f"{count} slots"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
