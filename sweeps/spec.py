"""Loads a sweep's spec: profile merged in, keys checked one by one and together.

The keys themselves are in `sweeps.spec_models`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepgain.core.config import STRENGTHS, Measures
from keepgain.core.errors import UserError
from keepgain.core.schema import parse
from keepgain.core.yaml_io import load_yaml
from keepgain.sweeps.presets import expand_presets
from keepgain.sweeps.profiles import merge, profile_lines
from keepgain.sweeps.spec_augment import refuse_wrong_parents
from keepgain.sweeps.spec_data import expand_data_spec, refuse_unknown_sources
from keepgain.sweeps.spec_guards import refuse_wrong_guards
from keepgain.sweeps.spec_models import SuiteSpec, SweepSpec
from keepgain.sweeps.spec_trainer import refuse_beside_trainer

if TYPE_CHECKING:
    from keepgain.sweeps.search.dimensions import Dimension
    from keepgain.sweeps.search.space import Space


@dataclass(frozen=True)
class LoadedSpec:
    """A spec with what its messages need."""

    spec: SweepSpec
    path: Path
    lines: dict[str, int]
    """Line number of every dotted key, those of the chosen profile included."""
    raw: dict[str, Any]
    """The mapping that `spec` was read from, profile merged in, as it is written."""
    profile: str | None = None

    def where(self, key: str) -> str:
        """`file:dotted.key (line n)` for a message."""
        return _where(self.path, self.lines, key)

    @contextmanager
    def lined(self, key: str) -> Iterator[None]:
        """Tells a fault that is found within with its line.

        Args:
            key: Where the fault names none.
        """
        try:
            yield
        except UserError as error:
            where = self.where(error.where or key)
            raise UserError(error.problem, where=where, hint=error.hint) from None

    @property
    def folder(self) -> Path:
        """Relative paths of the spec start here."""
        return self.path.resolve().parent


def load_spec(path: Path, profile: str | None = None) -> LoadedSpec:
    """Reads and checks a spec; every profile is checked, the chosen one is merged in.

    Raises:
        UserError: The first fault, as `file:dotted.key (line n): given, allowed, what to do`.
    """
    raw, lines = load_yaml(path)
    _refuse_other_keys(raw, "", path, lines)
    profiles = raw.pop("profiles", None)
    profiles = {} if profiles is None else profiles
    if not isinstance(profiles, dict) or not all(isinstance(p, dict) for p in profiles.values()):
        raise UserError(
            "profiles must map names to overrides.", where=_where(path, lines, "profiles")
        )
    if profile is not None and profile not in profiles:
        raise UserError(
            f"no profile '{profile}' in this spec.",
            where=str(path),
            hint=f"Known profiles: {', '.join(profiles)}." if profiles else "It has no profiles.",
        )
    loaded = _validate(path, raw, lines, None)
    for name, overrides in profiles.items():
        merged = _validate(path, merge(raw, overrides), profile_lines(lines, name), name)
        loaded = merged if name == profile else loaded
    return loaded


def spec_space(loaded: LoadedSpec) -> "Space":
    """The search space of the spec, checked against its data sources."""
    from keepgain.sweeps.search.space import parse_space

    file = str(loaded.path)
    try:
        return parse_space(loaded.spec.space, sources=list(loaded.spec.data), where=file)
    except UserError as error:  # the same fault, with its line
        key = (error.where or "").removeprefix(f"{file}:")
        raise UserError(error.problem, where=loaded.where(key), hint=error.hint) from None


def measures_of(name: str, suite: SuiteSpec) -> Measures | None:
    """What a suite measures: as given, else by its name."""
    if suite.measures is not None:
        return suite.measures
    by_name: tuple[Measures, ...] = ("gain", "forgetting")
    return next((m for m in by_name if name == m or name.startswith(f"{m}_")), None)


def splits_automatically(name: str, spec: SweepSpec) -> bool:
    """True if the source is split 80/10/10: said so, or a suite draws from its one file."""
    data = spec.data[name]
    drawn_from = any(suite.source == name for suite in spec.suites.values())
    return data.path is not None and (data.split == "auto" or drawn_from)


def _refuse_other_keys(value: Any, prefix: str, path: Path, lines: Mapping[str, int]) -> None:
    """Every key of a spec is text; YAML reads `1:` and `true:` as other things."""
    entries = enumerate(value) if isinstance(value, list) else ()
    for key, inner in value.items() if isinstance(value, dict) else entries:
        if isinstance(value, dict) and not isinstance(key, str):
            raise UserError(
                f"the key {key!r} is not text.",
                where=_where(path, lines, f"{prefix}{key}"),
                hint="Write a name there; a name that looks like a number goes in quotes.",
            )
        _refuse_other_keys(inner, f"{prefix}{key}.", path, lines)


def _where(path: Path, lines: Mapping[str, int], key: str) -> str:
    parts = key.split(".")
    found = next(
        (lines[k] for n in range(len(parts), 0, -1) if (k := ".".join(parts[:n])) in lines), None
    )
    return f"{path}:{key}" + ("" if found is None else f" (line {found})")


def _validate(
    path: Path, raw: dict[str, Any], lines: dict[str, int], profile: str | None
) -> LoadedSpec:
    expanded, lines = expand_presets(*expand_data_spec(raw, lines, path), str(path))
    spec = parse(SweepSpec, expanded, source=str(path), lines=lines)
    loaded = LoadedSpec(spec=spec, path=path, lines=lines, raw=raw, profile=profile)
    _cross_check(loaded)
    return loaded


def _cross_check(loaded: LoadedSpec) -> None:
    """What keys must satisfy together."""
    spec = loaded.spec
    for name, suite in spec.suites.items():
        _check_suite(loaded, name, suite)
    if not any(measures_of(n, s) == "gain" for n, s in spec.suites.items()):
        raise UserError(
            "no suite measures gain.",
            where=loaded.where("suites"),
            hint="Name one `gain`, or give it `measures: gain`.",
        )
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
    _check_scorers(loaded)
    _check_refusal_pairs(loaded)
    _check_proxies(loaded)
    space = spec_space(loaded)
    _check_batches(loaded, space)
    _check_retention(loaded)
    _check_deepspeed(loaded)
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
    gains = [n for n, s in loaded.spec.suites.items() if measures_of(n, s) == "gain"]
    with loaded.lined("question.guards"):
        refuse_wrong_guards(loaded.spec, gains)


def _check_trainer(loaded: LoadedSpec) -> None:
    with loaded.lined("trainer"):
        refuse_beside_trainer(loaded.spec)


def _check_scorers(loaded: LoadedSpec) -> None:
    """Scores of suites that measure the same are averaged, so they need one unit."""
    for name, suite in loaded.spec.suites.items():
        if suite.registered.behaviour_only and measures_of(name, suite) != "behaviour":
            raise UserError(
                f"{suite.scorer} is neither gain nor forgetting by itself.",
                where=loaded.where(f"suites.{name}.scorer"),
                hint="Give the suite `measures: behaviour`.",
            )
    for measures in ("gain", "forgetting"):
        suites = {n: s for n, s in loaded.spec.suites.items() if measures_of(n, s) == measures}
        first = next(iter(suites), None)
        for name, suite in suites.items():
            if first is not None and suite.metric_name != suites[first].metric_name:
                raise UserError(
                    f"suites '{first}' and '{name}' both measure {measures}, by "
                    f"{suites[first].metric_name} and by {suite.metric_name}; nothing can be "
                    "decided from a mean of both.",
                    where=loaded.where(f"suites.{name}.scorer"),
                    hint=f"Give them one scorer, or `measures: behaviour` to one that is only "
                    f"to be shown beside {measures}.",
                )


def _check_refusal_pairs(loaded: LoadedSpec) -> None:
    """A model that refuses everything is perfect on unsafe prompts, and one that refuses nothing on
    safe ones: neither suite is reported without the other."""
    suites = loaded.spec.suites
    for mine, other in (("over_refusal", "under_refusal"), ("under_refusal", "over_refusal")):
        found = next((n for n, s in suites.items() if s.scorer.startswith(mine)), None)
        if found is not None and not any(s.scorer.startswith(other) for s in suites.values()):
            scorer = suites[found].scorer.replace(mine, other)
            prompts = "unsafe" if other == "under_refusal" else "safe"
            raise UserError(
                f"'{found}' is scored by {suites[found].scorer}, and no suite by {scorer}.",
                where=loaded.where(f"suites.{found}.scorer"),
                hint=f"Add a suite of {prompts} prompts with `scorer: {scorer}`: neither figure "
                "means anything alone.",
            )


def _check_proxies(loaded: LoadedSpec) -> None:
    """A proxy stands in for a gain suite, and gains are averaged: so for all of them or for none,
    and by one scorer."""
    suites = loaded.spec.suites
    proxies = {n: s for n, s in suites.items() if s.proxy_for is not None}
    gains = [n for n, s in suites.items() if measures_of(n, s) == "gain"]
    replaced: dict[str, str] = {}
    for name, suite in proxies.items():
        where, of = loaded.where(f"suites.{name}.proxy_for"), str(suite.proxy_for)
        if of not in gains:
            known = of in suites
            raise UserError(
                f"suite '{of}' does not measure gain." if known else f"unknown suite '{of}'.",
                where=where,
                hint=f"Suites that measure gain: {', '.join(gains)}.",
            )
        if measures_of(name, suite) != "behaviour":
            raise UserError(
                f"suite '{name}' stands in for '{of}' and measures {measures_of(name, suite)}.",
                where=where,
                hint="Give it `measures: behaviour`: it only ranks trials at early rungs.",
            )
        if of in replaced:
            raise UserError(
                f"'{replaced[of]}' and '{name}' both stand in for '{of}'.",
                where=where,
                hint="Leave `proxy_for` out of one of them.",
            )
        replaced[of] = name
        if suite.metric_name != next(iter(proxies.values())).metric_name:
            raise UserError(
                f"proxies are scored by {next(iter(proxies.values())).scorer} and by "
                f"{suite.scorer}; trials cannot be ranked by a mean of both.",
                where=loaded.where(f"suites.{name}.scorer"),
                hint="Give all proxies one scorer.",
            )
    left = [n for n in gains if n not in replaced]
    if replaced and left:
        raise UserError(
            f"'{next(iter(replaced))}' has a proxy and '{left[0]}' has none; trials cannot be "
            "ranked by a mean of both.",
            where=loaded.where(f"suites.{left[0]}"),
            hint="Give every suite that measures gain a proxy, or none.",
        )


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


def _check_deepspeed(loaded: LoadedSpec) -> None:
    from keepgain.sweeps.spec_deepspeed import deepspeed_settings

    deepspeed_settings(loaded)


def _check_roles_and_methods(loaded: LoadedSpec, space: "Space") -> None:
    from keepgain.sweeps.methods import refuse_methods
    from keepgain.sweeps.shares import refuse_missing_roles
    from keepgain.sweeps.spec_filters import refuse_wrong_filters

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


def _whole_values(dimension: "Dimension") -> list[int]:
    from keepgain.sweeps.search.dimensions import Whole, ends

    if isinstance(dimension, Whole):
        return list(range(dimension.low, dimension.high + 1, dimension.step))
    return list(ends(dimension))


def _check_suite(loaded: LoadedSpec, name: str, suite: SuiteSpec) -> None:
    key = f"suites.{name}"
    if measures_of(name, suite) is None:
        raise UserError(
            f"what suite '{name}' measures is not said.",
            where=loaded.where(key),
            hint="Add `measures: gain`, `measures: forgetting` or `measures: behaviour`.",
        )
    if suite.source is None:
        return
    data = loaded.spec.data.get(suite.source)
    if data is not None and data.augment is not None:
        return  # refused by `_check_augmented`
    if data is None:
        raise UserError(
            f"unknown source '{suite.source}'.",
            where=loaded.where(f"{key}.from"),
            hint=f"Known sources: {', '.join(loaded.spec.data)}.",
        )
    if data.answers == "base":
        raise UserError(
            f"the rows of '{suite.source}' have no answers to score by: the base writes them.",
            where=loaded.where(f"{key}.from"),
            hint="Give the suite files of its own.",
        )
    if data.path is None and (data.validation is None or data.test is None):
        raise UserError(
            f"source '{suite.source}' has no validation and test files.",
            where=loaded.where(f"{key}.from"),
            hint=f"Add `validation` and `test` to data.{suite.source}, or give it one `path`.",
        )
