"""A look of an adaptive confirmation: which sizes are undecided, and who gets more seeds.

Everything here is decided on **validation**; the test items are scored once, after the last look.
At a look every size's candidate is put to the conditions of the size rule at the look's level
(`spending`), and a condition is

* held, if its bound clears the threshold; failed, if the bound on the other side does;
* open otherwise, and *hopeless* if more seeds could not close it: the interval from infinitely many
  seeds, its items' noise alone, would still hold the threshold, even if the value moved by one
  standard error of the seeds towards the nearer end.

A size is undecided while a condition is open and none has failed. It gets more seeds unless an open
condition is hopeless. Those of its finalists get them that may still be its best one: the candidate
and whoever is not clearly behind it. If its task score is open, the largest size gets them too,
since every size is held against it. Below a size whose task score fails the rule does not descend,
so nothing there is worth a seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from keepgain.analysis import words
from keepgain.analysis.checks import Check
from keepgain.analysis.costs import known_dear
from keepgain.analysis.judge import against_arm, best_arm
from keepgain.analysis.measures import Measures, measures_of
from keepgain.analysis.sizes import Size, ladder
from keepgain.analysis.spending import confidence_at
from keepgain.analysis.stats import Uncertain, items_needed
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.record import Evidence, LookRecord, Question

SPLIT: Split = "validation"


@dataclass(frozen=True)
class _State:
    """A size at a look."""

    size: Size
    open: tuple[Check, ...]
    failed: tuple[Check, ...]
    hopeless: tuple[Check, ...]
    """Of the open ones."""

    @property
    def undecided(self) -> bool:
        return bool(self.open) and not self.failed


def next_look(evidence: Evidence, look: int) -> LookRecord:
    """What a look finds, and what follows.

    Args:
        evidence: The sweep with the runs confirmed so far; `planned_looks` in its record. Scores on
            the test split are not read.
        look: The look, from 1; all finalists that were to have seeds at it have them.
    """
    sweep = evidence.sweep
    looks = sweep.planned_looks
    items = tuple((key, s) for key, s in evidence.items if s.split == SPLIT)
    measures = measures_of(Evidence(sweep, items))
    pool = [
        c
        for c in measures.table.configurations
        if c.kind == "trial" and c.confirmed and c.has(SPLIT)
    ]
    confidence, final = (confidence_at(k, len(looks)) for k in (look, len(looks)))
    # What is known to be over budget is no option, and no level to hold (`judge`).
    offered = [c for c in pool if not known_dear(c, sweep.question)]
    states = _states(measures, offered, sweep.question, confidence, final)
    undecided = [s for s in states if s.undecided]
    helped = [s for s in undecided if not s.hopeless]
    seeds = {c.trial_id: c.seeds(SPLIT) for c in pool}
    more: dict[str, int] = {}
    if look < len(looks):
        for who in _contenders(measures, offered, helped, states, confidence):
            more[who.trial_id] = looks[look]
    return LookRecord(
        look=look,
        seeds=seeds,
        undecided=tuple(s.size.model for s in undecided),
        more=more,
        reason=_reason(states, look, looks, final),
    )


def _states(
    measures: Measures,
    pool: Sequence[Configuration],
    question: Question,
    confidence: float,
    final: float,
) -> list[_State]:
    """Sizes with a candidate, largest first, down to where the rule ends."""
    arm = best_arm(measures, SPLIT, question)
    suites = measures.table.suites.get(SPLIT, {}).values()
    drops = max(1, sum(s.info.measures == "forgetting" for s in suites))
    states: list[_State] = []
    held = False
    for size in ladder(measures, SPLIT, pool, question, confidence=confidence):
        if size.candidate is None:
            continue
        checks = list(size.checks)
        if arm is not None:
            checks.append(against_arm(measures, SPLIT, size.candidate, arm, question, confidence))
        failed = tuple(c for c in checks if _failed(c))
        open_ = tuple(c for c in checks if not c.holds and c not in failed)
        hopeless = tuple(c for c in open_ if _hopeless(c, final, drops))
        states.append(_State(size, open_, failed, hopeless))
        ends = {c.claim for c in failed}
        if "task_score" in ends or (held and "forgetting" in ends):
            break  # the descent of the size rule goes no further
        held = held or not any(c.claim != "reference" for c in (*open_, *failed))
    return states


def _failed(check: Check) -> bool:
    """The bound on the other side shows that the condition does not hold."""
    if check.uncertain is None:
        return False
    u, sure = check.uncertain, check.confidence
    other = u.lower(sure) if check.claim == "forgetting" else u.upper(sure)
    if other is None:
        return False
    return other > check.threshold if check.claim == "forgetting" else other <= check.threshold


def _hopeless(check: Check, confidence: float, drops: int) -> bool:
    """Infinitely many seeds would leave the condition open."""
    u = check.uncertain
    if u is None:
        return True
    if not u.known:
        return False
    each = 1 - (1 - confidence) / (drops if check.claim == "forgetting" else 1)
    without_seeds = _item_variance(u)
    reach = float(special.ndtri(each)) * math.sqrt(without_seeds)
    seed_error = math.sqrt(max(0.0, u.variance - without_seeds))
    return abs(u.value - check.threshold) + seed_error < reach


def _item_variance(u: Uncertain) -> float:
    """What infinitely many seeds leave: the items' variance less the interaction's share of it,
    which the negative terms hold."""
    return max(0.0, u.item_variance + math.fsum(v for v, _ in u.terms if v < 0))


def _contenders(
    measures: Measures,
    pool: Sequence[Configuration],
    helped: Sequence[_State],
    states: Sequence[_State],
    confidence: float,
) -> list[Configuration]:
    """Who gets more seeds, in the pool's order."""
    candidates = {s.size.model: s.size.candidate for s in helped}
    if any(c.claim == "task_score" for s in helped for c in s.open):
        candidates.setdefault(states[0].size.model, states[0].size.candidate)
    found = []
    for who in pool:
        best = candidates.get(who.model)
        if best is not None and (
            who.trial_id == best.trial_id or not _behind(measures, who, best, confidence)
        ):
            found.append(who)
    return found


