"""All gates over a prepared sweep: what would waste or falsify it, before anything is spent.

A gate is one entry of `GATES`: its name, what it makes of the material and, where it measures every
row, its probes. The probes of all gates run in one pass over each set of rows.
"""

import difflib
from collections.abc import Sequence

from keepgain.core.errors import UserError
from keepgain.sweeps.check_contents import (
    check_dates,
    check_languages,
    check_origin,
    check_words,
)
from keepgain.sweeps.check_progress import CheckProgress
from keepgain.sweeps.checked import Checked, examine
from keepgain.sweeps.gate import LEAKED, Found, Gate, Material
from keepgain.sweeps.gates.annotators import check_annotators
from keepgain.sweeps.gates.balance import check_associations, check_balance
from keepgain.sweeps.gates.catalogue import CODES
from keepgain.sweeps.gates.conformance import ContentProbe, check_conformance, check_declared
from keepgain.sweeps.gates.coverage import check_coverage
from keepgain.sweeps.gates.distance import check_distance
from keepgain.sweeps.gates.diversity import check_diversity
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.groups import check_groups
from keepgain.sweeps.gates.label_conflicts import check_conflicts
from keepgain.sweeps.gates.label_errors import check_label_errors
from keepgain.sweeps.gates.label_leakage import check_label_leakage
from keepgain.sweeps.gates.labels import FactsProbe
from keepgain.sweeps.gates.leakage import check_leakage, find_leaks, leaked_items
from keepgain.sweeps.gates.lengths import check_lengths
from keepgain.sweeps.gates.lineage import check_lineage
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.near_duplicates import (
    check_near_duplicates,
    find_duplicates,
    sketch_probe,
)
from keepgain.sweeps.gates.noise_floor import check_noise_floor
from keepgain.sweeps.gates.personal_data import PersonalProbe, check_personal_data
from keepgain.sweeps.gates.quality import QualityProbe, check_quality
from keepgain.sweeps.gates.repeats import check_repeats
from keepgain.sweeps.gates.resources import Machine, check_resources, detect_machine
from keepgain.sweeps.gates.rules import Check as RowCheck
from keepgain.sweeps.gates.scan import Probe, usable_processes
from keepgain.sweeps.gates.sketches import SketchProbe
from keepgain.sweeps.gates.slices import check_slices
from keepgain.sweeps.gates.source_labels import check_source_labels
from keepgain.sweeps.gates.splits import QuestionProbe, check_duplicates, check_splits
from keepgain.sweeps.gates.suites import check_question, check_suites
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.methods import check_gpu
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.space_fit import extreme_cases
from keepgain.sweeps.spec_data import ruled_sets
from keepgain.sweeps.spec_sweep import SweepSpec


def _facts_probe(_: Material) -> Sequence[Probe]:
    return [FactsProbe()]


