"""Holds plans against a finished sweep: tokens, and time by each source of speeds.

    python benchmarks/plan_accuracy.py examples/quickstart/sweep.yaml --profile smoke --store STORE

Prints planned, real and planned / real for the finished sweep of this spec in the store. Time is
planned by a guess, by the calibrations of the store, and by the sweep's own trials; the last shows
the error of the plan's arithmetic alone, with speeds and load as they were.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from keepgain.core.status import Stage
from keepgain.core.store.location import resolve_store
from keepgain.sweeps.limits import Meter
from keepgain.sweeps.plan.measured import Measured, of_ledger, read_measured
from keepgain.sweeps.plan.plan import Plan, hardware_here, make_plan
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.reuse import LEDGER_NAME
from keepgain.sweeps.search.ledger import Event, Rung, read_events
from keepgain.sweeps.search.replay import replay
from keepgain.sweeps.spec import load_spec


def trained(events: Sequence[Event], stage: Stage) -> int:
    """Training tokens of all runs of a stage."""
    runs = replay(events).runs.values()
    return sum(r.last_report.tokens for r in runs if r.asked.stage is stage and r.last_report)


def token_lines(plan: Plan, events: Sequence[Event]) -> list[str]:
    """Planned and real tokens of each training stage."""
    lines = []
    for stage in plan.stages:
        if stage.stage in (Stage.SEARCH, Stage.CONFIRM):
            real = trained(events, stage.stage)
            low, mid, high = (
                getattr(stage, name).training_tokens for name in ("least", "expected", "most")
            )
            share = f"{mid / real:6.3f}" if real else "     -"
            lines.append(f"{stage.stage:<8} tokens {low} / {mid} / {high}  real {real}  {share}")
    return lines


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("spec", type=Path)
    parser.add_argument("--profile")
    parser.add_argument("--store", required=True)
    args = parser.parse_args()
    prepared = prepare(load_spec(args.spec, args.profile), None)
    store = resolve_store(args.store)
    events = read_events(store.sweep_folder(prepared.sweep_id) / LEDGER_NAME)
    label = hardware_here(prepared).label
    # Ledgers of before this hardware was noted are taken to be of this machine.
    own = of_ledger([_noted(e, label) for e in events])
    calibrations = [m for m in read_measured(store) if m.source == "calibration"]
    sources: dict[str, Sequence[Measured]] = {
        "guess": (),
        "calibration": calibrations,
        "own trials": own,
    }
    plan = make_plan(prepared)
    print("\n".join(token_lines(plan, events)))
    busy = sum(e.seconds or 0.0 for e in events if isinstance(e, Rung))
    real = 3600 * Meter.of(events).total().hours
    for name, measured in sources.items():
        if name != "guess" and not measured:
            continue
        planned = make_plan(prepared, measured=measured)
        for what, value, found in (
            ("busy", planned.expected.busy_seconds, busy),
            ("wall", planned.expected.seconds, real),
        ):
            share = f"{value / found:.2f}" if found else "-"
            print(f"{what:<5} by {name:<12} {value:8.0f} s  real {found:8.0f} s  {share}")


def _noted(event: Event, label: str) -> Event:
    if not isinstance(event, Rung) or event.report.hardware:
        return event
    report = event.report.model_copy(update={"hardware": label})
    return event.model_copy(update={"report": report})


if __name__ == "__main__":
    main()
