"""All gates over a prepared sweep: what would waste or falsify it, before anything is spent."""

from keepgain.sweeps.gates.findings import Finding, allow
from keepgain.sweeps.gates.lengths import check_lengths
from keepgain.sweeps.gates.resources import Machine, check_resources, detect_machine
from keepgain.sweeps.gates.splits import check_duplicates, check_splits
from keepgain.sweeps.gates.suites import check_question, check_suites
from keepgain.sweeps.prepare import Prepared


def check(prepared: Prepared, machine: Machine | None = None) -> list[Finding]:
    """Findings, errors first; `allow:` of the spec is applied.

    Args:
        prepared: The sweep.
        machine: Where trials run; None: this machine.
    """
    spec, sets = prepared.spec, prepared.row_sets
    positions = {m.ref.name: m.config.get("max_position_embeddings") for m in prepared.models}
    resources = spec.resources
    findings = [
        *check_splits(sets),
        *check_duplicates(sets),
        *check_suites(sets, spec.question.max_forgetting),
        *check_question(spec.question, spec.confirm.seeds, sets),
        *check_lengths(sets, prepared.token_stats, spec.training.max_length, positions),
        *check_resources(
            machine or detect_machine(),
            cpus_per_trial=resources.cpus_per_trial,
            gpus_per_trial=resources.gpus_per_trial,
            slots=resources.slots,
            workers_per_trial=resources.workers_per_trial,
        ),
    ]
    return sorted(allow(findings, spec.allow), key=lambda f: f.severity != "error")