GATES: tuple[Gate, ...] = (  # one line a gate; its codes stand in gates/catalogue.py
    Gate("splits", lambda m: _check_splits(m), lambda _: [QuestionProbe()]),
    Gate("near_duplicates", lambda m: _check_copies(m), lambda m: [sketch_probe(m.sets)]),
    Gate("leakage", lambda m: _check_leakage(m)),
    Gate("diversity", lambda m: check_diversity(m.sets)),
    Gate("lineage", lambda m: _check_lineage(m)),
    Gate("conformance", lambda m: _check_rules(m), lambda m: ContentProbe.of(_checks(m.spec))),
    Gate(
        "label_leakage",
        lambda m: check_label_leakage(m.sets, m.labelled[1], _label_field(m.spec)),
        _facts_probe,
    ),
    Gate("label_errors", lambda m: _check_label_errors(m), _facts_probe),
    Gate(
        "source_labels",
        lambda m: check_source_labels(m.sets, *m.labelled),
        _facts_probe,
    ),
    Gate("annotators", lambda m: _check_annotators(m), _facts_probe),
    Gate("balance", lambda m: _check_balance(m), _facts_probe),
    Gate("coverage", lambda m: check_coverage(m.sets, *m.labelled), _facts_probe),
    Gate("distance", lambda m: check_distance(m.sets, m.labelled[0]), _facts_probe),
    Gate("noise_floor", lambda m: check_noise_floor(m.sets, m.spec.question.delta)),
    Gate(
        "personal_data",
        lambda m: check_personal_data(m.sets, m.measured(PersonalProbe.name)),
        lambda _: [PersonalProbe()],
    ),
    Gate(
        "quality",
        lambda m: check_quality(m.sets, m.measured(QualityProbe.name)),
        lambda _: [QualityProbe()],
    ),
    Gate("language", check_languages),
    Gate("spelling", check_words),
    Gate("synthetic", check_origin),
    Gate("age", check_dates, of_rows=False),
    Gate("suites", lambda m: check_suites(m.sets, m.spec.question.max_forgetting)),
    Gate("slices", lambda m: check_slices(m.sets)),
    Gate("groups", lambda m: check_groups(m.sets, _by_group(m.spec))),
    Gate("question", lambda m: check_question(m.spec.question, m.spec.confirm.first, m.sets)),
    Gate("lengths", lambda m: _check_lengths(m.prepared, m.sets), of_rows=False),
    Gate("repeats", lambda m: _check_repeats(m.prepared), of_rows=False),
    Gate("resources", lambda m: _check_resources(m.prepared, m.machine), of_rows=False),
)


def check(prepared: Prepared, machine: Machine | None = None) -> list[Finding]:
    """The findings of `check_sweep`."""
    return list(check_sweep(prepared, machine).findings)


def check_sweep(
    prepared: Prepared,
    machine: Machine | None = None,
    *,
    progress: CheckProgress | None = None,
    known: Checked | None = None,
    gates: Sequence[Gate] = GATES,
) -> Checked:
    """Findings, the worst first, with `allow:` of the spec applied, and the data card.

    Args:
        prepared: The sweep.
        machine: Where trials run; None: this machine.
        progress: Is told; None: nobody is.
        known: What an earlier check found: it holds where nothing has changed.
        gates: To run.
    """
    material = Material(prepared, machine or detect_machine(), prepared.row_sets)
    return examine(material, gates, progress or CheckProgress(None), known)


def chosen_gates(only: Sequence[str], skip: Sequence[str]) -> tuple[Gate, ...]:
    """Gates by their names, or by codes of theirs.

    Args:
        only: To run; empty: all.
        skip: Not to run; of codes a gate whose codes are all named.

    Raises:
        UserError: No gate and no code has a name, or no gate is left to run.
    """
    names = [gate.name for gate in GATES]
    for name in (*only, *skip):
        if name not in names and name not in CODES:
            (near,) = difflib.get_close_matches(name, [*names, *CODES], n=1, cutoff=0)
            raise UserError(
                f"no gate and no code is named '{name}'; the nearest is '{near}'.",
                hint=f"Gates: {', '.join(names)}.",
            )
    wanted = {CODES[n].gate if n in CODES else n for n in only}
    left = {code.gate for name, code in CODES.items() if name not in skip}
    chosen = tuple(
        g for g in GATES if (not only or g.name in wanted) and g.name not in skip and g.name in left
    )
    if not chosen:
        raise UserError(
            "no gate is left to run.",
            where="--only, --skip",
            hint=f"Gates: {', '.join(names)}.",
        )
    return chosen


def _check_splits(material: Material) -> list[Finding]:
    measured = material.measured(QuestionProbe.name)
    return [*check_splits(material.sets, measured), *check_duplicates(material.sets, measured)]


def _check_copies(material: Material) -> list[Finding]:
    sets = [s for s in material.sets if s.made_from is None]  # others are copies on purpose
    found = find_duplicates(sets, material.measured(SketchProbe.name))
    return check_near_duplicates(sets, found)


