"""`analyze`: reads a finished (or running) sweep and says what to use. It never writes to a store.

Heavy modules are imported when they are needed, so that `analyze --help` answers at once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keepgain.analysis.asked import DECISION, Asked, asked
from keepgain.analysis.asked import parser as _parser
from keepgain.core.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    KeepgainError,
)
from keepgain.core.terminal import show_faults_redacted, shown

if TYPE_CHECKING:
    from keepgain.analysis.grid import View
    from keepgain.analysis.result import Analysis
    from keepgain.core.record import Evidence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    show_faults_redacted()
    options = _parser().parse_intermixed_args(arguments)
    try:
        print(_run(options), end="", flush=True)
    except KeepgainError as error:
        print(shown(f"analyze: {error}"), file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `analyze last | head`
        sys.stderr.close()
        return EXIT_OK
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        print(shown(f"analyze: {error}"), file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _run(options: argparse.Namespace) -> str:
    if options.list:
        return _list(options.store)
    wanted = asked(options)
    evidence, folders = _load(wanted, options)
    from keepgain.analysis.analyze import analyze

    analysis = analyze(
        evidence,
        delta=options.delta,
        max_forgetting=options.max_forgetting,
        split=options.split,
        min_gain=options.min_gain,
        budget_usd=options.budget_usd,
        objectives=options.objectives or (),
    )
    if analysis.given is not None:
        _refuse_without_items(analysis, wanted.view, options)
    if wanted.view != DECISION:
        return _rendered_view(
            analysis, _view(wanted, options, evidence, analysis, folders), options
        )
    if options.plot is not None:
        from keepgain.analysis.plots import save

        save(analysis, options.plot)
        print(f"analyze: wrote {options.plot}", file=sys.stderr)
    if options.report is not None:
        from keepgain.analysis.report.file import write

        write(evidence, analysis, options.report, store=options.store, words=_source(options))
        print(f"analyze: wrote {options.report}", file=sys.stderr)
    return _rendered(analysis, options.format)


def _source(options: argparse.Namespace) -> tuple[str, ...]:
    """The words that name what a report is of, where its sweep's id and store do not."""
    if options.example:
        return ("--example",)
    together = (word for other in options.others for word in ("--with", other))
    return (asked(options).sweep, *together) if options.others else ()


def _refuse_without_items(analysis: "Analysis", view: str, options: argparse.Namespace) -> None:
    """A table from elsewhere has figures alone: its decision shows all that can be shown."""
    from keepgain.core.errors import UserError

    asked_for = view if view != DECISION else "--plot" if options.plot is not None else None
    if asked_for is not None:
        raise UserError(
            f"sweep '{analysis.sweep.id}' comes from a table: {asked_for} needs item scores.",
            hint=f"`analyze {analysis.sweep.id}` shows all its rows, and --format csv or json too.",
        )


def _view(
    wanted: Asked,
    options: argparse.Namespace,
    evidence: "Evidence",
    analysis: "Analysis",
    folders: dict[str, Path],
) -> "View":
    """Each view imports what it needs, and nothing else."""
    if wanted.view == "trials":
        from keepgain.analysis.views.trials import Selection, trials_view

        chosen = Selection(options.model, options.sort, options.top, options.objectives or ())
        return trials_view(analysis, chosen)
    if wanted.view == "compare":
        from keepgain.analysis.views.compare import compare_view

        first, second = wanted.operands
        return compare_view(evidence, analysis, first, second, options.split or "validation")
    if wanted.view == "items":
        from keepgain.analysis.views.chosen import DEFAULT_LIMIT, Wanted
        from keepgain.analysis.views.items import items_view

        items = Wanted(
            suite=options.suite,
            where=options.where or "worse",
            trial=options.trial,
            slice=options.slice,
            limit=options.limit or DEFAULT_LIMIT,
            split=options.split or "validation",
        )
        return items_view(evidence, analysis, items, folders)
    if wanted.view == "behaviour":
        from keepgain.analysis.views.behaviour import behaviour_view

        return behaviour_view(evidence, analysis, options.trial, folders)
    if wanted.view == "forgetting":
        from keepgain.analysis.views.forgetting import forgetting_view

        return forgetting_view(analysis)
    if wanted.view == "sizes":
        from keepgain.analysis.views.sizes import sizes_view

        return sizes_view(analysis)
    if wanted.view == "why":
        from keepgain.analysis.views.why import why_view

        return why_view(evidence, analysis)
    from keepgain.analysis.views.curves import curves_view

    return curves_view(evidence, analysis)


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


def _rendered_view(analysis: "Analysis", view: "View", options: argparse.Namespace) -> str:
    if options.format == "json":
        from keepgain.analysis.contract import view_to_json

        return view_to_json(analysis, view) + "\n"
    from keepgain.analysis import render

    if options.format == "md":
        return render.view_markdown(view)
    if options.format == "csv":
        return render.view_csv(view)
    if sys.stdout.isatty():
        return render.view_text(view, width=render.terminal_width(), colour=True)
    return render.view_text(view)


def _load(wanted: Asked, options: argparse.Namespace) -> tuple["Evidence", dict[str, Path]]:
    """The evidence, and run key → folder of its sweep, where that is at hand."""
    from keepgain.analysis.load import id_of, load_evidence

    if options.example:
        return load_evidence("example"), {}
    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.reader import open_reader

    location = resolve_store(options.store)
    reader = open_reader(location, _say)
    ids = [id_of(given, reader, location) for given in (wanted.sweep, *options.others)]
    found = [(reader.load(i), location.sweep_folder(i)) for i in dict.fromkeys(ids)]
    if len(found) == 1:
        evidence, folder = found[0]
        return evidence, {r.run_key: folder for r in evidence.sweep.runs}
    from keepgain.analysis.together import read_as_one

    given = {k: getattr(options, k) is not None for k in ("delta", "max_forgetting", "min_gain")}
    merged = read_as_one([e for e, _ in found], given={k for k, yes in given.items() if yes})
    folders = {key: found[n][1] for key, n in merged.came_from.items()}
    return merged.evidence, folders


def _say(line: str) -> None:
    """Progress, and where figures come from; results alone go to the standard output."""
    print(shown(f"analyze: {line}"), file=sys.stderr, flush=True)


def _list(store: str | None) -> str:
    from keepgain.core.store.location import resolve_store
    from keepgain.core.store.reader import open_reader

    location = resolve_store(store)
    known = open_reader(location).sweep_ids()
    if not known:
        print(f"analyze: store {location.display} holds no sweep.", file=sys.stderr)
    return "".join(f"{sweep}\n" for sweep in known)


assert EXIT_BAD_INPUT == 2  # argparse ends with 2 on its own

if __name__ == "__main__":
    sys.exit(main())
