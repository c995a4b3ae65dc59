"""What a search space asks of the data and the models at its extremes, and what it cannot have."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from keepgain.core.config import SourceRef
from keepgain.core.errors import UserError
from keepgain.sweeps.base_models import BaseModel
from keepgain.sweeps.gates.repeats import Case
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.search.dimensions import ends
from keepgain.sweeps.search.mixture import MIXTURE
from keepgain.sweeps.search.searchable import ALL_LINEAR, FILTER, REPEAT_LIMIT, split_targets
from keepgain.sweeps.search.space import Space
from keepgain.sweeps.shares import SHARES


def refuse_misfits(
    loaded: LoadedSpec,
    space: Space,
    refs: Sequence[SourceRef],
    models: Sequence[BaseModel],
    filtered: Collection[SourceRef] = (),
) -> None:
    """Refuses subsets larger than a task source or than what a filter leaves of one, and adapters
    on modules that a model lacks.

    Raises:
        UserError: As `file:key (line n)`, with what there is.
    """
    for p in space.parameters:
        if p.name == "rows":
            _refuse_rows(max(ends(p.dimension)), refs, filtered, loaded.where("space.rows"))
        if p.name == "lora.targets":
            for text in ends(p.dimension):
                _refuse_targets(split_targets(text), models, loaded.where("space.lora.targets"))
    training = loaded.spec.training
    if not any(p.name == "lora.targets" for p in space.parameters):
        where = loaded.where("training.lora.targets")
        _refuse_targets(training.lora.targets, models, where)
    given = training.peft.options.get("target_modules") if training.peft else None
    if isinstance(given, list):
        names = tuple(str(name) for name in given)
        _refuse_targets(names, models, loaded.where("training.peft.target_modules"))


def _refuse_rows(
    most: int, refs: Sequence[SourceRef], filtered: Collection[SourceRef], where: str
) -> None:
    tasks = [r for r in refs if r.role == "task"]
    if not tasks:
        raise UserError(
            "`rows` counts training rows of the task, and no source has the role task.",
            where=where,
            hint="Leave it out, or give a source the role task.",
        )
    least = min([*tasks, *(r for r in filtered if r.role == "task")], key=lambda r: r.rows)
    if most > least.rows:
        what = "training rows" if least in tasks else "training rows left by a filter"
        raise UserError(
            f"{most} rows are asked for, and '{least.name}' has {least.rows} {what}.",
            where=where,
            hint=f"At most {least.rows}, which is all of them.",
        )


def _refuse_targets(
    targets: str | tuple[str, ...], models: Sequence[BaseModel], where: str
) -> None:
    for target in () if targets == ALL_LINEAR else targets:
        for model in models:
            modules = [n.removesuffix(".weight") for n, _ in model.parameter_shapes]
            if not any(m == target or m.endswith(f".{target}") for m in modules):
                last = sorted({m.rpartition(".")[2] for m in modules})
                raise UserError(
                    f"{model.ref.name} has no module '{target}'.",
                    where=where,
                    hint=f"Its modules: {', '.join(last)}.",
                )


def extreme_cases(
    space: Space,
    shares_of: Callable[[Mapping[str, Any]], dict[str, float]],
    filtered_of: Callable[[Mapping[str, Any]], Mapping[str, tuple[int, float]]],
    budget: int,
) -> Iterator[Case]:
    """Configurations in which some source is drawn most often: every corner of what says so.

    Conditions between these parameters are not looked at, so a corner may be one that no trial
    reaches.

    Args:
        space: The search space.
        shares_of: Settings of a trial → its shares.
        filtered_of: Settings of a trial → sources that a filter makes smaller, with the rows and
            tokens that are left.
        budget: Of a trial whose `duration` is 1.
    """
    mixtures = [(None, {})] if space.mixture is None else _mixture_corners(space)
    for params in corners(space):
        for source, shares in mixtures:
            setting = [described(params)] if params else []
            setting += [f"most of '{source}'"] if source else []
            yield Case(
                setting=", ".join(setting),
                shares=shares_of(params | shares),
                budget=max(1, round(budget * params.get("duration", 1.0))),
                rows=params.get("rows"),
                filtered=filtered_of(params),
            )


def corners(space: Space) -> Iterator[dict[str, Any]]:
    """Every combination of the extremes of what says how often rows are drawn, mixtures apart."""
    axes: list[list[tuple[str, Any] | None]] = []
    for p in space.parameters:
        values = ends(p.dimension)
        if p.name in ("duration", "rows", *SHARES) or p.name.startswith(f"{REPEAT_LIMIT}."):
            values = tuple(sorted({min(values), max(values)}))
        elif not p.name.startswith(f"{FILTER}."):
            continue
        axes.append([*((p.name, v) for v in values), *([None] if p.when else [])])
    for chosen in product(*axes):
        yield dict(entry for entry in chosen if entry is not None)


def described(params: Mapping[str, Any]) -> str:
    """E.g. `rows 250, duration 2`."""
    return ", ".join(f"{n} {v if isinstance(v, str) else f'{v:g}'}" for n, v in params.items())


def _mixture_corners(space: Space) -> list[tuple[str | None, dict[str, float]]]:
    assert space.mixture is not None
    names = space.mixture.sources
    return [
        (name, {f"{MIXTURE}.{n}": s for n, s in space.mixture.corner(name).items()})
        for name in names
    ]
