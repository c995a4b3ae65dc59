"""Whether the suites can answer the question: enough items, forgetting measured, fair scorers."""

import math
import statistics
from collections.abc import Sequence

from keepgain.core.record import Question
from keepgain.core.registered_scorer import SHARE
from keepgain.core.scorers import metric_of, scorer
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet

FEW_ITEMS = 100
ASSUMED_DISCORDANCE = 0.10
"""Share of items that two models answer differently, where nothing is measured yet."""
_POWER_FACTOR = 1.959964 + 0.841621
"""Two-sided 5 % level, 80 % power."""
LONG_ANSWER_CHARACTERS = 200


def detectable_difference(items: int, discordance: float = ASSUMED_DISCORDANCE) -> float:
    """Smallest difference of two rates of right items that paired items resolve (80 % power)."""
    return _POWER_FACTOR * math.sqrt(discordance / items)


def items_needed(difference: float, discordance: float = ASSUMED_DISCORDANCE) -> int:
    """Items that resolve it: the inverse of `detectable_difference`."""
    return math.ceil(discordance * (_POWER_FACTOR / difference) ** 2)


def check_suites(sets: Sequence[RowSet], max_forgetting: float | None) -> list[Finding]:
    """Findings on the suites as a whole and on each split of each."""
    suites = [s for s in sets if s.measures is not None]
    findings = []
    for suite in suites:
        findings += _few_items(suite)
        if suite.part == "validation":
            findings += _long_answers(suite)
    if not any(s.measures == "forgetting" for s in suites):
        limit = "" if max_forgetting is None else f" The limit {max_forgetting:g} cannot be kept."
        findings.append(
            Finding(
                code="forgetting_not_measured",
                severity="warning",
                where="suites",
                message=f"no suite measures forgetting, and the decision will say so.{limit}",
                hint="Add a suite of general items, e.g. "
                "`forgetting: {path: general_eval.jsonl, scorer: bits_per_byte}`.",
            )
        )
    return findings


def check_question(question: Question, seeds: int, suites: Sequence[RowSet]) -> list[Finding]:
    """Whether what is asked can be answered from what is measured.

    Args:
        question: Of the sweep.
        seeds: Of each finalist.
        suites: All items.
    """
    findings = []
    if seeds == 1:
        findings.append(
            Finding(
                code="one_seed",
                severity="warning",
                where="confirm.seeds",
                message="one seed shows no variance between seeds: intervals stay unknown and no "
                "size is recommended.",
                hint="Use at least 2, better 3.",
            )
        )
    generates = any(s.scorer is not None and scorer(s.scorer).generates for s in suites)
    if question.cost == "usd_per_million_tokens" and not generates:
        findings.append(
            Finding(
                code="cost_not_measured",
                severity="warning",
                where="question.cost",
                message="usd_per_million_tokens follows from the speed of generation, and no suite "
                "generates: the cost stays unknown.",
                hint="Add an exact_match suite, or use `cost: parameters`.",
            )
        )
    return findings


def _few_items(suite: RowSet) -> list[Finding]:
    count = len(suite.rows)
    if count >= FEW_ITEMS:
        return []
    message = f"{count} items are few."
    if is_share(suite) and count:
        points = 100 * detectable_difference(count)
        message += (
            f" Differences below about {points:.0f} points will not be resolved (80 % power, if "
            f"{ASSUMED_DISCORDANCE:.0%} of the items change)."
        )
    return [
        Finding(
            code="few_items",
            severity=("note" if suite.measures == "behaviour" else "warning") if count else "error",
            where=suite.label,
            message=message,
            hint=f"Have at least {FEW_ITEMS} items in each split.",
        )
    ]


def is_share(suite: RowSet) -> bool:
    """True if its items are right or wrong."""
    return suite.scorer is not None and metric_of(suite.scorer).unit == SHARE


def _long_answers(suite: RowSet) -> list[Finding]:
    whole = ("exact_match", "normalised_match")
    if suite.scorer not in whole or not suite.rows:
        return []
    median = statistics.median(len(row.answer) for row in suite.rows)
    if median <= LONG_ANSWER_CHARACTERS:
        return []
    return [
        Finding(
            code="long_answers",
            severity="warning",
            where=suite.label,
            message=f"{suite.scorer} of answers of {median:.0f} characters (median) is seldom 1.",
            hint="Consider `scorer: bits_per_byte` for free text.",
        )
    ]
