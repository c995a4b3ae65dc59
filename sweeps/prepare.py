"""From a spec to everything that trials are made of: models, rows, budget, configurations, id."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from keepgain.core.config import (
    LORA_FAMILY,
    BudgetUnit,
    LoraSettings,
    RetentionSettings,
    Runtime,
    ScoreConfig,
    SelfReplay,
    SourceRef,
    Split,
    SuiteRef,
    TrainerRef,
    TrialConfig,
    identity,
)
from keepgain.core.identity import sweep_id
from keepgain.core.object_store import check_place
from keepgain.core.record import ModelInfo, SuiteInfo
from keepgain.sweeps.arms import PREVIOUS_ROUND, ArmSpec, reference_arms
from keepgain.sweeps.base_models import BaseModel, find_models
from keepgain.sweeps.budget import count_tokens, plan_budget
from keepgain.sweeps.filters import Variants, filtered_sources, store_filtered
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.tokens import FolderTokenizer, TokenStats
from keepgain.sweeps.loaded_spec import LoadedSpec, spec_space
from keepgain.sweeps.located import store_rows
from keepgain.sweeps.loss_turns import refuse_hidden_turns
from keepgain.sweeps.repeat_limits import Size, limited_shares, refuse_impossible
from keepgain.sweeps.row_sets import row_sets
from keepgain.sweeps.search.searchable import FILTER, NO_FILTER, REPEAT_LIMIT, split_targets
from keepgain.sweeps.shares import SHARES, source_shares
from keepgain.sweeps.sources import SPLITS, Source, read_sources, source_ref
from keepgain.sweeps.space_fit import refuse_misfits
from keepgain.sweeps.spec_deepspeed import deepspeed_settings
from keepgain.sweeps.spec_suite_checks import refuse_mixed_tokenizers
from keepgain.sweeps.spec_sweep import SweepSpec
from keepgain.sweeps.spec_trainer import trainer_ref
from keepgain.sweeps.suites import Suite, read_suites, suite_ref

_FROM_TRAINING = (
    "schedule",
    "warmup_share",
    "decay_share",
    "weight_decay",
    "max_grad_norm",
    "batch_size",
    "max_length",
    "loss",
    "dropout",
    "label_smoothing",
    "neftune_alpha",
    "group_dro_step",
    "balance_by",
    "balance_strength",
)
"""Fields that `training` and `TrialConfig` share and the space may vary."""


@dataclass(frozen=True)
class Prepared:
    """A spec with its models and data found, read, split and counted."""

    loaded: LoadedSpec
    models: tuple[BaseModel, ...]
    sources: Mapping[str, Source]
    suites: Mapping[str, Suite]
    source_refs: tuple[SourceRef, ...]
    suite_refs: Mapping[Split, tuple[SuiteRef, ...]]
    token_stats: Mapping[tuple[str, str], TokenStats]
    """(model name, file label) → lengths; labels are `SOURCE/train`, `SUITE/validation`, ..."""
    one_tokenizer: bool
    """All models give every row the same tokens."""
    budget: int
    budget_unit: BudgetUnit
    arms: tuple[ArmSpec, ...] = field(default=())
    """Reference arms besides the base."""
    trainer: TrainerRef | None = None
    """Of the user's own; None: Keepgain trains."""
    variants: Variants = field(default_factory=dict)
    """Of the filters that trials may choose."""
    filtered_refs: Mapping[tuple[str, str], SourceRef] = field(default_factory=dict)
    """(source, filter) → what is left of the source."""

    @property
    def spec(self) -> SweepSpec:
        """The user's spec."""
        return self.loaded.spec

    @property
    def model_infos(self) -> tuple[ModelInfo, ...]:
        """For the record."""
        return tuple(
            ModelInfo(name=m.ref.name, digest=m.ref.digest, parameters=m.parameters)
            for m in self.models
        )

    @property
    def suite_infos(self) -> tuple[SuiteInfo, ...]:
        """For the record."""
        return tuple(
            SuiteInfo(
                name=r.name,
                measures=r.measures,
                scorer=r.scorer,
                chance=self.suites[r.name].chance,
                proxy_for=self.spec.suites[r.name].proxy_for,
                capability=self.spec.suites[r.name].capability,
                recovers=(again := self.spec.suites[r.name].recover) and again.of,
                digests={
                    split: other.digest
                    for split, refs in self.suite_refs.items()
                    for other in refs
                    if other.name == r.name
                },
            )
            for r in self.suite_refs["validation"]
        )

    @cached_property
    def runtime(self) -> Runtime:
        """How every run is carried out."""
        training, resources = self.spec.training, self.spec.resources
        return Runtime(
            engine=training.engine,
            zero_stage=training.zero_stage,
            world_size=resources.workers_per_trial,
            micro_batch_size=training.micro_batch_size,
            packing=training.packing,
            device=resources.device,
            dtype=training.dtype,
            scoring_batch_size=training.scoring_batch_size,
            attention=training.attention,
            gradient_checkpointing=training.gradient_checkpointing,
            compile=training.compile,
            deepspeed=deepspeed_settings(self.loaded),
        )

    @property
    def trials(self) -> dict[str, int]:
        """Base model → trials of the search: its own number, or as many as are listed, or the
        number for all."""
        search = self.spec.search
        each = len(search.configs) if search.configs else search.trials_per_model
        own = [m.trials for m in self.spec.models]
        return {m.ref.name: n or each for m, n in zip(self.models, own, strict=True)}

    @property
    def rungs(self) -> tuple[int, ...]:
        """Amounts of the budget at which trials are scored; the last one is the budget."""
        return self.rungs_of(self.budget)

    def rungs_of(self, budget: int) -> tuple[int, ...]:
        """As `rungs`, of a trial with a budget of its own (`duration`)."""
        amounts = {max(1, round(budget * share)) for share in self.spec.training.rungs}
        return tuple(sorted(amounts))

    @property
    def row_sets(self) -> tuple[RowSet, ...]:
        """All rows with their places: what the gates look at."""
        return row_sets(self.sources, self.suites)

    def model(self, name: str) -> BaseModel:
        """Raises KeyError for a name that the spec does not have."""
        return next(m for m in self.models if m.ref.name == name)

    def score_suites(self, split: Split) -> tuple[SuiteRef, ...]:
        """What a run is scored on."""
        return self.suite_refs[split]

    def sources_of(self, params: Mapping[str, Any]) -> tuple[SourceRef, ...]:
        """All sources, with the rows that the filters of a trial leave."""
        chosen = ((r.name, params.get(f"{FILTER}.{r.name}", NO_FILTER)) for r in self.source_refs)
        return tuple(
            self.filtered_refs.get(key, ref)
            for key, ref in zip(chosen, self.source_refs, strict=True)
        )

    def filtered_sizes(self, model_name: str, params: Mapping[str, Any]) -> dict[str, Size]:
        """Rows and tokens of the sources that a trial filters."""
        return {
            key[0]: Size(self.filtered_refs[key].rows, self.token_stats[model_name, v.label].tokens)
            for key, v in self.variants.items()
            if params.get(f"{FILTER}.{key[0]}") == key[1]
        }

    def shares_of(self, model_name: str, params: Mapping[str, Any]) -> dict[str, float]:
        """Shares of the training tokens, limits on repeats kept.

        What the settings say of shares is by the sources' own rows, so that filters change the rows
        alone.

        Raises:
            UserError: No shares keep the limits.
        """
        shares = source_shares(params, self.source_refs, self.spec.training.mixture)
        limits = _take(dict(params), f"{REPEAT_LIMIT}.")
        if not limits:
            return shares
        sizes = {
            r.name: Size(r.rows, self.token_stats[model_name, f"{r.name}/train"].tokens)
            for r in self.source_refs
        } | self.filtered_sizes(model_name, params)
        if (rows := params.get("rows")) is not None:
            for ref in self.source_refs:
                if ref.role == "task":
                    whole = sizes[ref.name]
                    sizes[ref.name] = Size(rows, whole.tokens * rows / whole.rows)
        budget = max(1, round(self.budget * params.get("duration", 1.0)))
        return limited_shares(shares, limits, sizes, budget, self.budget_unit)

    def trial_config(self, model_name: str, params: Mapping[str, Any]) -> TrialConfig:
        """The configuration that flat parameters of the space stand for.

        Args:
            model_name: As the spec names it.
            params: E.g. `method`, `learning_rate`, `lora.rank`, `mixture.tickets`; what is absent
                comes from `training`. `interpolation` is of `sweeps.candidates`.
        """
        training = self.spec.training
        rest = dict(params)
        shares, sources = self.shares_of(model_name, params), self.sources_of(params)
        for prefix in ("mixture", FILTER, REPEAT_LIMIT):
            _take(rest, f"{prefix}.")
        for name in SHARES:
            rest.pop(name, None)
        lora = _take(rest, "lora.")
        settings = _take(rest, "trainer.")
        if "targets" in lora:
            lora["targets"] = split_targets(lora["targets"])
        retention = training.retention.model_dump() | _take(rest, "retention.")
        budget = max(1, round(self.budget * rest.pop("duration", 1.0)))
        rows = rest.pop("rows", None)
        interpolation = rest.pop("interpolation", 1.0)
        method = rest.pop("method", training.method)
        learning_rate = rest.pop("learning_rate", training.learning_rate)
        common = {name: rest.pop(name, getattr(training, name)) for name in _FROM_TRAINING}
        assert not rest, f"parameters that no trial has: {sorted(rest)}"
        return TrialConfig(
            model=self.model(model_name).ref,
            method=method,
            lora=LoraSettings(**(training.lora.model_dump() | lora))
            if method in LORA_FAMILY
            else None,
            peft=training.peft if method == "peft" else None,
            learning_rate=learning_rate,
            **common,
            retention=RetentionSettings(**retention),
            budget=budget,
            budget_unit=self.budget_unit,
            rungs=self.rungs_of(budget),
            early_stopping=training.early_stopping,
            mixture=shares,
            sources=tuple(s for s in sources if s.name in shares),
            rows=rows,
            suites=self.score_suites("validation"),
            trainer=self.trainer
            and self.trainer.model_copy(update={"settings": self.trainer.settings | settings}),
            interpolation=interpolation,
            runtime=self.runtime,
        )

    def arms_of(self, model_name: str) -> tuple[ArmSpec, ...]:
        """Reference arms of a model; the previous round where it starts from an earlier sweep."""
        previous = (PREVIOUS_ROUND,) if self.model(model_name).reference else ()
        return (*previous, *self.arms)

    def base_config(
        self, model_name: str, arm: ArmSpec | None = None, split: Split = "validation"
    ) -> ScoreConfig:
        """The base of a model, or one of its reference arms, to be scored without training.

        The base is what gain and forgetting are measured against: of a model that an earlier sweep
        tuned, the original one. Arms are of the model itself.
        """
        model = self.model(model_name)
        begins = arm is None if model.reference is None else arm == PREVIOUS_ROUND
        return ScoreConfig(
            model=model.ref if arm or not model.reference else model.reference,
            replay=self._self_replay if begins and split == "validation" else None,
            arm=arm.arm if arm else "base",
            system_prompt=arm.system_prompt if arm else None,
            few_shot=arm.few_shot if arm else (),
            suites=self.score_suites(split),
            runtime=self.runtime,
        )

    @property
    def _self_replay(self) -> SelfReplay | None:
        """What each model answers before its trials begin."""
        sources = tuple(r for r in self.source_refs if r.answers)
        general = tuple(
            r for split in SPLITS for r in self.suite_refs[split] if r.measures == "forgetting"
        )
        return SelfReplay(sources=sources, against=general) if sources else None

    def spec_content(self) -> dict[str, Any]:
        """What the sweep id stands for: the spec with digests for paths, without resources and
        without what may be changed while a sweep goes on. Defaults are left out, so that a key
        that a later version adds leaves the ids of other sweeps alone."""
        apart = {"models", "data", "suites", "allow", "limits", "notify", "tags"}
        apart |= {"resources", "storage", "data_spec", "endpoints", "review"}
        some = {"search": {"storage"}, "question": {"rescore_drop"}}
        exclude = dict.fromkeys(apart, True) | some
        spec = self.spec.model_dump(mode="json", exclude=exclude, exclude_defaults=True)
        if spec.get("question") == {}:  # it has nothing else
            del spec["question"]
        spec["models"] = [
            {"name": m.ref.name, "digest": m.ref.digest}
            | ({"reference": m.reference.digest} if m.reference else {})
            | given.model_dump(mode="json", include={"trials"}, exclude_none=True)
            | given.model_dump(include={"trust_remote_code"}, exclude_defaults=True)
            for m, given in zip(self.models, self.spec.models, strict=True)
        ]
        spec["sources"] = [identity(r) for r in self.source_refs]
        if self.filtered_refs:
            spec["filtered"] = {"/".join(k): r.digest for k, r in self.filtered_refs.items()}
        if self.trainer is not None:
            spec["trainer"] = identity(self.trainer)
        if self.runtime.deepspeed is not None:
            spec["training"]["deepspeed"] = self.runtime.deepspeed
        spec["suites"] = [identity(ref) for split in SPLITS for ref in self.suite_refs[split]]
        return spec

    def tuned_config(self, model_name: str, split: Split) -> ScoreConfig:
        """A model as a trial starts from it, for scoring what the trial made of it."""
        return ScoreConfig(
            model=self.model(model_name).ref,
            suites=self.score_suites(split),
            runtime=self.runtime,
        )

    @cached_property
    def sweep_id(self) -> str:
        """Name and six digits that follow from `spec_content`."""
        return sweep_id(self.spec.name, self.spec_content())