def _check_lineage(material: Material) -> list[Finding]:
    sources = material.prepared.sources
    return check_lineage({n: s.lineage for n, s in sources.items() if s.lineage is not None})


def _checks(spec: SweepSpec) -> tuple[RowCheck, ...]:
    return spec.data_spec.checks if spec.data_spec is not None else ()


def _check_rules(material: Material) -> list[Finding]:
    if (rules := material.spec.data_spec) is None:
        return []
    roles = {name: data.role for name, data in material.spec.data.items()}
    licences = {name: facts.licence for name, facts in rules.sources.items()}
    sets, measured = ruled_sets(rules, roles, material.sets), material.measured("conformance")
    found = check_conformance(sets, rules.checks, measured)
    return [*found, *(check_declared(licences, list(roles)) if licences else ())]


def _check_leakage(material: Material) -> Found:
    leaks = find_leaks(material.sets, None, usable_processes())
    flagged = {label: items.tolist() for label, items in leaked_items(leaks).items()}
    return Found(check_leakage(leaks), {LEAKED: flagged})


def _check_label_errors(material: Material) -> list[Finding]:
    sets, (facts, labels) = material.sets, material.labelled
    return [*check_conflicts(sets, facts, labels), *check_label_errors(sets, facts, labels)]


def _label_field(spec: SweepSpec) -> str | None:
    return spec.data_spec.columns.label if spec.data_spec is not None else None


def _check_annotators(material: Material) -> list[Finding]:
    names = material.spec.data_spec.columns if material.spec.data_spec is not None else None
    who, when = (names.annotator, names.date) if names is not None else (None, None)
    return check_annotators(material.sets, *material.labelled, who, when)


def _check_balance(material: Material) -> list[Finding]:
    sets, (facts, labels) = material.sets, material.labelled
    rules = material.spec.data_spec.groups.values() if material.spec.data_spec is not None else ()
    fields = [rule.field for rule in rules if rule.field is not None]
    terms = {value: words for rule in rules for value, words in (rule.words or {}).items()}
    found = check_balance(sets, facts, labels)
    return [*found, *check_associations(sets, facts, labels, fields, terms)]


def _by_group(spec: SweepSpec) -> list[str]:
    """Keys of the spec that weigh rows by their group."""
    keys = ["training.balance_by"] if spec.training.balance_by == "group" else []
    if "group_dro_step" in spec.space:
        return [*keys, "space.group_dro_step"]
    return [*keys, "training.group_dro_step"] if spec.training.group_dro_step else keys


def _check_lengths(prepared: Prepared, sets: Sequence[RowSet]) -> list[Finding]:
    positions = {m.ref.name: m.config.get("max_position_embeddings") for m in prepared.models}
    return check_lengths(sets, prepared.token_stats, prepared.spec.training.max_length, positions)


def _check_repeats(prepared: Prepared) -> list[Finding]:
    spec, refs, model = prepared.spec, prepared.source_refs, prepared.models[0].ref.name
    return check_repeats(
        extreme_cases(
            spec_space(prepared.loaded),
            lambda params: prepared.shares_of(model, params),
            lambda params: prepared.filtered_sizes(model, params),
            prepared.budget,
        ),
        refs,
        {r.name: prepared.token_stats[model, f"{r.name}/train"].tokens for r in refs},
        {name: data.max_repeats for name, data in spec.data.items()},
        prepared.budget_unit,
    )


def _check_resources(prepared: Prepared, machine: Machine) -> list[Finding]:
    resources = prepared.spec.resources
    return [
        *check_resources(
            machine,
            cpus_per_trial=resources.cpus_per_trial,
            gpus_per_trial=resources.gpus_per_trial,
            slots=resources.slots,
            workers_per_trial=resources.workers_per_trial,
            placement=resources.placement,
        ),
        *check_gpu(prepared.spec, spec_space(prepared.loaded), machine),
    ]
