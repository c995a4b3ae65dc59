"""The command line of `analyze`: its options, and what its words `[ID] [VIEW] [A B]` ask for."""

import argparse
import difflib
from dataclasses import dataclass
from pathlib import Path

from keepgain.core.errors import UserError

DECISION = "decision"
VIEWS = {
    DECISION: "what to use, and why (the default)",
    "trials": "every trial with its figures; --sort, --model, --top",
    "sizes": "the base models compared at equal effort",
    "why": "which settings mattered",
    "curves": "learning curves: would more data help?",
    "compare": "compare A B: two trials, bases or arms on the same items",
    "behaviour": "what else moved from the base: behaviours, guards, live outcomes; --trial",
    "forgetting": "what was lost, by capability and group, and whether it is only masked",
    "items": "the very items that were lost or won; --suite, --where, --trial, --slice, --limit",
}
OPTIONS = {
    "trials": ("sort", "model", "top"),
    "items": ("suite", "where", "trial", "slice", "limit"),
    "behaviour": ("trial",),
    DECISION: ("plot", "report"),
}
"""View → options that it takes, and not every view."""
ANOTHER = "A further sweep is given by --with"


_EPILOG = """\
views:
{views}
examples:
  analyze last                              the newest sweep of the store
  analyze ticket-routing-7f3a2c --format json
  analyze last --delta 0.05                 would a looser margin change the answer?
  analyze last --max-forgetting 0.01        and a stricter limit on forgetting?
  analyze last --budget-usd 2               and a budget?
  analyze last trials --sort gain --top 10  the ten largest gains
  analyze last trials --objectives task_score,forgetting,usd
  analyze last compare 3fa94c s-base        a trial against the untouched base s
  analyze last items --suite facts --where worse
  analyze last behaviour                    what a better score hides
  analyze last sizes --with ticket-routing-9c01be
                                            two sweeps on the same items, read as one
  analyze last --plot front.svg             gain against forgetting, one panel a size
  analyze last --report report.html         all of it in one file, to pass on
  analyze --example trials                  a small recorded sweep, shipped with the package
  analyze --list                            the sweeps of the store

A trial is named by its label or the first digits of its id. compare and items show validation
unless --split test. The store is --store, else KEEPGAIN_STORE or MLFLOW_TRACKING_URI, else the
nearest .keepgain upwards.
Exit codes: 0 an answer was printed (whatever it says), 2 the input cannot be used.
""".format(views="".join(f"  {name:12}{what}\n" for name, what in VIEWS.items()))


@dataclass(frozen=True)
class Asked:
    """A sweep and what to show of it."""

    sweep: str
    view: str
    operands: tuple[str, ...] = ()
    """Of `compare`: A and B."""


def asked(options: argparse.Namespace) -> Asked:
    """The words of the command line.

    A view's name alone asks it of the newest sweep; a sweep that is called as a view is asked with
    both words (`analyze sizes decision`). With --example there is no id.

    Raises:
        UserError: An unknown view, too many or too few words, or an option of another view.
    """
    words = list(options.words)
    alone = words and words[0] in VIEWS and not (len(words) > 1 and words[1] in VIEWS)
    sweep = "last" if options.example or alone or not words else words.pop(0)
    view = words.pop(0) if words else DECISION
    if view not in VIEWS:
        near = difflib.get_close_matches(view, VIEWS, n=2, cutoff=0.5)
        hint = f"Nearest: {', '.join(near)}." if near else f"Known: {', '.join(VIEWS)}."
        other = "--example takes no sweep id" if options.example else ANOTHER
        raise UserError(f"no view '{view}'.", hint=f"{hint} {other}.")
    if options.example and options.others:
        raise UserError("--example is read alone: leave --with out, or name sweeps of a store.")
    needed = 2 if view == "compare" else 0
    if len(words) != needed:
        raise UserError(
            f"`{view}` takes {needed or 'no'} names, not {len(words)}.",
            hint="Two trials, bases or arms: `analyze last compare 3fa94c s-base`."
            if needed
            else None,
        )
    for other, names in OPTIONS.items():
        mine = OPTIONS.get(view, ())
        given = [n for n in names if n not in mine and getattr(options, n) is not None]
        if other != view and given:
            raise UserError(f"--{given[0]} is an option of `{other}`, not of `{view}`.")
    return Asked(sweep, view, tuple(words))


