"""All gates over a prepared sweep: what would waste or falsify it, before anything is spent."""

from keepgain.sweeps.gates.findings import Finding, allow
from keepgain.sweeps.gates.groups import check_groups
from keepgain.sweeps.gates.lengths import check_lengths
from keepgain.sweeps.gates.repeats import check_repeats
from keepgain.sweeps.gates.resources import Machine, check_resources, detect_machine
from keepgain.sweeps.gates.slices import check_slices
from keepgain.sweeps.gates.splits import check_duplicates, check_splits
from keepgain.sweeps.gates.suites import check_question, check_suites
from keepgain.sweeps.methods import check_gpu
from keepgain.sweeps.prepare import Prepared
from keepgain.sweeps.space_fit import extreme_cases
from keepgain.sweeps.spec import spec_space
from keepgain.sweeps.spec_models import SweepSpec


def check(prepared: Prepared, machine: Machine | None = None) -> list[Finding]:
    """Findings, errors first; `allow:` of the spec is applied.

    Args:
        prepared: The sweep.
        machine: Where trials run; None: this machine.
    """
    spec, sets = prepared.spec, prepared.row_sets
    positions = {m.ref.name: m.config.get("max_position_embeddings") for m in prepared.models}
    resources = spec.resources
    machine = machine or detect_machine()
    findings = [
        *check_splits(sets),
        *check_duplicates(sets),
        *check_suites(sets, spec.question.max_forgetting),
        *check_slices(sets),
        *check_groups(sets, _by_group(spec)),
        *check_question(spec.question, spec.confirm.first, sets),
        *check_lengths(sets, prepared.token_stats, spec.training.max_length, positions),
        *_check_repeats(prepared),
        *check_resources(
            machine,
            cpus_per_trial=resources.cpus_per_trial,
            gpus_per_trial=resources.gpus_per_trial,
            slots=resources.slots,
            workers_per_trial=resources.workers_per_trial,
            placement=resources.placement,
        ),
        *check_gpu(spec, spec_space(prepared.loaded), machine),
    ]
    return sorted(allow(findings, spec.allow), key=lambda f: f.severity != "error")


def _by_group(spec: SweepSpec) -> list[str]:
    """Keys of the spec that weigh rows by their group."""
    keys = ["training.balance_by"] if spec.training.balance_by == "group" else []
    if "group_dro_step" in spec.space:
        return [*keys, "space.group_dro_step"]
    return [*keys, "training.group_dro_step"] if spec.training.group_dro_step else keys


def _check_repeats(prepared: Prepared) -> list[Finding]:
    spec, refs, model = prepared.spec, prepared.source_refs, prepared.models[0].ref.name
    return check_repeats(
        extreme_cases(spec_space(prepared.loaded), refs, spec.training.mixture, prepared.budget),
        refs,
        {r.name: prepared.token_stats[model, f"{r.name}/train"].tokens for r in refs},
        {name: data.max_repeats for name, data in spec.data.items()},
        prepared.budget_unit,
    )
