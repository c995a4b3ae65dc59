"""`sweep outcomes import`: what came of a live test, recorded with the sweep."""

import argparse
from pathlib import Path

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.sweeps.cli.common import add_store, print_json, say

EPILOG = """examples:
  sweep outcomes import ab.csv --sweep last --metric resolved --direction maximize
  sweep outcomes import ab.csv --sweep last --metric handling_time --direction minimize \\
      --control old --arm new=3f9a1c
The file has one row a unit: `arm`, `unit`, and `success` (0 or 1) or `value` (a number). The
control is the arm `base` or `control`; the only other arm is the sweep's decision, unless --arm
says which trial it was. Only sums are kept. `analyze ID` shows the outcome beside the decision;
with `question.outcome: {metric: resolved, min_improvement: 0.01}` in the spec it is a limit, and
the sweep's decision is made anew.
exit code: 0 recorded; 2 it could not be, and nothing was
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "outcomes",
        help="the business metric of a live test, recorded with the sweep",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("import",), help="what to do")
    parser.add_argument("file", type=Path, metavar="FILE", help="a .csv, .tsv or .jsonl file")
    parser.add_argument("--sweep", required=True, metavar="ID", help="sweep id, or `last`")
    parser.add_argument("--metric", required=True, metavar="NAME", help="what was measured")
    parser.add_argument(
        "--direction", required=True, choices=("maximize", "minimize"), help="which way is better"
    )
    parser.add_argument("--control", metavar="ARM", help="default: the arm `base` or `control`")
    parser.add_argument(
        "--arm",
        action="append",
        default=[],
        metavar="ARM=TRIAL",
        help="the trial that was live in an arm: first digits of its id, or `best` (repeatable)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Records, and prints what was found."""
    from keepgain.analysis.behaviour.outcomes import found_of, told
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.outcomes import import_outcomes

    if not args.metric.strip():
        raise UserError("the metric needs a name.", where="--metric")
    done = import_outcomes(
        resolve_store(args.store),
        args.sweep,
        args.file,
        metric=args.metric.strip(),
        direction=args.direction,
        control=args.control,
        trials=_pairs(args.arm),
    )
    record = done.record
    if args.json:
        print_json({**record.model_dump(mode="json"), "decision_status": done.decided})
        return EXIT_OK
    for arm in found_of(record).arms:
        if arm.improvement is not None:
            live = f"trial {arm.trial}" if arm.trial else "no trial of this sweep"
            say(f"{record.metric}: {arm.arm} ({live}) {told(arm)}")
    if done.decided is not None:
        say(f"recorded; the sweep's decision is now: {done.decided.replace('_', ' ')}")
    else:
        say("recorded; `analyze` shows it")
    return EXIT_OK


def _pairs(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for arm, trial in map(_pair, given):
        if arm in found:
            raise UserError(
                f"arm '{arm}' is given twice.", where="--arm", hint="One trial was live in it."
            )
        found[arm] = trial
    return found


def _pair(given: str) -> tuple[str, str]:
    arm, equals, trial = given.partition("=")
    if not (arm and equals and trial):
        raise UserError(
            f"'{given}' is not ARM=TRIAL.", where="--arm", hint="Such as `--arm new=3f9a1c`."
        )
    return arm, trial
