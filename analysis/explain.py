"""The paragraph of a decision, in plain words, made from the same figures as the tables.

One teller an outcome; that of a recommendation is `recommended_text`.
"""

from keepgain.analysis import words
from keepgain.analysis.checks_text import against, all_broken, not_settled
from keepgain.analysis.recommended_text import recommended
from keepgain.analysis.scene import Scene, arm_name, size_name
from keepgain.analysis.sizes import Size, lost_level


def explain(scene: Scene) -> str:
    """The decision, what it rests on, and what was not measured."""
    tellers = {
        "recommended": recommended,
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
            parts.append(f"{size.model} scores more, but {all_broken(broken)}")
        else:
            parts.append(f"{size.model} {against(check, named=False)}")
    extra = (
        f" Fine-tuning would have to add more than "
        f"{words.amount(scene.question.min_gain, scene.scorer)} (min_gain)."
        if scene.question.min_gain > 0
        else ""
    )
    return [
        f"Do not fine-tune: {arm_name(arm)} scores {words.interval(level, scene.scorer)} on "
        f"{words.count(level.n_items, f'{scene.split} item')}, and no tuned candidate that "
        f"keeps the limits beats it: {'; '.join(parts)}.{extra}"
    ]


def _not_resolved(scene: Scene) -> list[str]:
    standing = [s for s in scene.verdict.sizes if s.candidate is not None]
    if not standing:
        return [f"Not resolved: no complete trial to decide on ({scene.split} split)."]
    if lost := lost_level(scene.verdict.sizes):
        return [
            f"Not resolved: {size_name(lost)} is the largest confirmed size and has no "
            f"{scene.split} scores ({lost.unscored}), so there is no level that smaller sizes "
            "must hold."
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
        checks = [*size.checks, *scene.arm_not_beaten(size)]
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
            sentences.append(f"{size.model}: {'; '.join(not_settled(c) for c in failing)}.")
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
        broken = [c for c in (*size.checks, *scene.arm_not_beaten(size)) if not c.holds_at_point]
        if not broken:
            broken = [c for c in size.checks if not c.holds]
        said = all_broken(broken) or "held, but a larger size failed first"
        sentences.append(f"{size.model}: {said}.")
    return sentences


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
