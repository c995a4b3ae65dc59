"""`sweep plan`: trials, tokens, memory, time and money before anything is started."""

import argparse
import sys

from keepgain.core.errors import EXIT_BAD_INPUT, EXIT_OK, UserError
from keepgain.sweeps.check import check
from keepgain.sweeps.cli.common import add_spec
from keepgain.sweeps.gates.findings import has_errors, render_finding
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec

EXAMPLES = """examples:
  sweep plan sweep.yaml
  sweep plan sweep.yaml --profile smoke
  sweep plan sweep.yaml --tflops 0.03      # measured training throughput of one trial
  sweep plan sweep.yaml --json | jq .seconds
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
    parser.add_argument(
        "--tflops", type=float, metavar="X", help="measured TFLOP/s of one trial; default: a guess"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Checks, plans, prints."""
    from keepgain.sweeps.plan import make_plan
    from keepgain.sweeps.plan_text import render_plan

    if args.tflops is not None and not args.tflops > 0:
        raise UserError(f"--tflops must be positive (given: {args.tflops:g}).")
    prepared = prepare(load_spec(args.spec, args.profile), None)
    findings = check(prepared)
    for finding in findings:
        if finding.severity == "error" or not args.json:
            print(render_finding(finding), file=sys.stderr)
    if has_errors(findings):
        return EXIT_BAD_INPUT
    plan = make_plan(prepared, throughput_flops=args.tflops and args.tflops * 1e12)
    print(plan.model_dump_json(indent=2) if args.json else render_plan(plan))
    return EXIT_OK
