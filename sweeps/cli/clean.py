"""`sweep clean`: repairs rows into new files, and says of each row what was done and why."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.sweeps.cli.common import print_json, print_table, say

if TYPE_CHECKING:
    from keepgain.sweeps.clean.cleaning import Summary
    from keepgain.sweeps.clean.folder import Target
    from keepgain.sweeps.clean.inputs import Inputs

EXAMPLES = """examples:
  sweep clean sweep.yaml --to cleaned --dry-run        # what would be done, by file
  sweep clean sweep.yaml --to cleaned
  sweep clean sweep.yaml --to cleaned --near --drop-leaked --mask-personal
  sweep clean sweep.yaml --to cleaned2 --apply cleaned/review.jsonl   # with answers filled in
  sweep clean old.jsonl new.csv --to cleaned           # without a spec: all rows to train on
  sweep clean sweep.yaml --to cleaned --plant-canaries 12 --repeats 1,4,16
always: exact duplicates are dropped, characters are composed (Unicode NFC), white space is tidied,
dates and numbers are written as data_spec says, contradicting and probably mislabelled rows go to
review.jsonl. log.jsonl has file, line, action and reason of every row that is not as it was.
exit code: 0 the files are written, 2 they cannot be (nothing was written)
"""
SPEC_ENDS = (".yaml", ".yml")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "clean",
        help="write cleaned files of rows, with a log; nothing is changed in place",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a sweep's YAML file, or files of rows"
    )
    parser.add_argument("--profile", help="of the spec")
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--force", action="store_true", help="replace what an earlier cleaning wrote there"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing, show the counts")
    parser.add_argument("--near", action="store_true", help="drop near copies too, the first stays")
    parser.add_argument(
        "--drop-leaked",
        action="store_true",
        help="drop training rows that give items of suites away",
    )
    parser.add_argument(
        "--mask-personal",
        action="store_true",
        help="mask personal data and secrets in what is trained on",
    )
    parser.add_argument(
        "--keep-doubtful",
        action="store_true",
        help="leave contradicting and probably mislabelled rows where they are",
    )
    parser.add_argument(
        "--apply",
        type=Path,
        metavar="REVIEWED",
        help="review.jsonl of an earlier cleaning with `new_answer` filled in, or `drop` set",
    )
    parser.add_argument(
        "--plant-canaries",
        type=int,
        metavar="N",
        help="write canaries.jsonl to train on, and a suite of them and of controls",
    )
    parser.add_argument(
        "--repeats",
        default="1,4,16",
        metavar="LIST",
        help="of the canaries: how often each one stands in the file; default 1,4,16",
    )
    parser.add_argument(
        "--controls",
        type=int,
        default=120,
        metavar="N",
        help="canaries not planted, to compare with; default 120, of which each split gets half",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the canaries; default 0")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reads, decides, writes; see `EXAMPLES` for the exit code."""
    from keepgain.sweeps.clean.cleaning import Options, clean
    from keepgain.sweeps.clean.folder import refuse_target
    from keepgain.sweeps.clean.review import read_reviewed
    from keepgain.sweeps.clean.verdicts import find_verdicts

    beside = _canaries(args)
    target = None if args.dry_run else args.to
    refuse_target(target, args.force)
    inputs = _inputs(args)
    options = Options(
        personal=args.mask_personal,
        corrections={} if args.apply is None else read_reviewed(args.apply, inputs),
        verdicts=find_verdicts(inputs, args.near, args.drop_leaked, not args.keep_doubtful, _say),
    )
    with _progress("dry run" if args.dry_run else "writing") as tick:
        summary = clean(inputs, options, target, force=args.force, beside=beside, tick=tick)
    if args.json:
        print_json(summary.to_json())
    else:
        _tell(args, inputs, summary)
    return EXIT_OK


def _inputs(args: argparse.Namespace) -> "Inputs":
    """What is read: of one spec, or files of rows."""
    from keepgain.sweeps.clean.inputs import inputs_of_files, inputs_of_spec
    from keepgain.sweeps.spec import load_spec

    specs = [path for path in args.files if path.suffix in SPEC_ENDS]
    if specs and len(args.files) > 1:
        raise UserError("a spec is cleaned alone.", where=str(specs[0]))
    _say("reading rows")
    if specs:
        return inputs_of_spec(load_spec(specs[0], args.profile), tasks=args.drop_leaked)
    if args.drop_leaked or args.profile:
        given = "--drop-leaked" if args.drop_leaked else "--profile"
        raise UserError(f"{given} needs a spec: files alone have no suites.")
    return inputs_of_files(args.files)


def _canaries(args: argparse.Namespace) -> "Callable[[Target], int] | None":
    """Writes canaries; None if there are to be none."""
    if args.plant_canaries is None:
        return None
    from keepgain.sweeps.canaries import draw_canaries

    drawn = draw_canaries(args.plant_canaries, _numbers(args.repeats), args.controls, args.seed)

    def write(made: "Target") -> int:
        for row in drawn.planted:
            made.write("canaries.jsonl", row)
        for row in drawn.controls:
            made.write("canary_controls.jsonl", row)
        for row in drawn.validation:
            made.write("canary_validation.jsonl", row)
        for row in drawn.test:
            made.write("canary_test.jsonl", row)
        return len(drawn.planted)

    return write


def _tell(args: argparse.Namespace, inputs: "Inputs", summary: "Summary") -> None:
    """A table, and what to do next."""
    rows = [
        (Path(c.file).name, str(c.rows), str(c.kept), str(c.changed), _reasons(c.reasons))
        for c in summary.files
    ]
    print_table(("file", "rows", "kept", "changed", "what was done"), rows)
    if args.dry_run:
        say("nothing was written (--dry-run)")
        return
    say(f"wrote {', '.join(summary.names)} to {args.to}; each file is for:")
    for file, one in zip(inputs.files, summary.files, strict=True):
        say(f"  {file.key}: {args.to / one.written}")
    if summary.review:
        say(
            f"{summary.review} rows are in review.jsonl: fill in `new_answer` (or set `drop`) and "
            f"run it again with --apply {args.to / 'review.jsonl'} and another --to"
        )
    if summary.canaries:
        say(
            f"to train on the canaries too, add `canaries: {{path: {args.to / 'canaries.jsonl'}, "
            "role: task}` to `data`; to see what is learnt by heart, add `exposure: {validation: "
            f"{args.to / 'canary_validation.jsonl'}, test: {args.to / 'canary_test.jsonl'}, "
            "scorer: canary_bits, measures: behaviour}` to `suites`"
        )


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"'{text}' is no list of numbers.", hint="E.g. --repeats 1,4,16.") from None


def _reasons(reasons: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in reasons.items()) or "-"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int], None]]:
    """A count of rows in a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed:,.0f} rows"))
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(file=sys.stderr), transient=True
    ) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done: bar.advance(task, done)
