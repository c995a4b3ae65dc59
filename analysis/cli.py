"""`analyze`: reads a finished (or running) sweep and says what to use. It never writes to a store.

Heavy modules are imported when they are needed, so that `analyze --help` answers at once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keepgain.core.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_OK, KeepgainError

if TYPE_CHECKING:
    from keepgain.analysis.analyze import Analysis
    from keepgain.core.record import Evidence

EXAMPLE = Path(__file__).parent / "example"

_EPILOG = """\
examples:
  analyze last                              the newest sweep of the store
  analyze ticket-routing-7f3a2c --format json
  analyze last --delta 0.05                 would a looser margin change the answer?
  analyze last --max-forgetting 0.01        and a stricter limit on forgetting?
  analyze last --plot front.svg             gain against forgetting, one panel a size
  analyze --example                         a small recorded sweep, shipped with the package
  analyze --list                            the sweeps of the store

The store is --store, else KEEPGAIN_STORE or MLFLOW_TRACKING_URI, else the nearest .keepgain
upwards.
Exit codes: 0 a decision was printed (whatever it says), 2 the input cannot be used.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        print(_run(options), end="")
    except KeepgainError as error:
        print(f"analyze: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `analyze last | head`
        sys.stderr.close()
        return EXIT_OK
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_OK


def _run(options: argparse.Namespace) -> str:
    if options.list:
        return _list(options.store)
    evidence = _evidence(options)
    from keepgain.analysis.analyze import analyze

    analysis = analyze(
        evidence,
        delta=options.delta,
        max_forgetting=options.max_forgetting,
        split=options.split,
    )
    if options.plot is not None:
        from keepgain.analysis.plots import save

        save(analysis, options.plot)
        print(f"analyze: wrote {options.plot}", file=sys.stderr)
    return _rendered(analysis, options.format)


def _rendered(analysis: "Analysis", form: str) -> str:
    if form == "json":
        from keepgain.analysis.contract import to_json

        return to_json(analysis) + "\n"
    from keepgain.analysis import render

    if form == "md":
        return render.markdown(analysis)
    if form == "csv":
        return render.csv_table(analysis)
    if sys.stdout.isatty():
        return render.text(analysis, width=render.terminal_width(), colour=True)
    return render.text(analysis)


def _evidence(options: argparse.Namespace) -> "Evidence":
    if options.example:
        from keepgain.core.store.record_files import load_folder

        return load_folder(EXAMPLE)
    from keepgain.core.errors import UserError
    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.reader import open_reader

    location = resolve_store(options.store)
    reader = open_reader(location)
    sweep = options.sweep
    if sweep == "last":
        known = reader.sweep_ids()
        if not known:
            raise UserError(
                f"store {location.display} holds no sweep (found by {location.described}).",
                hint="`sweep run` records one; name another store with --store.",
            )
        sweep = known[0]
    return reader.load(sweep)


def _list(store: str | None) -> str:
    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.reader import open_reader

    location = resolve_store(store)
    known = open_reader(location).sweep_ids()
    if not known:
        print(f"analyze: store {location.display} holds no sweep.", file=sys.stderr)
    return "".join(f"{sweep}\n" for sweep in known)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="analyze",
        description="Which model size and settings to fine-tune with, or that it is not worth it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sweep", nargs="?", default="last", metavar="ID", help="sweep id, or `last` (default)"
    )
    parser.add_argument("--store", help="folder or tracking URI that holds the sweep")
    parser.add_argument(
        "--format", choices=("text", "json", "md", "csv"), default="text", help="default: text"
    )
    parser.add_argument(
        "--delta",
        type=_margin,
        metavar="X",
        help="task score that a smaller size may lose, in the suite's unit",
    )
    parser.add_argument(
        "--max-forgetting",
        type=_margin,
        metavar="X",
        help="largest drop allowed on any general suite, in its unit (overrides the question)",
    )
    parser.add_argument(
        "--split",
        choices=("validation", "test"),
        help="decide on this split (default: test where confirmed trials have it)",
    )
    parser.add_argument(
        "--plot",
        type=_figure,
        metavar="FILE",
        help="also draw gain against forgetting (.svg, .png)",
    )
    parser.add_argument("--example", action="store_true", help="analyse the shipped example")
    parser.add_argument("--list", action="store_true", help="list the sweeps of the store")
    return parser


def _margin(given: str) -> float:
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{given}' is not a number of at least 0, such as 0.02")
    return value


def _figure(given: str) -> Path:
    path = Path(given)
    if path.suffix.lower() not in (".svg", ".png"):
        raise argparse.ArgumentTypeError(f"'{given}' must end with .svg or .png")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder of '{given}' does not exist")
    return path


assert EXIT_BAD_INPUT == 2  # argparse ends with 2 on its own

if __name__ == "__main__":
    sys.exit(main())
