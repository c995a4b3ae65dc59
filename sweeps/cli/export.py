"""`sweep export`: a tuned model as a folder that others load, with a model card."""

import argparse
from pathlib import Path

from keepgain.core.errors import EXIT_OK
from keepgain.sweeps.cli.common import add_store, say

EPILOG = """examples:
  sweep export last --to model                  # what the newest sweep has decided for
  sweep export ticket-routing-7f3a2c 3f9a1c --to model       # a confirmed trial of your choice
  sweep export last --to model --merge          # an adapter merged into its base
  sweep export last --to model --refit          # trained once more, on validation rows too
  sweep export last --to s3://bucket/model      # with s3fs installed; its credentials, not the URL
Only confirmed trials keep their weights, in the sweep's folder, until you remove it. The card,
README.md, says what was measured, on how many items, and what was not tested.
exit code: 0 it was written, 2 it cannot be (nothing was written)
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "export",
        help="a tuned model as a folder, with a model card",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", metavar="ID", help="sweep id, or `last`")
    parser.add_argument(
        "trial",
        nargs="?",
        default="best",
        metavar="TRIAL",
        help="first digits of a confirmed trial's id or run key; default: best, what the sweep "
        "has decided for",
    )
    parser.add_argument(
        "--to",
        required=True,
        metavar="DIR",
        help="a new or an empty folder, or a URL such as s3://bucket/folder",
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="merge an adapter into its base, in float32; a whole model stays as it is",
    )
    parser.add_argument(
        "--refit",
        action="store_true",
        help="train the trial's settings anew on training and validation rows, each as often as "
        "before; takes as long as a trial",
    )
    add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the folder and says what is in it."""
    from keepgain.core.object_store import check_place
    from keepgain.core.publish import located
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.export import export

    made = export(
        resolve_store(args.store),
        args.sweep,
        args.trial,
        located(Path(), check_place(args.to, "--to", absolute=False)),
        merge=args.merge,
        refit=args.refit,
        say=say,
    )
    what = "an adapter, to be loaded on its base" if made.adapter else "a whole model"
    of = "a refit of run" if args.refit else "of run"
    say(f"{made.place}: {what}, {of} {made.run_key} of {made.sweep}; the card is README.md")
    return EXIT_OK
