"""`sweep chat`: the tuned model and its base side by side in the terminal, and what to flag."""

import argparse
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.sweeps.cli.common import add_sweep, say

DEFAULT_FLAGS = "flagged.jsonl"
EPILOG = """examples:
  sweep chat last                                   # what the sweep has decided for, and its base
  sweep chat tickets-7f3a2c --trial 3f9a1c --blind  # who is who is not told
  sweep chat last --flags redteam.jsonl < questions.txt
A line is a question to both models. `/flag CATEGORY [a|b|both] [note]` keeps the last exchange in
the file and asks for the answer that you wanted; `/quit` ends. Each question stands alone: nothing
said before is shown to the models. The file is a suite of the next sweep: `path: flagged.jsonl`.
exit code: 0 done; 2 there is no such model here
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "chat",
        help="talk to the tuned model and its base side by side, and flag what is wrong",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sweep(parser)
    parser.add_argument(
        "--trial",
        default="best",
        metavar="TRIAL",
        help="first digits of a confirmed trial's id or run key; default: best, what the sweep "
        "has decided for",
    )
    parser.add_argument(
        "--blind", action="store_true", help="do not tell which is which; sides change"
    )
    parser.add_argument(
        "--flags",
        type=Path,
        default=Path(DEFAULT_FLAGS),
        metavar="FILE",
        help=f"where flagged exchanges are added; default: {DEFAULT_FLAGS}",
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=256, metavar="N", help="of an answer; default: 256"
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of the order of sides; default: drawn, since who knows the seed knows the sides",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Loads both models, and talks until the end."""
    if args.max_new_tokens < 1:
        raise UserError(
            f"must be at least 1 (given: {args.max_new_tokens}).", where="--max-new-tokens"
        )
    if not args.flags.absolute().parent.is_dir():
        raise UserError("its folder does not exist.", where=f"--flags {args.flags}")
    if args.flags.is_dir():
        raise UserError("is a folder, not a file.", where=f"--flags {args.flags}")
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.chat import HELP, Session, find_pair

    start, runtime = find_pair(resolve_store(args.store), args.sweep, args.trial)
    say(f"loading {start.model} and trial {start.trial_id} ...", error=True)
    from keepgain.trainers.chat import load_speaker

    speakers = {
        "base": load_speaker(start.reference, None, runtime),
        "tuned": load_speaker(start.base, start.folder, runtime),
    }
    session = Session(
        ask=lambda who, question: speakers[who].answer(question, args.max_new_tokens),
        origin={"sweep": start.sweep, "trial": start.trial_id},
        flags=args.flags,
        say=say,
        blind=args.blind,
        seed=secrets.randbits(32) if args.seed is None else args.seed,
    )
    say(HELP, error=True)
    session.run(_lines())
    return EXIT_OK


def _lines() -> Iterator[str]:
    """What is typed, or comes through a pipe."""
    try:
        for line in _typed() if sys.stdin.isatty() else sys.stdin:
            yield line.encode("utf-8", "replace").decode()  # some locales let half characters in
    except UnicodeDecodeError:
        raise UserError("a line is not UTF-8.", where="standard input") from None


def _typed() -> Iterator[str]:
    while True:
        try:
            yield input("> ")
        except EOFError:
            return
