"""`inference` in words: sentences of the decision's paragraph, and notes below its tables."""

from keepgain.analysis import words
from keepgain.analysis.best_set import BestSet
from keepgain.analysis.inference import Inference
from keepgain.analysis.power import Resolution
from keepgain.analysis.winners_curse import Luck
from keepgain.core.record import short_id

MAX_NAMED = 5
"""More trials are counted, not named; JSON names them all."""


def best_said(found: BestSet | None) -> str:
    """Which trials cannot be told from the best; empty where that is unknown or trivial."""
    if found is None or found.trials is None or len(found.field) < 2:
        return ""
    where = "over all sizes" if found.model is None else f"of {found.model}"
    field = f"the {len(found.field):,} trials {where} that keep the limits"
    sure = f"({words.confidence(found.confidence)} confidence)"
    if len(found.trials) == 1:
        return f"By task score alone, {found.trials[0]} is the best of {field} {sure}."
    if len(found.trials) > MAX_NAMED:
        which = f"{len(found.trials):,} of {field} could be the best {sure}"
    else:
        which = f"of {field}, {words.join(found.trials)} cannot be told from the best {sure}"
    cheap = f"; the cheapest of them is {found.cheapest}" if found.cheapest else ""
    return f"By task score alone, {which}{cheap}."


def luck_said(luck: Luck | None, scorer: str) -> str:
    """How much of the quoted validation score is luck."""
    if luck is None:
        return ""
    part = words.amount(abs(luck.score - luck.expected), scorer)
    seeds = "" if luck.seeds_counted else " with the items (with the seed: unknown)"
    return (
        f"As the best of {luck.trials:,} trials it owes about {part} of its score to luck{seeds}; "
        f"expect {words.level(luck.expected, scorer)}."
    )


def said(found: Inference, scorer: str) -> list[str]:
    """Notes: the best within sizes, optimism, and what the items can show.

    Args:
        scorer: Of the task score.
    """
    sizes = [b for b in found.best if b.model is not None]
    # With one size its sentence stands in the paragraph.
    notes = [s for b in sizes if (s := best_said(b))] if len(sizes) > 1 else []
    if found.optimism is not None:
        others = words.count(len(found.optimism.others), "configuration")
        notes.append(
            f"Optimism: {words.amount_interval(found.optimism.uncertain, scorer)}, what the trial "
            f"lost from validation to test beyond the loss of {others} that nobody selected."
        )
    notes += [_resolved(r, scorer) for r in found.resolutions if r.detectable is not None]
    return [words.clean(n) for n in notes]


def _resolved(r: Resolution, scorer: str) -> str:
    to = "its base" if r.against == "base" else f"its nearest rival {short_id(r.b)}"
    differ = "" if r.discordance is None else f", {100 * r.discordance:.3g} % of which differ,"
    text = (
        f"Against {to}, {words.count(r.difference.n_items, 'item')}{differ} show a difference of "
        f"{words.amount(r.detectable, scorer)} or more (80 % power)"
    )
    target = words.amount(r.target, scorer).replace("1.0 points", "1 point")
    if r.items_needed is None:
        return f"{text}; {target} needs more seeds, whatever the items."
    if r.items_needed <= r.difference.n_items:
        return f"{text}."
    return f"{text}; {target} needs about {r.items_needed:,} items."
