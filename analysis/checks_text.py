"""A condition in words: what a candidate breaks, or what would settle it, with its numbers."""

from collections.abc import Sequence

from keepgain.analysis import words
from keepgain.analysis.checks import Check
from keepgain.analysis.stats import Uncertain, items_needed


def all_broken(checks: Sequence[Check]) -> str:
    """Conditions that do not hold; of several suites the one with the largest drop speaks."""
    drops = [c for c in checks if c.claim == "forgetting"]
    said = [_broken(c) for c in checks if c.claim != "forgetting"]
    if drops:
        worst = max(drops, key=lambda c: c.uncertain.value if c.uncertain else float("inf"))
        more = f", and too much on {words.count(len(drops) - 1, 'more suite')}"
        said.append(_broken(worst) + more * (len(drops) > 1))
    return "; ".join(said)


def _broken(check: Check) -> str:
    """A condition that does not hold, with its numbers."""
    u, scorer = check.uncertain, check.scorer
    if check.told:
        return check.told
    if u is None:
        return f"{check.subject} could not be compared with the base"
    bound = "unknown" if check.bound is None else words.amount(abs(check.bound), scorer)
    if check.claim == "forgetting":
        limit = words.amount(check.threshold, scorer)
        did, so = ("forgets", "up to") if u.value >= 0 else ("gains", "but may forget up to")
        return (
            f"it {did} {words.amount(abs(u.value), scorer)} on {check.subject} "
            f"({so} {bound} at {words.confidence(check.confidence)} confidence; limit {limit})"
        )
    if check.claim == "task_score":
        side = "below" if u.value < 0 else "above"
        worst = "" if check.bound is None else f", possibly {bound} below" * (check.bound < 0)
        return (
            f"its task score is {words.amount(abs(u.value), scorer)} {side} that of "
            f"{check.subject}{worst} (delta {words.amount(-check.threshold, scorer)})"
        )
    return f"it {against(check)}"


def against(check: Check, named: bool = True) -> str:
    """A candidate beside the best arm: `is behind m few_shot by 5.9 points [4.1, 7.6]`."""
    assert check.uncertain is not None
    u = check.uncertain
    behind = u.value <= 0
    turned = Uncertain(
        -u.value if behind else u.value, u.n_items, u.n_seeds, u.terms, u.item_variance, u.method
    )
    rival = f" {'' if behind else 'of '}{check.subject}" if named else ""
    return (
        f"is {'behind' if behind else 'ahead'}{rival} by "
        f"{words.amount_interval(turned, check.scorer)}"
    )


def not_settled(check: Check) -> str:
    """A condition that is not settled: its numbers, and what would settle it."""
    text = _broken(check)
    if check.uncertain is None or not check.holds_at_point or not check.uncertain.known:
        return text
    if check.claim == "outcome":
        return text  # its units are no items
    return f"{text}; {_needed(check.uncertain, check.threshold, check.confidence)}"


def _needed(uncertain: Uncertain, threshold: float, confidence: float) -> str:
    if uncertain.value == threshold:
        return "it is just on the limit, which no number of items resolves"
    needed = items_needed(uncertain, abs(uncertain.value - threshold), confidence=confidence)
    if needed is None:
        return "the seeds vary more than that, so more seeds are needed before more items"
    if needed <= uncertain.n_items:
        return "more seeds are needed, the items would do"
    return (
        f"about {words.count(needed, 'item')} would resolve it with 80 % power "
        f"(now {uncertain.n_items:,})"
    )
