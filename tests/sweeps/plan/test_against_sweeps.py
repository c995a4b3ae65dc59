"""Plans against sweeps that are carried out: whole programs with a stand-in worker."""

from pathlib import Path

import pytest

from keepgain.core.status import Stage
from keepgain.sweeps.gates.resources import Machine
from keepgain.sweeps.plan.plan import make_plan
from keepgain.sweeps.search.replay import replay
from tests.sweeps.test_program import Sweep
from tests.sweeps.tiny_models import make_world

MACHINE = Machine(cpus=2, memory_bytes=8 << 30)
STOPPING = {
    "off": "{enabled: false}",
    "without audits": "{audit_trials: 0}",
    "with audits": "{keep: 0.4, audit_trials: 3}",
}


def carried_out(folder: Path, stopping: str, size: int) -> Sweep:
    spec = make_world(folder / "world")
    text = spec.read_text()
    search = f"search: {{trials_per_model: 14, generation_size: {size}, stopping: {stopping}}}"
    text = text.replace("search: {trials_per_model: 12}", search)
    text = text.replace("confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 1, seeds: 2}")
    text += "training: {budget_tokens: 900, rungs: [0.1111111, 0.3333333, 1]}\n"
    spec.write_text(text)
    return Sweep(spec, folder / "sweep").run()


@pytest.mark.parametrize("size", [4, 9])
@pytest.mark.parametrize("stopping", STOPPING)
def test_trained_tokens_lie_within_what_was_planned(
    tmp_path: Path, stopping: str, size: int
) -> None:
    sweep = carried_out(tmp_path, STOPPING[stopping], size)
    plan = make_plan(sweep.prepared, MACHINE)
    planned = {s.stage: s for s in plan.stages}
    runs = replay(sweep.ledger.events()).runs.values()
    trained = {
        stage: sum(r.last_report.tokens for r in runs if r.asked.stage is stage and r.last_report)
        for stage in (Stage.SEARCH, Stage.CONFIRM)
    }
    search, rounding = planned[Stage.SEARCH], 14 * 2
    assert (
        search.least.training_tokens - rounding
        <= trained[Stage.SEARCH]
        <= search.most.training_tokens + rounding
    )
    if stopping == "off":
        assert search.least == search.most, "nothing is open, so all tokens are known before"
    # The best random trial may be a finalist anyway; then it costs no runs of its own.
    confirmed = planned[Stage.CONFIRM]
    ends = {a.training_tokens for a in (confirmed.least, confirmed.most)}
    assert trained[Stage.CONFIRM] in ends and len(ends) == 2
    assert planned[Stage.BASE].most.runs == sum(r.asked.stage is Stage.BASE for r in runs)
