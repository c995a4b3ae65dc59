"""`sweep import`: results from elsewhere into the same record."""

import argparse
from pathlib import Path

from keepgain.core.errors import EXIT_OK
from keepgain.sweeps.cli.common import add_store, say

SHOWN = 20
LATEST = "last"
"""What every command takes for the newest sweep."""
EPILOG = """examples:
  sweep import table.csv --id lora-land --label model --model model --objective score:max:share \\
      --cost parameters
  sweep import results/ --id harness --label model_name \\
      --objective 'results.hellaswag.acc,none:max:share' \\
      --se 'results.hellaswag.acc,none=results.hellaswag.acc_stderr,none'
  sweep import wandb.csv --id wandb --label Name --where State=finished \\
      --objective val/accuracy:max:share --objective forgetting:min:share --n 2000
  sweep import runs.jsonl --id seeds --label config --duplicates replicates \\
      --objective 'train_info.metrics.-1.test accuracy:max:share'
  analyze lora-land

A column is a path: keys with dots between, and indices of lists, negative ones from the end. Rows
that cannot be used are named, and kept in the record as left out. docs/import.md has more.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "import",
        help="results from elsewhere: a table, lm-eval outputs, a W&B export",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", type=Path, help="a .csv, .tsv, .jsonl or .json file, or a folder")
    parser.add_argument("--id", required=True, metavar="NAME", help="id of the new sweep")
    parser.add_argument("--label", required=True, metavar="COL", help="column that names a row")
    parser.add_argument(
        "--objective",
        action="append",
        required=True,
        metavar="COL:max|min[:UNIT]",
        help="several; the first to be maximised is the task score; units `share` and `%%` are "
        "known to be bounded; one called `forgetting` is what --max-forgetting limits",
    )
    parser.add_argument("--model", metavar="COL", help="column of the base model: asks for a size")
    parser.add_argument(
        "--cost", metavar="COL", help="column that orders models (default: `parameters`)"
    )
    parser.add_argument(
        "--se", action="append", default=[], metavar="OBJ=COL", help="column of standard errors"
    )
    parser.add_argument(
        "--n", metavar="N", help="items behind each share: a number, or a column that says it"
    )
    parser.add_argument(
        "--where", action="append", default=[], metavar="COL=VALUE", help="only such rows"
    )
    parser.add_argument(
        "--duplicates",
        choices=("newest", "replicates"),
        help="rows of one label: keep the last (of a folder: the file written last), or take them "
        "for seeds of one configuration",
    )
    add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reads, checks, and only then writes."""
    from keepgain.core.errors import UserError
    from keepgain.core.redaction import redact
    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.names import check_id
    from keepgain.sweeps.imported.options import columns_of
    from keepgain.sweeps.imported.read import read_table
    from keepgain.sweeps.imported.record import table_record
    from keepgain.sweeps.imported.save import save

    check_id(args.id)
    if args.id == LATEST:
        raise UserError(
            f"--id: '{LATEST}' names the newest sweep of a store, so no sweep can be called that.",
            hint="Choose another id.",
        )
    named = columns_of(
        label=args.label,
        objectives=args.objective,
        model=args.model,
        cost=args.cost,
        errors=args.se,
        n=args.n,
        where=args.where,
    )
    rows = read_table(args.table)
    location = resolve_store(args.store, create=True, make=False)
    imported = table_record(
        rows,
        named,
        sweep_id=args.id,
        table=redact(args.table.resolve().name),
        store=location.display,
        duplicates=args.duplicates,
    )
    written = save(location, imported.sweep)
    left_out = [*imported.faulty, *imported.superseded]
    for line in left_out[:SHOWN]:
        say(f"sweep: left out: {line}", error=True)
    if len(left_out) > SHOWN:
        say(f"sweep: left out: {len(left_out) - SHOWN} more rows", error=True)
    good = len(imported.sweep.runs) - len(imported.faulty)
    if not written:
        say(f"{args.id}: already imported, with the same figures; nothing was written")
        return EXIT_OK
    where = f"{len(rows)} read"
    where += f", {imported.unmet} not {' and '.join(args.where)}" if imported.unmet else ""
    where += f", {len(left_out)} left out" if left_out else ""
    say(f"{args.id}: {good} row{'s' * (good != 1)} imported into {location.display} ({where})")
    say(f"decide:  analyze {args.id}")
    return EXIT_OK
