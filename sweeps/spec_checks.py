"""What the keys of a spec must satisfy together; what its suites must is in
`sweeps.spec_suite_checks`.

What reads the search space is imported when it is used: it leads to optuna.
"""

from typing import TYPE_CHECKING

from keepgain.core.config import STRENGTHS
from keepgain.core.errors import UserError
from keepgain.sweeps.loaded_spec import LoadedSpec, spec_space
from keepgain.sweeps.spec_augment import refuse_wrong_parents
from keepgain.sweeps.spec_data import refuse_unknown_sources
from keepgain.sweeps.spec_deepspeed import deepspeed_settings
from keepgain.sweeps.spec_filters import refuse_wrong_filters
from keepgain.sweeps.spec_guards import refuse_wrong_guards
from keepgain.sweeps.spec_suite_checks import check_each_suite, check_suites_together
from keepgain.sweeps.spec_suites import gain_suites
from keepgain.sweeps.spec_trainer import refuse_beside_trainer

if TYPE_CHECKING:
    from keepgain.sweeps.search.dimensions import Dimension
    from keepgain.sweeps.search.space import Space


def cross_check(loaded: LoadedSpec) -> None:
    """What keys must satisfy together.

    Raises:
        UserError: The first fault, with its line.
    """
    spec = loaded.spec
    check_each_suite(loaded)
    for name in spec.training.mixture or {}:
        if name not in spec.data:
            raise UserError(
                f"unknown source '{name}'.",
                where=loaded.where(f"training.mixture.{name}"),
                hint=f"Known sources: {', '.join(spec.data)}.",
            )
    if "learning_rate" not in spec.space and spec.training.learning_rate is None:
        raise UserError(
            "no learning_rate, neither here nor in `training`.",
            where=loaded.where("space"),
            hint="Add e.g. `learning_rate: {log: [1e-5, 1e-3]}`.",
        )
    if spec.question.cost.startswith("usd") and spec.prices.gpu_hour_usd is None:
        raise UserError(
            f"cost {spec.question.cost} needs a price.",
            where=loaded.where("question.cost"),
            hint="Add `prices: {gpu_hour_usd: ...}`, or order by `cost: parameters`.",
        )
    for name in spec.question.max_cost:
        if name.startswith("usd") and spec.prices.gpu_hour_usd is None:
            raise UserError(
                f"a limit on {name} needs a price.",
                where=loaded.where(f"question.max_cost.{name}"),
                hint="Add `prices: {gpu_hour_usd: ...}`, or limit another cost.",
            )
    if spec.limits.usd is not None and spec.prices.gpu_hour_usd is None:
        raise UserError(
            "a limit in money needs a price.",
            where=loaded.where("limits.usd"),
            hint="Add `prices: {gpu_hour_usd: ...}`, or limit `gpu_hours`.",
        )
    _check_data_spec(loaded)
    _check_augmented(loaded)
    _check_guards(loaded)
    _check_trainer(loaded)
    check_suites_together(loaded)
    space = spec_space(loaded)
    _check_batches(loaded, space)
    _check_retention(loaded)
    deepspeed_settings(loaded)
    if "balance_strength" in spec.space and spec.training.balance_by is None:
        raise UserError(
            "balance_strength does nothing without `training.balance_by`.",
            where=loaded.where("space.balance_strength"),
            hint="Set `training: {balance_by: answer}` (or group).",
        )
    _check_roles_and_methods(loaded, space)
    _check_sampler(loaded, space)


def _check_data_spec(loaded: LoadedSpec) -> None:
    data = loaded.spec.data
    if (rules := loaded.spec.data_spec) is None:
        return
    with loaded.lined("data_spec"):
        of_base = [name for name, source in data.items() if source.answers == "base"]
        refuse_unknown_sources(rules, {n: s.role for n, s in data.items()}, of_base)


