"""What several commands share: how a spec or a sweep is named, tables for terminal and pipe, and
how far something is."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from keepgain.core.terminal import clean, shown

LINE_SECONDS = 30.0


def add_spec(parser: argparse.ArgumentParser) -> None:
    """The spec's file, and `--profile`."""
    parser.add_argument("spec", type=Path, help="the sweep's YAML file")
    parser.add_argument("--profile", help="overrides of the spec to merge in, from `profiles:`")


def add_store(parser: argparse.ArgumentParser) -> None:
    """`--store`."""
    parser.add_argument(
        "--store",
        help="folder or tracking URI; default: KEEPGAIN_STORE, MLFLOW_TRACKING_URI, else the "
        "nearest .keepgain upwards",
    )


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """The id of a sweep, and `--store`."""
    parser.add_argument("sweep", nargs="?", default="last", metavar="ID", help="default: last")
    add_store(parser)


def add_address(parser: argparse.ArgumentParser) -> None:
    """`--address`, of commands that also look at jobs of `sweep submit`."""
    parser.add_argument(
        "--address",
        metavar="URL",
        help="a Ray cluster's dashboard, http://HOST:8265: look for the sweep's job there; not "
        "needed where `sweep submit` was called",
    )


def say(text: str, *, error: bool = False) -> None:
    """Prints a text as far as it may be shown (`core.terminal`), at once: logs are read live."""
    print(shown(text), file=sys.stderr if error else sys.stdout, flush=True)


def print_json(value: Any) -> None:
    """For programs: one document, nothing else on standard output."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    print()


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns for people; no box, so that it can be piped."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(clean(name), overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row))
    console = Console(highlight=False, markup=False)
    console.print(table)


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar in a terminal, else a line every 30 seconds."""
    from rich.progress import Progress

    console = Console(file=sys.stderr)
    if console.is_terminal:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("asking", total=total)
            yield lambda n: bar.advance(task, n)
        return
    done, said = 0, time.monotonic()

    def tick(more: int) -> None:
        nonlocal done, said
        done += more
        if time.monotonic() - said > LINE_SECONDS:
            said = time.monotonic()
            say(f"asking: {done:,} of {total:,}", error=True)

    yield tick


def count(text: str) -> int:
    """Type of an option that is a whole number from 1."""
    if not (text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1")
    return int(text)
