"""The paragraph of a decision where a size is recommended: why this one, and why no other."""

from keepgain.analysis import words
from keepgain.analysis.checks import Check, Claim
from keepgain.analysis.checks_text import all_broken
from keepgain.analysis.inference_text import best_said, luck_said
from keepgain.analysis.scene import Scene, arm_name, size_name
from keepgain.analysis.sizes import Size


def recommended(scene: Scene) -> list[str]:
    """The sentences, empty ones among them."""
    pick = scene.verdict.pick
    assert pick is not None and pick.candidate is not None
    who, m = pick.candidate, scene.measures
    task = m.estimates(who, scene.split)["task_score"]
    items = words.count(task.n_items, f"{scene.split} item")
    settings = words.settings(who, words.varying_params(m.table.configurations))
    sentences = [
        f"Use {size_name(pick)}, trial {who.trial_id} ({settings}): task score "
        f"{words.interval(task, scene.scorer)} on {items} over "
        f"{words.count(task.n_seeds, 'seed')}."
    ]
    sentences += [_standing(scene, pick), *_above(scene, pick), _below(scene, pick)]
    sentences += [
        f"{size_name(s)} was not judged: it has no {scene.split} scores ({s.unscored})."
        for s in scene.verdict.sizes
        if s.unscored
    ]
    sentences += [
        f"{size_name(s)} was not offered: {s.over_budget}."
        for s in scene.verdict.sizes
        if s.over_budget
    ]
    sentences += [_forgetting(scene, pick), _guards(scene, pick)]
    arm = scene.verdict.against_arm.get(pick.model)
    if arm is not None and arm.uncertain is not None and scene.verdict.arm is not None:
        sentences.append(
            f"It beats the best alternative to fine-tuning, {arm_name(scene.verdict.arm)}, by "
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
        f"{size_name(largest)}{bound}; {words.amount(scene.question.delta, check.scorer)} (delta) "
        f"were allowed.{chance}"
    )


def _above(scene: Scene, pick: Size) -> list[str]:
    """Larger sizes that were skipped because they forget too much, and what skipping costs."""
    standing = [s for s in scene.verdict.sizes if s.candidate is not None]
    skipped = [s for s in standing[: standing.index(pick)] if not s.reached]
    said = [
        f"{s.model} itself does not qualify: {all_broken(_limits_broken(s, scene.provisional))}."
        for s in skipped
    ]
    if skipped and any(c.bound is not None for c in pick.checks):
        said.append(
            "A size that is skipped for a limit that it breaks halves the error allowed below it, "
            f"here to {words.confidence(1 - pick.confidence)}; the chance to call any size "
            "adequate that is not stays below 10 % in all."
        )
    return said


def _limits_broken(size: Size, by_point: bool) -> list[Check]:
    claims: tuple[Claim, ...] = ("forgetting", "guard", "outcome")
    return [check for claim in claims for check in size.failing(claim, by_point)]


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
    failing = failing or scene.arm_not_beaten(following)
    if not failing:
        return ""
    return f"The next smaller one, {size_name(following)}, does not qualify: {all_broken(failing)}."


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
