"""What a search space asks of the data and the models at its extremes, and what it cannot have."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from keepgain.core.config import SourceRef
from keepgain.core.errors import UserError
from keepgain.sweeps.base_models import BaseModel
from keepgain.sweeps.gates.repeats import Case
from keepgain.sweeps.search.dimensions import ends
from keepgain.sweeps.search.mixture import MIXTURE
from keepgain.sweeps.search.searchable import ALL_LINEAR, split_targets
from keepgain.sweeps.search.space import Space
from keepgain.sweeps.shares import SHARES, source_shares
from keepgain.sweeps.spec import LoadedSpec


def refuse_misfits(
    loaded: LoadedSpec, space: Space, refs: Sequence[SourceRef], models: Sequence[BaseModel]
) -> None:
    """Refuses subsets larger than a task source, and adapters on modules that a model lacks.

    Raises:
        UserError: As `file:key (line n)`, with what there is.
    """
    for p in space.parameters:
        if p.name == "rows":
            _refuse_rows(max(ends(p.dimension)), refs, loaded.where("space.rows"))
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


def _refuse_rows(most: int, refs: Sequence[SourceRef], where: str) -> None:
    tasks = [r for r in refs if r.role == "task"]
    if not tasks:
        raise UserError(
            "`rows` counts training rows of the task, and no source has the role task.",
            where=where,
            hint="Leave it out, or give a source the role task.",
        )
    least = min(tasks, key=lambda r: r.rows)
    if most > least.rows:
        raise UserError(
            f"{most} rows are asked for, and '{least.name}' has {least.rows} training rows.",
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
    refs: Sequence[SourceRef],
    given: Mapping[str, float] | None,
    budget: int,
) -> Iterator[Case]:
    """Configurations in which some source is drawn most often: every corner of what says so.

    Conditions between these parameters are not looked at, so a corner may be one that no trial
    reaches.

    Args:
        space: The search space.
        refs: All sources.
        given: `training.mixture`.
        budget: Of a trial whose `duration` is 1.
    """
    axes: list[list[tuple[str, Any] | None]] = []
    for p in space.parameters:
        if p.name in ("duration", "rows", *SHARES):
            values = ends(p.dimension)
            corners = sorted({min(values), max(values)})
            axes.append([*((p.name, v) for v in corners), *([None] if p.when else [])])
    mixtures = [(None, {})] if space.mixture is None else _corners(space)
    for chosen in product(*axes):
        params = dict(entry for entry in chosen if entry is not None)
        for source, shares in mixtures:
            setting = [f"{name} {value:g}" for name, value in params.items()]
            setting += [f"most of '{source}'"] if source else []
            yield Case(
                setting=", ".join(setting),
                shares=source_shares(params | shares, refs, given),
                budget=max(1, round(budget * params.get("duration", 1.0))),
                rows=params.get("rows"),
            )


def _corners(space: Space) -> list[tuple[str | None, dict[str, float]]]:
    assert space.mixture is not None
    names = space.mixture.sources
    return [
        (name, {f"{MIXTURE}.{n}": s for n, s in space.mixture.corner(name).items()})
        for name in names
    ]