def _check_augmented(loaded: LoadedSpec) -> None:
    with loaded.lined("data"):
        refuse_wrong_parents(loaded.spec)


def _check_guards(loaded: LoadedSpec) -> None:
    gains = gain_suites(loaded.spec.suites)
    with loaded.lined("question.guards"):
        refuse_wrong_guards(loaded.spec, gains)


def _check_trainer(loaded: LoadedSpec) -> None:
    with loaded.lined("trainer"):
        refuse_beside_trainer(loaded.spec)


def _check_batches(loaded: LoadedSpec, space: "Space") -> None:
    """Ranks have equally many rows. DeepSpeed accumulates whole micro-batches only; torch takes a
    smaller last one."""
    training, ranks = loaded.spec.training, loaded.spec.resources.workers_per_trial
    if ranks > 1 and training.engine != "deepspeed":
        raise UserError(
            f"{ranks} workers of a trial need `engine: deepspeed`.",
            where=loaded.where("resources.workers_per_trial"),
            hint="Set `training.engine: deepspeed`; with `zero_stage: 0` every worker holds all.",
        )
    searched = next((p for p in space.parameters if p.name == "batch_size"), None)
    sizes = [] if searched is None else _whole_values(searched.dimension)
    if searched is None or searched.when:
        sizes = [training.batch_size, *sizes]
    where = "training.batch_size" if searched is None else "space.batch_size"
    micro = training.micro_batch_size if training.engine == "deepspeed" else None
    for size in sizes:
        if size % ranks:
            raise UserError(
                f"batch_size {size} cannot be split evenly over {ranks} workers of a trial.",
                where=loaded.where(where),
                hint=f"E.g. batch_size {ranks * max(round(size / ranks), 1)}.",
            )
        rows = size // ranks
        if micro is not None and rows % min(micro, rows):
            of = "batch_size" if ranks == 1 else f"a {ranks}th part of batch_size"
            raise UserError(
                f"{of} {size} is no multiple of micro_batch_size {micro}, as "
                "`engine: deepspeed` needs.",
                where=loaded.where(
                    "training.micro_batch_size" if searched is None else "space.batch_size"
                ),
                hint=f"E.g. batch_size {ranks * micro * max(round(rows / micro), 1)}.",
            )


def _whole_values(dimension: "Dimension") -> list[int]:
    from keepgain.sweeps.search.dimensions import Whole, ends

    if isinstance(dimension, Whole):
        return list(range(dimension.low, dimension.high + 1, dimension.step))
    return list(ends(dimension))


def _check_retention(loaded: LoadedSpec) -> None:
    """What `trainers.retention` refuses of every trial is refused before any."""
    spec, training = loaded.spec, loaded.spec.training
    for name in STRENGTHS:
        searched = f"retention.{name}" in spec.space
        if training.zero_stage == 3 and (searched or getattr(training.retention, name) > 0):
            raise UserError(
                f"retention.{name} cannot work under ZeRO-3: no process holds the weights whole.",
                where=loaded.where(f"{'space' if searched else 'training'}.retention.{name}"),
                hint="Use zero_stage 0 to 2, or keep what the base knows by replay.",
            )


def _check_roles_and_methods(loaded: LoadedSpec, space: "Space") -> None:
    from keepgain.sweeps.methods import refuse_methods
    from keepgain.sweeps.shares import refuse_missing_roles

    with loaded.lined("space"):
        refuse_wrong_filters(loaded.spec, space)
        refuse_missing_roles(space, {name: data.role for name, data in loaded.spec.data.items()})
        refuse_methods(loaded.spec, space)


def _check_sampler(loaded: LoadedSpec, space: "Space") -> None:
    from keepgain.sweeps.search.points import check_points
    from keepgain.sweeps.search.storage import check_url

    search = loaded.spec.search
    check_points(space, search.sampler, search.configs, loaded.where)
    if search.storage is not None:
        check_url(search.storage, loaded.where("search.storage"), connect=False)
