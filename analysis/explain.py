"""The paragraph of a decision, in plain words, made from the same figures as the tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from keepgain.analysis import words
from keepgain.analysis.inference import Inference
from keepgain.analysis.inference_text import best_said, luck_said
from keepgain.analysis.judge import Flip, Verdict
from keepgain.analysis.measures import Measures
from keepgain.analysis.sizes import Check, Claim, Size, lost_level
from keepgain.analysis.stats import Uncertain, items_needed
from keepgain.analysis.table import Configuration
from keepgain.core.config import Split
from keepgain.core.record import Question
from keepgain.core.units import human_count


@dataclass(frozen=True)
class Scene:
    """All that the paragraph speaks of."""

    measures: Measures
    split: Split
    question: Question
    verdict: Verdict
    provisional: bool
    confirmed: bool
    tied: tuple[Configuration, ...]
    probability: float | None
    flips: tuple[Flip, ...]
    problems: tuple[str, ...]
    cautions: tuple[str, ...] = ()
    """Sentences on how far the search itself can be trusted."""
    inference: Inference = field(default_factory=Inference)

    @property
    def scorer(self) -> str:
        """Scorer of the task score."""
        return self.measures.scorer("gain")


def explain(scene: Scene) -> str:
    """The decision, what it rests on, and what was not measured."""
    tellers = {
        "recommended": _recommended,
        "do_not_fine_tune": _do_not_fine_tune,
        "not_resolved": _not_resolved,
        "infeasible": _infeasible,
    }
    preface = _preface(scene)
    told = [s for s in tellers[scene.verdict.outcome](scene) if s]
    if preface:
        told[0] = told[0][0].lower() + told[0][1:]
    return " ".join(words.clean(s) for s in [preface, *told, *_limits(scene)] if s)


def _preface(scene: Scene) -> str:
    if not scene.provisional:
        return ""
    if not any(s.candidate for s in scene.verdict.sizes):
        return ""
    why = (
        "no trial was confirmed with fresh seeds"
        if not scene.confirmed
        else "the test split was not used"
    )
    return (
        f"Provisional, since {why}: the figures are {scene.split} scores, on which the candidates "
        "were also chosen, so they flatter. So far:"
    )


# -- one teller per outcome -------------------------------------------------------------------


def _recommended(scene: Scene) -> list[str]:
    pick = scene.verdict.pick
    assert pick is not None and pick.candidate is not None
    who, m = pick.candidate, scene.measures
    task = m.estimates(who, scene.split)["task_score"]
    items = words.count(task.n_items, f"{scene.split} item")
    sentences = [
        f"Use {_size(pick)}, trial {who.trial_id} ({_settings(scene, who)}): task score "
        f"{words.interval(task, scene.scorer)} on {items} over "
        f"{words.count(task.n_seeds, 'seed')}."
    ]
    sentences += [_standing(scene, pick), *_above(scene, pick), _below(scene, pick)]
    sentences += [
        f"{_size(s)} was not judged: it has no {scene.split} scores ({s.unscored})."
        for s in scene.verdict.sizes
        if s.unscored
    ]
    sentences += [
        f"{_size(s)} was not offered: {s.over_budget}."
        for s in scene.verdict.sizes
        if s.over_budget
    ]
    sentences += [_forgetting(scene, pick), _guards(scene, pick)]
    arm = scene.verdict.against_arm.get(pick.model)
    if arm is not None and arm.uncertain is not None and scene.verdict.arm is not None:
        sentences.append(
            f"It beats the best alternative to fine-tuning, {_arm(scene.verdict.arm)}, by "
            f"{words.amount_interval(arm.uncertain, scene.scorer)}."
        )
    told = scene.inference
    sentences.append(luck_said(told.luck, scene.scorer))
    sentences.append(best_said(told.best_of(None) or told.best_of(pick.model)))
    if scene.tied:
        names = words.join([c.trial_id for c in scene.tied])
        sentences.append(
            f"Within {pick.model} the data cannot tell it from {names}: those are tied, and "
            "validation chose between them."
        )
    return sentences


def _do_not_fine_tune(scene: Scene) -> list[str]:
    arm = scene.verdict.arm
    assert arm is not None
    level = scene.measures.estimates(arm, scene.split)["task_score"]
    parts = []
    for size in scene.verdict.sizes:
        check = scene.verdict.against_arm.get(size.model)
        if check is None or check.uncertain is None:
            continue
        if check.holds_at_point:
            broken = [c for c in size.checks if not c.holds_at_point]
            parts.append(f"{size.model} scores more, but {_all_broken(broken)}")
        else:
            parts.append(f"{size.model} {_against(check, named=False)}")
    extra = (
        f" Fine-tuning would have to add more than "
        f"{words.amount(scene.question.min_gain, scene.scorer)} (min_gain)."
        if scene.question.min_gain > 0
        else ""
    )
    return [
        f"Do not fine-tune: {_arm(arm)} scores {words.interval(level, scene.scorer)} on "
        f"{words.count(level.n_items, f'{scene.split} item')}, and no tuned candidate that "
        f"keeps the limits beats it: {'; '.join(parts)}.{extra}"
    ]


def _not_resolved(scene: Scene) -> list[str]:
    standing = [s for s in scene.verdict.sizes if s.candidate is not None]
    if not standing:
        return [f"Not resolved: no complete trial to decide on ({scene.split} split)."]
    if lost := lost_level(scene.verdict.sizes):
        return [
            f"Not resolved: {_size(lost)} is the largest confirmed size and has no {scene.split} "
            f"scores ({lost.unscored}), so there is no level that smaller sizes must hold."
        ]
    sentences = ["Not resolved: no size is shown to qualify, and at least one may."]
    unknown = [s.model for s in standing if not _replicated(scene, s)]
    if unknown:
        sentences.append(
            f"The seed variance of {words.join(unknown)} is unknown, because no configuration was "
            "trained with two seeds; confirm with at least 2 seeds (better 3)."
        )
    suites = scene.measures.table.suites[scene.split].values()
    if alone := [s.info.name for s in suites if s.draws < 2]:
        sentences.append(
            f"Of {words.join(alone)} there is a single item, or cluster of items, so how far "
            "scores may vary is unknown."
        )
    for size in standing:
        checks = [*size.checks, *_arm_check(scene, size)]
        # Where seeds are known, a guard or live outcome without a bound has a reason of its own.
        failing = [
            c
            for c in checks
            if not c.holds
            and (
                c.bound is not None
                or not c.holds_at_point
                or (c.told and size.model not in unknown)
            )
        ]
        if failing:
            sentences.append(f"{size.model}: {'; '.join(_open(c) for c in failing)}.")
        elif size.model in unknown or any(not c.holds for c in checks):
            sentences.append(f"{size.model}: as point estimates alone, all conditions hold.")
        elif not size.reached:
            sentences.append(f"{size.model}: qualifies by itself, but a larger size failed first.")
    return sentences


def _infeasible(scene: Scene) -> list[str]:
    sentences = ["Infeasible: every size breaks a condition."]
    for size in scene.verdict.sizes:
        if size.over_budget:
            sentences.append(f"{size.model}: {size.over_budget}.")
        if size.candidate is None:
            continue
        broken = [c for c in (*size.checks, *_arm_check(scene, size)) if not c.holds_at_point]
        if not broken:
            broken = [c for c in size.checks if not c.holds]
        said = _all_broken(broken) or "held, but a larger size failed first"
        sentences.append(f"{size.model}: {said}.")
    return sentences


# -- pieces -----------------------------------------------------------------------------------


def _standing(scene: Scene, pick: Size) -> str:
    """Where the size stands against the largest."""
    standing = [s for s in scene.verdict.sizes if s.candidate is not None]
    largest = standing[0]
    chance = (
        f" Probability that it is adequate: {scene.probability:.2f}."
        if scene.probability is not None
        else ""
    )
    if len(standing) == 1:
        return f"Only this size was compared.{chance}"
    if largest.model == pick.model:
        return f"It is the largest of {len(standing)} sizes.{chance}"
    check = next(c for c in pick.checks if c.claim == "task_score")
    assert check.uncertain is not None
    value = check.uncertain.value
    side = "below" if value < 0 else "above"
    bound = ""
    if check.bound is not None:
        how = "at most {} below" if check.bound < 0 else "at least {} above"
        said = how.format(words.amount(abs(check.bound), check.scorer))
        bound = f", and with {words.confidence(check.confidence)} confidence {said}"
    return (
        f"Its task score is {words.amount(abs(value), check.scorer)} {side} that of "
        f"{_size(largest)}{bound}; {words.amount(scene.question.delta, check.scorer)} (delta) "
        f"were allowed.{chance}"
    )


def _above(scene: Scene, pick: Size) -> list[str]:
    """Larger sizes that were skipped because they forget too much, and what skipping costs."""
    standing = [s for s in scene.verdict.sizes if s.candidate is not None]
    skipped = [s for s in standing[: standing.index(pick)] if not s.reached]
    said = [
        f"{s.model} itself does not qualify: {_all_broken(_limits_broken(s, scene.provisional))}."
        for s in skipped
    ]
    if skipped and any(c.bound is not None for c in pick.checks):
        said.append(
            "A size that is skipped for a limit that it breaks halves the error allowed below it, "
            f"here to {words.confidence(1 - pick.confidence)}; the chance to call any size "
            "adequate that is not stays below 10 % in all."
        )
    return said


def _below(scene: Scene, pick: Size) -> str:
    """Why nothing smaller."""
    standing = [s for s in scene.verdict.sizes if s.candidate is not None]
    smaller = standing[standing.index(pick) + 1 :]
    if not smaller:
        if any(s.unscored for s in scene.verdict.sizes):
            return ""  # they are told apart
        return "Nothing smaller was confirmed." if len(standing) > 1 and scene.confirmed else ""
    following = smaller[0]
    failing = [c for c in following.checks if not c.passes(scene.provisional)]
    failing = failing or _arm_check(scene, following)
    if not failing:
        return ""
    return f"The next smaller one, {_size(following)}, does not qualify: {_all_broken(failing)}."


def _forgetting(scene: Scene, pick: Size) -> str:
    who = pick.candidate
    assert who is not None
    drops = scene.measures.drops(who, scene.split)
    if not drops:
        return ""
    worst = max(drops, key=lambda d: d.value)
    scorer = worst.suite.info.scorer
    where = f"on {worst.suite.info.name}" + (
        f", the worst of {len(drops)} suites" if len(drops) > 1 else ""
    )
    text = f"Forgetting: {words.amount_interval(worst.uncertain, scorer)} {where}"
    limit = scene.question.max_forgetting
    if limit is None:
        return f"{text}; no limit was set."
    bounds = [c.bound for c in pick.checks if c.claim == "forgetting" and c.bound is not None]
    sure = words.confidence(pick.confidence)
    if not bounds:
        return f"{text} (limit {words.amount(limit, scorer)}, not tested for lack of replicates)."
    return (
        f"{text}; with {sure} confidence no suite drops by more than "
        f"{words.amount(max(bounds), scorer)} (limit {words.amount(limit, scorer)})."
    )


def _guards(scene: Scene, pick: Size) -> str:
    """What the guards say of the recommended candidate."""
    said = [c.told for c in pick.checks if c.told]
    if not said:
        return ""
    apart = "" if scene.probability is None else " The probability above leaves the guards out."
    return f"Guards: {'; '.join(said)}.{apart}"


def _limits_broken(size: Size, by_point: bool) -> list[Check]:
    claims: tuple[Claim, ...] = ("forgetting", "guard", "outcome")
    return [check for claim in claims for check in size.failing(claim, by_point)]


def _all_broken(checks: Sequence[Check]) -> str:
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
    return f"it {_against(check)}"


def _against(check: Check, named: bool = True) -> str:
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


def _open(check: Check) -> str:
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


def _arm_check(scene: Scene, size: Size) -> list[Check]:
    check = scene.verdict.against_arm.get(size.model)
    return [] if check is None or check.holds else [check]


def _replicated(scene: Scene, size: Size) -> bool:
    return scene.measures.seed_variance(size.model, scene.split, "task_score") is not None


def _limits(scene: Scene) -> list[str]:
    """What was not measured, and how often the test items were looked at."""
    said = [p[0].upper() + p[1:] for p in scene.problems]
    said = ["Note: forgetting not measured." if "forgetting not" in p.lower() else p for p in said]
    opened = scene.measures.table.sweep.test_opened
    if scene.split == "test" and opened > 1:
        said.append(
            f"These test items were opened {opened} times: each further look makes the figures "
            "more flattering."
        )
    return [*said, *scene.cautions]


def _size(size: Size) -> str:
    if size.parameters is None:
        return size.model
    return f"{size.model} ({human_count(size.parameters)} parameters)"


def _settings(scene: Scene, who: Configuration) -> str:
    return words.settings(who, _varying(scene.measures.table.configurations))


def _varying(configurations: Sequence[Configuration]) -> list[str]:
    return words.varying_params(configurations)


def _arm(arm: Configuration) -> str:
    if arm.kind == "base":
        return f"the untouched base {arm.model}"
    if arm.arm == "previous_round":
        return f"the model that {arm.model} started from"
    names = {
        "system_prompt": "with a system prompt",
        "few_shot": "with worked examples in the prompt",
    }
    how = names.get(arm.arm or "", "with retrieved context" if arm.arm == "context" else "")
    return f"the base {arm.model} {how}".strip()
