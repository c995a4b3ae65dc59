"""`sweep plan`: trials, tokens, memory, time and money before anything is started."""

import argparse
import sys
from typing import TYPE_CHECKING

from keepgain.core.errors import EXIT_BAD_INPUT, EXIT_OK, UserError
from keepgain.core.store.location import resolve_store
from keepgain.sweeps.check import check_sweep
from keepgain.sweeps.check_progress import CheckProgress
from keepgain.sweeps.checked import read_checked
from keepgain.sweeps.cli.common import add_spec, add_store
from keepgain.sweeps.gates.findings import has_errors, render_finding
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.spec import load_spec

if TYPE_CHECKING:
    from keepgain.sweeps.plan.measured import Measured

EXAMPLES = """examples:
  sweep plan sweep.yaml                 # speeds from earlier trials of the store, else a guess
  sweep plan sweep.yaml --calibrate     # train some steps of each model first; the store keeps it
  sweep plan sweep.yaml --profile smoke
  sweep plan sweep.yaml --tflops 0.03   # training throughput of one trial, as you know it
  sweep plan sweep.yaml --json | jq .expected.seconds
exit code: 0 it fits, 2 it does not (the arithmetic is shown), or `sweep check` finds errors
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "plan",
        help="trials, tokens, memory, time and money; nothing is started",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_spec(parser)
    add_store(parser)
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="measure the speed of each base model and method (about a minute for small ones)",
    )
    parser.add_argument(
        "--tflops", type=float, metavar="X", help="training TFLOP/s of one trial; default: measured"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Checks, measures if asked to, plans, prints."""
    from keepgain.sweeps.plan.plan import make_plan
    from keepgain.sweeps.plan.text import render_plan

    if args.tflops is not None and not args.tflops > 0:
        raise UserError(f"--tflops must be positive (given: {args.tflops:g}).")
    prepared = prepare(load_spec(args.spec, args.profile), None, store_text=args.store)
    store = resolve_store(args.store, create=True, make=False)
    known = read_checked(store.sweep_folder(prepared.sweep_id))
    progress = CheckProgress(None if args.json else _say)
    findings = check_sweep(prepared, progress=progress, known=known).findings
    shown = ("error",) if args.json else ("error", "warning")
    for finding in findings:
        if finding.severity in shown:
            _say(render_finding(finding))
    if has_errors(findings):
        return EXIT_BAD_INPUT
    _check_warm_start(args, prepared)
    plan = make_plan(
        prepared,
        measured=_measured(args, prepared),
        throughput_flops=args.tflops and args.tflops * 1e12,
        folder=store.sweep_folder(prepared.sweep_id),
    )
    print(plan.model_dump_json(indent=2) if args.json else render_plan(plan))
    return EXIT_OK


def _check_warm_start(args: argparse.Namespace, prepared: Prepared) -> None:
    """Refuses what `sweep run` would refuse. A sweep that has begun knows what it has learned."""
    from keepgain.sweeps.reuse import LEDGER_NAME
    from keepgain.sweeps.warm_start import learned_trials

    if prepared.spec.search.warm_start is None:
        return
    store = resolve_store(args.store, create=True, make=False)
    if not (store.sweep_folder(prepared.sweep_id) / LEDGER_NAME).exists():
        learned_trials(prepared, store.work, _say)


def _measured(args: argparse.Namespace, prepared: Prepared) -> "list[Measured]":
    """What the store knows, after measuring anew if asked to; nothing where there is no store."""
    from keepgain.sweeps.plan.measured import add_calibration, read_measured
    from keepgain.sweeps.plan.plan import hardware_here

    if args.calibrate:
        from keepgain.sweeps.plan.calibrate import calibrate

        store = resolve_store(args.store, create=True)
        for one in calibrate(prepared, hardware_here(prepared), _say):
            add_calibration(store, one)
        return read_measured(store)
    try:
        return read_measured(resolve_store(args.store))
    except UserError:
        return []  # `sweep run` will make the store


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
