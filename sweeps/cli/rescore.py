"""`sweep rescore`: a tuned model and its base on newer test items; is it time for a new sweep?"""

import argparse
import math
from pathlib import Path

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.sweeps.cli.common import add_store, print_json, say

EPILOG = """examples:
  sweep rescore last --suite new.jsonl                      # what the sweep has decided for
  sweep rescore tickets-7f3a2c --suite new.jsonl --model 3f9a1c     # a confirmed trial of yours
  sweep rescore last --suite new.jsonl --as gain_german     # which suite the items replace
  sweep rescore last --suite new.jsonl --threshold 0.05     # else the spec's question.rescore_drop
  sweep rescore last --suite new.jsonl --json | jq .new_sweep
The rows are read and scored as those of the suite. The scores are kept apart from the sweep's, in
rescores/ of its folder; the same items are scored once.
exit code: 0 it was scored, whatever the answer; 2 it could not be
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "rescore",
        help="a tuned model on newer test items, and whether a new sweep is warranted",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", metavar="ID", help="sweep id, or `last`")
    parser.add_argument(
        "--suite", type=Path, required=True, metavar="FILE", help="the new test items, with answers"
    )
    parser.add_argument(
        "--as",
        dest="replaces",
        metavar="SUITE",
        help="the sweep's suite that they replace; default: the one that measures the gain",
    )
    parser.add_argument(
        "--model",
        default="best",
        metavar="TRIAL",
        help="first digits of a confirmed trial's id or run key; default: best, what the sweep "
        "has decided for",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="DROP",
        help="drop of the tuned score that calls for a new sweep, in the suite's unit; default: "
        "the spec's question.rescore_drop, else its delta",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Scores, and prints the comparison."""
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.rescore import rescore
    from keepgain.sweeps.rescore_text import rescored_lines, to_json

    given = args.threshold
    if given is not None and not (math.isfinite(given) and given >= 0):
        raise UserError(f"must be a number of at least 0 (given: {given:g}).", where="--threshold")
    found = rescore(
        resolve_store(args.store),
        args.sweep,
        args.suite,
        suite=args.replaces,
        trial=args.model,
        threshold=given,
        say=lambda line: say(f"{line} ...", error=True),
    )
    if args.json:
        print_json(to_json(found))
    else:
        say("\n".join(rescored_lines(found)))
    return EXIT_OK