def prepare(
    loaded: LoadedSpec,
    folder: Path | None,
    progress: Callable[[str], None] | None = None,
    store_text: str | None = None,
) -> Prepared:
    """Finds models, reads and splits data, counts tokens.

    Args:
        loaded: The spec.
        folder: See `store`; None: nothing is written, and the references name no files yet.
        progress: Called with one line before each slow step.
        store_text: As `--store` says; for models that start from an earlier sweep.

    Raises:
        UserError: Anything that cannot be used; nothing was written.
    """
    say = progress or (lambda _: None)
    if (place := loaded.spec.storage.checkpoints) is not None:
        check_place(place, loaded.where("storage.checkpoints"))
    own = loaded.spec.trainer
    trainer = None if own is None else trainer_ref(own, loaded.folder, loaded.where("trainer"))
    say("reading data")
    sources = read_sources(loaded)
    suites = read_suites(loaded, sources)
    source_refs = tuple(source_ref(source) for source in sources.values())
    variants = filtered_sources(loaded, sources, say)
    filtered_refs = {key: variant.ref for key, variant in variants.items()}
    say("reading models")
    models = find_models(loaded, say, store_text)
    space = spec_space(loaded)
    refuse_misfits(loaded, space, source_refs, models, filtered_refs.values())
    say("counting tokens")
    tokenizers = {m.ref.name: FolderTokenizer(m.folder) for m in models}
    refuse_hidden_turns(loaded, tokenizers, sources)
    filtered = {variant.label: variant.rows.rows for variant in variants.values()}
    stats = count_tokens(loaded, tokenizers, sources, suites, filtered)
    one_tokenizer = len({t.key for t in tokenizers.values()}) == 1
    if not one_tokenizer:
        refuse_mixed_tokenizers(loaded)
    budget, unit = plan_budget(loaded, sources, stats, models[0].ref.name, one_tokenizer)
    arms = reference_arms(loaded, sources, suites)
    prepared = Prepared(
        loaded=loaded,
        models=models,
        sources=sources,
        suites=suites,
        source_refs=source_refs,
        suite_refs={
            split: tuple(suite_ref(suite, split) for suite in suites.values()) for split in SPLITS
        },
        token_stats=stats,
        one_tokenizer=one_tokenizer,
        budget=budget,
        budget_unit=unit,
        arms=arms,
        trainer=trainer,
        variants=variants,
        filtered_refs=filtered_refs,
    )
    refuse_impossible(loaded, space, partial(prepared.shares_of, models[0].ref.name))
    return prepared if folder is None else store(prepared, folder)


