"""Warm start: what a finished sweep of the same task teaches the sampler of a new one.

A trial is taken over only if this sweep would have made it the same: equal data, base model and
settings outside the space. Where the whole sweep does not fit, because its scores mean something
else, the start is refused. Test items that the earlier sweep has opened count as opened: they are
counted by content over all sweeps of a store (`sweeps.openings`).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.config import SourceRef, SuiteRef, TrialConfig, identity
from keepgain.core.errors import UserError
from keepgain.core.identity import fingerprint
from keepgain.core.record import SweepRecord
from keepgain.core.status import Stage, TrialStatus
from keepgain.core.store.names import RECORD_FOLDER
from keepgain.core.store.record_files import load_record
from keepgain.sweeps.evidence import flat_params
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.openings import count_openings
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.given import SHARE_TOLERANCE, raw_of
from keepgain.sweeps.search.ledger import Learned, SearchStarted, read_events
from keepgain.sweeps.search.mixture import MIXTURE
from keepgain.sweeps.search.objectives import constraints, directions, limits_of, objectives
from keepgain.sweeps.search.replay import RunState, SweepState, replay
from keepgain.sweeps.search.searchable import FILTER, NO_FILTER
from keepgain.sweeps.search.space import Space

NOT_OF_THE_TRIAL = ("model", "sources", "suites", "runtime", "rungs", "mixture")
"""Of a configuration: what is compared apart, or changes nothing of the final scores."""
DIGEST_CHARS = 12


@dataclass(frozen=True)
class Earlier:
    """A finished sweep, as its ledger and record say."""

    name: str
    state: SweepState
    started: SearchStarted
    record: SweepRecord

    def base_of(self, model: str) -> RunState | None:
        """The scored base of a model, if it could be scored."""
        return next(
            (
                r
                for r in self.state.runs.values()
                if r.asked.kind == "base"
                and r.asked.stage is Stage.BASE
                and r.asked.model == model
                and r.status is TrialStatus.COMPLETED
            ),
            None,
        )

    @property
    def trials(self) -> list[RunState]:
        """Trials of the search that reached their full budget."""
        return [
            r
            for r in self.state.runs.values()
            if r.asked.stage is Stage.SEARCH and r.status is TrialStatus.COMPLETED
        ]


def learned_trials(
    prepared: Prepared, work: Path, say: Callable[[str], None]
) -> dict[str, list[Learned]]:
    """Base model → trials of the sweep that `search.warm_start` names; empty where it names none.

    Args:
        prepared: The new sweep.
        work: Folder of the store's sweeps.
        say: Told how many trials each base model learns from, and why others are left out.

    Raises:
        UserError: No such finished sweep, or one with other metrics, suites, objectives, data or
            base models: with both sides. Nothing is written.
    """
    name = prepared.spec.search.warm_start
    if name is None:
        return {}
    where = prepared.loaded.where("search.warm_start")
    earlier = read_earlier(work, name, where)
    _refuse_other_scores(earlier, prepared, where)
    _refuse_other_data(earlier, prepared, where)
    found: dict[str, list[Learned]] = {m.ref.name: [] for m in prepared.models}
    left_out: Counter[str] = Counter()
    space = spec_space(prepared.loaded)
    for run in earlier.trials:
        model, learned = _learned(earlier, run, prepared, space)
        if isinstance(learned, str):
            left_out[learned] += 1
        else:
            found[model].append(learned)
    if not any(found.values()):
        why = "; ".join(f"{n} times: {reason}" for reason, n in left_out.most_common(3))
        raise UserError(
            f"none of the {_many(len(earlier.trials), 'finished trial')} of {name} could be one "
            f"of this sweep{f' ({why})' if why else ''}.",
            where=where,
            hint="Leave `warm_start` out, or make spec and space agree.",
        )
    counts = ", ".join(f"{len(trials)} of {model}" for model, trials in found.items())
    say(f"warm start from {name}: trials {counts}")
    for reason, count in left_out.most_common():
        say(f"  {_many(count, 'trial')} left out: {reason}")
    if opened := count_openings(work, prepared.score_suites("test")):
        say(f"  test items of this sweep were opened {_many(opened, 'time')} before")
    return found


def read_earlier(work: Path, name: str, where: str) -> Earlier:
    """A finished sweep of this store.

    Raises:
        UserError: No such sweep, its search has not ended, or its files are not whole.
    """
    ledger = work / name / LEDGER_NAME
    if Path(name).name != name or not ledger.is_file():
        known = sorted(p.parent.name for p in work.glob(f"*/{LEDGER_NAME}"))
        raise UserError(
            f"no sweep '{name}' in this store.",
            where=where,
            hint=f"It has: {', '.join(known) or 'none'}.",
        )
    events = read_events(ledger)
    state = replay(events)
    started = next((e for e in events if isinstance(e, SearchStarted)), None)
    if started is None or Stage.SEARCH not in state.stages:
        raise UserError(
            f"the search of {name} has not ended.",
            where=where,
            hint="Run that sweep to its end first.",
        )
    return Earlier(name, state, started, load_record(work / name / RECORD_FOLDER))


def _refuse_other_scores(earlier: Earlier, prepared: Prepared, where: str) -> None:
    """Objectives are means over suites: each must be the same, by items and by metric."""
    suites = prepared.score_suites("validation")
    names = list(directions(suites))
    known = list(earlier.started.settings.get("objectives", {}))
    if names != known:
        raise UserError(
            f"{earlier.name} was searched for {' and '.join(known)}, this sweep for "
            f"{' and '.join(names)}.",
            where=where,
            hint="Give this sweep suites that measure the same.",
        )
    here = {s.name: _suite_facts(s) for s in suites if s.measures != "behaviour"}
    scored = next((r for r in earlier.trials), None)
    refs = [SuiteRef.model_validate(s) for s in scored.asked.config["suites"]] if scored else []
    there = {s.name: _suite_facts(s) for s in refs if s.measures != "behaviour"}
    versions = {s.name: s.metric_version for s in earlier.record.suites}
    ours = {s.name: s.metric_version for s in prepared.suite_infos}
    for suite in sorted(here.keys() | there.keys()) if scored else ():
        _same(f"suite '{suite}'", there.get(suite), here.get(suite), earlier.name, where)
        version = f"the metric version of suite '{suite}'"
        _same(version, versions.get(suite), ours.get(suite), earlier.name, where)


def _suite_facts(ref: SuiteRef) -> str:
    facts = f"{ref.measures} by {ref.scorer} on {ref.items} items {ref.digest[:DIGEST_CHARS]}"
    facts += f", {ref.max_new_tokens} new tokens" if ref.max_new_tokens else ""
    return facts + (f", options {fingerprint(identity(ref.options))}" if ref.options else "")


def _source_facts(ref: SourceRef) -> str:
    facts = f"{ref.role} rows {ref.digest[:DIGEST_CHARS]}"
    return facts + (f", answers {fingerprint(identity(ref.answers))}" if ref.answers else "")


def _refuse_other_data(earlier: Earlier, prepared: Prepared, where: str) -> None:
    here = {r.name: _source_facts(r) for r in prepared.source_refs}
    filtered = {_source_facts(r) for r in prepared.filtered_refs.values()}
    for run in earlier.trials:
        for ref in run.asked.config["sources"]:
            if ref["name"] in here:
                there, ours = _source_facts(SourceRef.model_validate(ref)), here[ref["name"]]
                if there in filtered:
                    continue  # `_difference` looks at what the trial's filter left
                _same(f"source '{ref['name']}'", there, ours, earlier.name, where)
    digests = {m.digest: m.name for m in earlier.record.models}
    if not any(m.ref.digest in digests for m in prepared.models):
        theirs = ", ".join(f"{name} {digest[:DIGEST_CHARS]}" for digest, name in digests.items())
        ours = ", ".join(f"{m.ref.name} {m.ref.digest[:DIGEST_CHARS]}" for m in prepared.models)
        raise UserError(
            f"no base model is in both sweeps: {earlier.name} has {theirs}; this sweep has {ours}.",
            where=where,
        )


def _same(what: str, there: object, here: object, sweep: str, where: str) -> None:
    if there != here:
        raise UserError(
            f"{what} differs: {sweep} has {'none' if there is None else there}; this sweep has "
            f"{'none' if here is None else here}.",
            where=where,
            hint="Scores of other data or metrics teach nothing here; use the same, or leave "
            "`warm_start` out.",
        )


def _learned(
    earlier: Earlier, run: RunState, prepared: Prepared, space: Space
) -> tuple[str, Learned | str]:
    """The new sweep's base model and what it learns of the trial, or why it does not."""
    digest = run.asked.config["model"]["digest"]
    model = next((m.ref.name for m in prepared.models if m.ref.digest == digest), None)
    base = earlier.base_of(run.asked.model)
    if model is None:
        return "", f"base model {run.asked.model} is not in this sweep"
    if base is None or base.last_report is None or run.last_report is None:
        return model, "its base was not scored"
    if base.asked.config["model"]["digest"] != prepared.base_config(model).model.digest:
        return model, "its forgetting was measured against another model"
    try:
        params = space.resolve(raw_of(space, _given(run, space)))
    except UserError as error:
        return model, f"not of this space: {error.problem}"
    config = TrialConfig.model_validate(run.asked.config)
    if other := _difference(config, prepared.trial_config(model, params)):
        return model, other
    suites = prepared.score_suites("validation")
    at = objectives(run.last_report.metrics, base.last_report.metrics, suites)
    learned = Learned(
        source=f"{earlier.name}/{run.asked.trial_id}",
        params=params,
        values=at.values,
        constraints=constraints(at, limits_of(prepared.spec.question)),
    )
    return model, learned


