"""From a spec to its stages: generations, finalists, and what each stage takes."""

from collections.abc import Sequence

from keepgain.core.status import Stage
from keepgain.sweeps.plan.reach import Generation
from keepgain.sweeps.plan.stages import (
    SearchShape,
    StagePlan,
    full_runs,
    scorings,
    search_plan,
)
from keepgain.sweeps.plan.trial import ModelPlan
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.search.design import Design, make_design
from keepgain.sweeps.search.objectives import directions
from keepgain.sweeps.search.space import Space


def trials_of(prepared: Prepared) -> dict[str, int]:
    """Base model → trials of the search."""
    return prepared.trials


def search_shape(prepared: Prepared, space: Space) -> SearchShape:
    """How the search goes, as far as the spec fixes it."""
    search = prepared.spec.search
    stops = search.stopping.enabled and len(prepared.rungs) > 1
    suites = prepared.score_suites("validation")
    design = make_design(
        space,
        models=[m.ref.name for m in prepared.models],
        trials=trials_of(prepared),
        objectives=directions(suites),
        constraints=(),
        sampler=search.sampler,
        seed=search.seed,
        mode=search.mode,
        generation_size=search.generation_size,
        rungs=len(prepared.rungs),
        quasi_random_at_least=search.stopping.audit_trials if stops else 0,
        configs=search.configs or (),
    )
    return SearchShape(
        generations={
            m: _generations(design, m, search.stopping.audit_trials) for m in design.trials
        },
        rungs=tuple(r / prepared.budget for r in prepared.rungs),
        keep=search.stopping.keep if stops else None,
        waits=search.mode == "generations",
        interpolated=len(prepared.spec.training.interpolate),
    )


def _generations(design: Design, model: str, audit_trials: int) -> tuple[Generation, ...]:
    """Audits are the first quasi-random draws, and those are the first draws."""
    audits = min(audit_trials, design.quasi_random(model))
    made: list[Generation] = []
    before = 0
    while before < design.trials[model]:
        due = design.due(model, len(made))
        made.append(Generation(due - before, min(due, audits) - min(before, audits)))
        before = due
    return tuple(made)


def stages_of(
    prepared: Prepared, space: Space, models: Sequence[ModelPlan], slots: int
) -> list[StagePlan]:
    """All stages, in order."""
    shape, confirm = search_shape(prepared, space), prepared.spec.confirm
    # A tuned model that is tuned on is a base, and the original base stands beside it.
    base = {m.ref.name: 1 + (m.reference is not None) + len(prepared.arms) for m in prepared.models}

    def confirmed(seeds: int, *, rival: bool) -> dict[str, int]:
        chosen = finalists_of(prepared, models, rival=rival)
        return {m: n * seeds for m, n in chosen.items()}

    bases = scorings(models, base, slots)
    ends = [confirmed(confirm.first, rival=False), confirmed(confirm.most, rival=True)]
    first, last = (full_runs(models, runs, shape.rungs, slots) for runs in ends)
    served = (_served(prepared, models, rival=rival) for rival in (False, True))
    test = [
        scorings(models, {m: n + base[m] + s[m] for m, n in r.items()}, slots)
        for r, s in zip(ends, served, strict=True)
    ]
    return [
        StagePlan(stage=Stage.BASE, least=bases, expected=bases, most=bases),
        search_plan(models, shape, slots),
        StagePlan(stage=Stage.CONFIRM, least=first, expected=last, most=last),
        StagePlan(stage=Stage.TEST, least=test[0], expected=test[1], most=test[1]),
    ]


def _served(prepared: Prepared, models: Sequence[ModelPlan], *, rival: bool) -> dict[str, int]:
    """Scorings of models as served: a finalist's first seed and the base, in each form that the
    spec does not compute in anyway."""
    dtype = prepared.spec.training.dtype
    forms = [f for f in prepared.spec.serve if (f, dtype) != ("bf16", "bfloat16")]
    chosen = finalists_of(prepared, models, rival=rival)
    return {m: (n + 1) * len(forms) for m, n in chosen.items()}


def finalists_of(prepared: Prepared, models: Sequence[ModelPlan], *, rival: bool) -> dict[str, int]:
    """Finalists are dealt over the models in turn.

    Args:
        rival: Whether the best random trial comes on top, taken to be of the dearest model; it may
            be among the finalists anyway.
    """
    count = max(prepared.spec.confirm.finalists, len(models))
    each, over = divmod(count, len(models))
    dealt = {m.model: each + (i < over) for i, m in enumerate(models)}
    dealt[max(models, key=lambda m: m.train_seconds).model] += rival
    trials = trials_of(prepared)
    return {m: min(n, trials[m]) for m, n in dealt.items()}