def parser() -> argparse.ArgumentParser:
    """Of the whole command."""
    made = argparse.ArgumentParser(
        prog="analyze",
        usage="analyze [ID] [VIEW] [options]",
        description="Which model size and settings to fine-tune with, or that it is not worth it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "words",
        nargs="*",
        metavar="[ID] [VIEW]",
        help="sweep id, or `last` (default); then what to show of it, see below",
    )
    made.add_argument(
        "--with",
        dest="others",
        metavar="ID",
        action="append",
        default=[],
        help="read this sweep together with the first (repeatable)",
    )
    made.add_argument("--store", help="folder or tracking URI that holds the sweep")
    made.add_argument(
        "--format", choices=("text", "json", "md", "csv"), default="text", help="default: text"
    )
    made.add_argument(
        "--delta",
        type=_margin,
        metavar="X",
        help="task score that a smaller size may lose, in the suite's unit",
    )
    made.add_argument(
        "--max-forgetting",
        type=_margin,
        metavar="X",
        help="largest drop allowed on any general suite, in its unit (overrides the question)",
    )
    made.add_argument(
        "--min-gain",
        type=_margin,
        metavar="X",
        help="least gain over its base that a trial must show (overrides the question)",
    )
    made.add_argument(
        "--budget-usd",
        type=_margin,
        metavar="X",
        help="most US dollars a configuration may cost: by the question's cost if in dollars "
        "(serving), else `usd`, one training with its scoring",
    )
    made.add_argument(
        "--objectives",
        type=_names,
        metavar="A,B,...",
        help="objectives and costs of the fronts and of the columns of `trials`",
    )
    made.add_argument(
        "--split",
        choices=("validation", "test"),
        help="decide on this split (default: test where confirmed trials have it)",
    )
    made.add_argument(
        "--plot",
        type=_figure,
        metavar="FILE",
        help="also draw gain against forgetting (.svg, .png)",
    )
    made.add_argument(
        "--report",
        type=_report,
        metavar="FILE",
        help="also write a report: .html (one file, offline) or .md (short, for a pull request)",
    )
    _view_options(made)
    made.add_argument("--example", action="store_true", help="analyse the shipped example")
    made.add_argument("--list", action="store_true", help="list the sweeps of the store")
    return made


def _view_options(made: argparse.ArgumentParser) -> None:
    trials = made.add_argument_group("options of trials")
    trials.add_argument("--sort", metavar="NAME", help="by an objective, cost or setting")
    trials.add_argument("--model", metavar="NAME", help="of one base model")
    trials.add_argument("--top", type=_positive, metavar="N", help="the first N rows")
    items = made.add_argument_group("options of items")
    items.add_argument("--suite", metavar="NAME", help="which suite")
    items.add_argument(
        "--where",
        choices=("worse", "better", "changed", "wrong"),
        help="against the base in the mean over runs (default: worse); wrong: in any run",
    )
    items.add_argument("--trial", metavar="NAME", help="of behaviour too; default: the decision's")
    items.add_argument("--slice", type=_part, metavar="FIELD=VALUE", help="only these items")
    items.add_argument("--limit", type=_positive, metavar="N", help="at most N items (default: 20)")


def _figure(given: str) -> Path:
    return _file(given, (".svg", ".png"))


def _report(given: str) -> Path:
    return _file(given, (".html", ".md"))


def _file(given: str, endings: tuple[str, ...]) -> Path:
    path = Path(given)
    if path.suffix.lower() not in endings:
        raise argparse.ArgumentTypeError(f"'{given}' must end with {' or '.join(endings)}")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder of '{given}' does not exist")
    return path


def _margin(given: str) -> float:
    """A number of at least 0."""
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{given}' is not a number of at least 0, such as 0.02")
    return value


def _positive(given: str) -> int:
    """A whole number of at least 1."""
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError(f"'{given}' is not a whole number of at least 1")
    return int(given)


def _names(given: str) -> tuple[str, ...]:
    """`gain,usd` as its parts."""
    found = tuple(dict.fromkeys(n.strip() for n in given.split(",") if n.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"'{given}' names nothing; such as gain,forgetting,usd")
    return found


def _part(given: str) -> tuple[str, str]:
    """`group=billing` as field and value."""
    field, equals, value = given.partition("=")
    if not (field and equals and value):
        raise argparse.ArgumentTypeError(f"'{given}' is not FIELD=VALUE, such as group=billing")
    return field, value
