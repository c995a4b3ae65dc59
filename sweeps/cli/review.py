"""`sweep review`: people compare two configurations' answers, blind; their ratings come back."""

import argparse
import math
from pathlib import Path

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.sweeps.cli.common import add_store, print_json, say

EPILOG = """examples:
  sweep review export last --to review                   # what is decided for, against its base
  sweep review export last --compare 3f9a1c base --items 100 --to review
  sweep review import ratings-*.jsonl --key review/key.json
`sweep review export --help` and `sweep review import --help` say more.
"""
EXPORT = """examples:
  sweep review export last --to review                   # what is decided for, against its base
  sweep review export last --compare 3f9a1c 77511c --to review    # two trials, by their ids
  sweep review export last --compare "s few_shot" base --items 60 --to review
  sweep review export last --resolve 5 --to review       # more items: tell 55 % from 50 %
  sweep review export last --suite summaries --split validation --to review
review.html is one file that needs no network: send it to each rater. key.json says which answer is
whose: it stays with you. Rubric and instructions come from `review:` in the spec.
exit code: 0 both files were written, 2 they cannot be (nothing was written)
"""
IMPORT = """examples:
  sweep review import ratings-*.jsonl --key review/key.json
  sweep review import back/ratings-0f3a-ann.jsonl back/ratings-0f3a-bo.jsonl --json
  sweep review import ratings-*.jsonl --key review/key.json --force    # a third rater is done now
The review is recorded with the sweep, `analyze` shows it, and the sweep's decision is made anew.
exit code: 0 it is recorded, whatever people prefer; 2 it cannot be (nothing was written)
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command and its two parts."""
    parser = _parser(subparsers, "review", "people compare answers, blind", EPILOG)
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    _add_export(_parser(parts, "export", "a blind page for raters, and its key", EXPORT))
    _add_import(_parser(parts, "import", "the raters' files: un-blinded and recorded", IMPORT))


def _parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    about: str,
    epilog: str,
) -> argparse.ArgumentParser:
    return subparsers.add_parser(
        name, help=about, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", metavar="ID", help="sweep id, or `last`")
    parser.add_argument(
        "--compare",
        nargs=2,
        default=["best", "base"],
        metavar=("A", "B"),
        help="labels or first digits of ids of trials, bases or reference arms; `best`: what the "
        "sweep has decided for; `base`: the other one's base; default: best base",
    )
    parser.add_argument(
        "--items",
        default="auto",
        metavar="N|auto|all",
        help="how many people are asked about; auto (default): as many as --resolve needs",
    )
    parser.add_argument(
        "--resolve",
        type=float,
        metavar="POINTS",
        help="how far from 50 %% a win rate is that must be told from it (80 %% power); default: "
        "10",
    )
    parser.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="SUITE",
        help="whose answers; may be given again; default: the suites that measure the gain",
    )
    parser.add_argument(
        "--split",
        choices=("validation", "test"),
        help="default: test if both have answers there, else validation",
    )
    parser.add_argument(
        "--to", type=Path, default=Path("review"), metavar="FOLDER", help="default: review"
    )
    parser.add_argument("--force", action="store_true", help="replace an export that is there")
    add_store(parser)
    parser.set_defaults(run=run_export)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="one a rater")
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="default: key.json beside the first file"
    )
    parser.add_argument(
        "--force", action="store_true", help="the page was imported before: replace that review"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_store(parser)
    parser.set_defaults(run=run_import)


def run_export(args: argparse.Namespace) -> int:
    """Writes page and key, and says what is on the page."""
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.review.export import RESOLVE, Wanted, export, lines

    items = _items(args.items)
    if args.resolve is not None and args.items != "auto":
        raise UserError("--resolve is for --items auto.", where="--resolve")
    points = 100 * RESOLVE if args.resolve is None else args.resolve
    if not (math.isfinite(points) and 0 < points < 50):
        raise UserError(
            f"must be above 0 and below 50 points (given: {points:g}).", where="--resolve"
        )
    wanted = Wanted(
        a=args.compare[0],
        b=args.compare[1],
        items=items,
        resolve=points / 100,
        suites=tuple(args.suite),
        split=args.split,
    )
    made = export(resolve_store(args.store), args.sweep, wanted, args.to, force=args.force)
    say("\n".join(lines(made)))
    return EXIT_OK


def run_import(args: argparse.Namespace) -> int:
    """Records the review, and prints it."""
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.review.import_ import import_ratings, lines, to_json

    done = import_ratings(resolve_store(args.store), args.files, args.key, force=args.force)
    if args.json:
        print_json(to_json(done))
    else:
        say("\n".join(lines(done)))
    return EXIT_OK


ALL = 1 << 40
"""Items: more than there are."""


def _items(given: str) -> int | None:
    """None: as many as the resolution needs."""
    if given == "auto":
        return None
    if given == "all":
        return ALL
    if not given.isdecimal() or len(given) > len(str(ALL)) or int(given) < 1:
        raise UserError(f"must be a number, `auto` or `all` (given: {given:.40}).", where="--items")
    return int(given)
