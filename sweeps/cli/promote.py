"""`sweep promote`: the chosen model in MLflow's model registry, with evidence and an alias."""

import argparse

from keepgain.core.errors import EXIT_OK
from keepgain.sweeps.cli.common import add_store, say

EPILOG = """examples:
  sweep promote last                               # what the newest sweep has decided for
  sweep promote ticket-routing-7f3a2c --trial 3f9a1c --name tickets --alias staging
  mlflow artifacts download --artifact-uri models:/tickets@staging   # its files, wherever needed
A version is one replicate: the weights of one confirmed run. Its figures are of that run, with
intervals over items; the model card and the decision lie beside the weights. The same weights
again make no new version: the alias moves.
exit code: 0 it is registered, 2 it cannot be (nothing was registered)
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "promote",
        help="the chosen model into MLflow's model registry",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", metavar="ID", help="sweep id, or `last`")
    parser.add_argument(
        "--trial",
        metavar="TRIAL",
        help="first digits of a confirmed trial's id or run key; default: what the sweep has "
        "decided for, if it has",
    )
    parser.add_argument("--name", help="of the registered model; default: the sweep's name")
    parser.add_argument(
        "--alias", default="champion", help="that this version gets; default: champion"
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="register an adapter merged into its base, in float32; a whole model stays as it is",
    )
    add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Registers and says under which name."""
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.promote import promote

    made = promote(
        resolve_store(args.store),
        args.sweep,
        args.trial,
        name=args.name,
        alias=args.alias,
        merge=args.merge,
        say=say,
    )
    done = made.export
    what = "an adapter, to be loaded on its base" if done.adapter else "a whole model"
    new = "is new" if made.new else "had these weights already"
    say(f"{made.name} version {made.version} {new}: run {done.run_key} of {done.sweep}, {what}")
    say(f"models:/{made.name}@{made.alias}")
    return EXIT_OK