def _given(run: RunState, space: Space) -> dict[str, Any]:
    """What the trial had, drawn or not, of the parameters that exist for it here."""
    unfiltered = {p.name: NO_FILTER for p in space.parameters if p.name.startswith(f"{FILTER}.")}
    known = {"duration": 1.0} | unfiltered | flat_params(run.asked.config) | run.asked.params
    params: dict[str, Any] = {}
    for p in space.parameters:
        if p.name in known and p.is_active(params):
            params[p.name] = known[p.name]
    if space.mixture is not None:
        shares = run.asked.config["mixture"]
        params |= {f"{MIXTURE}.{s}": shares.get(s, 0.0) for s in {*space.mixture.sources, *shares}}
    return params


def _difference(there: TrialConfig, here: TrialConfig) -> str | None:
    """The first setting that differs, in words; None: the trials are the same."""
    for source in sorted(there.mixture.keys() | here.mixture.keys()):
        a, b = (c.mixture.get(source, 0.0) for c in (there, here))
        if abs(a - b) > SHARE_TOLERANCE:
            return f"the share of '{source}' outside the space is {a:g} there and {b:g} here"
    rows = [{s.name: s.digest for s in c.sources} for c in (there, here)]
    if other := next((n for n in rows[0].keys() & rows[1].keys() if rows[0][n] != rows[1][n]), ""):
        return f"rows of '{other}' that a filter leaves out are not the same"
    settings: list[Mapping[str, Any]] = [
        c.model_dump(mode="json", exclude=set(NOT_OF_THE_TRIAL)) for c in (there, here)
    ]
    for name, value in settings[0].items():
        if value != settings[1][name]:
            return f"{name} is {value} there and {settings[1][name]} here"
    return None


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