def store(prepared: Prepared, folder: Path) -> Prepared:
    """Writes the normalised rows to `folder/data/` and returns `prepared` with references to them;
    beside what a filter leaves of a source it lists what was left out.

    Adapters that models start from are merged into `folder/starts/`. Apart from `prepare`, because
    the folder of a sweep is named by its id, known only then.
    """
    data = folder.absolute() / "data"
    refs = {ref: data / f"{ref.name}.train.jsonl" for ref in prepared.source_refs}
    for source, path in refs.items():
        store_rows(path, prepared.sources[source.name].train.rows)
    source_refs = tuple(r.model_copy(update={"path": str(p)}) for r, p in refs.items())
    filtered_refs = store_filtered(data, prepared.variants, source_refs)
    stored: dict[Split, tuple[SuiteRef, ...]] = {}
    for split in SPLITS:
        stored[split] = ()
        for ref in prepared.suite_refs[split]:
            path = data / f"{ref.name}.{split}.jsonl"
            store_rows(path, prepared.suites[ref.name].items(split).rows)
            stored[split] += (ref.model_copy(update={"path": str(path)}),)
    models = tuple(m.settled(folder.absolute() / "starts") for m in prepared.models)
    return replace(
        prepared,
        models=models,
        source_refs=source_refs,
        suite_refs=stored,
        filtered_refs=filtered_refs,
    )


def _take(params: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Removes the parameters with this prefix and returns them without it."""
    names = [name for name in params if name.startswith(prefix)]
    return {name.removeprefix(prefix): params.pop(name) for name in names}