def _behind(measures: Measures, who: Configuration, best: Configuration, confidence: float) -> bool:
    """Clearly worse than the candidate, which then stays it."""
    difference = measures.difference(best, who, SPLIT, "task_score")
    bound = difference.lower(confidence) if difference else None
    return bound is not None and bound > 0


def _reason(states: Sequence[_State], look: int, looks: Sequence[int], confidence: float) -> str:
    if not states:
        return "no finalist has scores on validation"
    undecided = [s for s in states if s.undecided]
    if not undecided:
        return "every size is decided on validation"
    names = words.join([s.size.model for s in undecided])
    verb = "is" if len(undecided) == 1 else "are"
    stuck = [_stuck(s, confidence) for s in undecided if s.hopeless]
    if look == len(looks):
        return "; ".join([f"{names} {verb} undecided at the last look", *stuck])
    if all(s.hopeless for s in undecided):
        return "; ".join(stuck)
    return "; ".join([f"{names} {verb} undecided", *stuck])


def _stuck(state: _State, confidence: float) -> str:
    """Why more seeds cannot help a size, and how many items would."""
    said = []
    for check in state.hopeless:
        what = {"task_score": "its task score", "reference": "its gain over the best arm"}
        subject = what.get(check.claim, f"its forgetting on {check.subject}")
        u = check.uncertain
        if u is None:
            said.append(f"{subject} could not be measured")
            continue
        alone = Uncertain(u.value, u.n_items, u.n_seeds, (), _item_variance(u), u.method)
        needed = items_needed(alone, abs(u.value - check.threshold), confidence=confidence) \
            if u.value != check.threshold else None  # fmt: skip
        items = (
            "no number of items would"
            if needed is None
            else f"about {words.count(needed, 'validation item')} would, now {u.n_items:,}"
        )
        said.append(f"{subject} is open for the items' noise alone: {items}")
    return f"more seeds could not decide {state.size.model} ({'; '.join(said)})"
