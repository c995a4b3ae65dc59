"""`sweep judge`: a model behind an endpoint scores what a sweep's models have answered."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.sweeps.cli.common import add_store, count, print_json, progress, say

if TYPE_CHECKING:
    from keepgain.core.store.location import StoreLocation
    from keepgain.sweeps.judging.material import Sweep
    from keepgain.sweeps.judging.task import Task

EPILOG = """examples:
  sweep judge last --dry-run                        # questions, tokens and cost; nothing is sent
  sweep judge last --sheet sheet.jsonl              # 50 answers for people to score
  sweep judge last --spec sweep.yaml                # another rubric than the sweep was run with
  sweep judge last --suite gain --split validation
  analyze last behaviour                            # the figures

The suite names its judge, and the spec an endpoint:
  suites: {gain: {..., judge: {endpoint: grader, rubric: "...", labels: labels.jsonl}}}
  endpoints: {grader: {base_url: "http://localhost:8000/v1", model: my-model}}
Replies are kept: an interrupted command goes on where it was, and nothing is asked twice. A suite
whose endpoint is missing is skipped with a warning; nothing is ever scored in its place.
exit code: 0 judged or skipped, 1 the endpoint failed (run again), 2 input that cannot be used
"""
ROWS = 50


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "judge",
        help="a model behind an endpoint scores a sweep's answers",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", metavar="ID", help="sweep id, or `last`")
    parser.add_argument("--suite", metavar="NAME", help="default: every suite that names a judge")
    parser.add_argument(
        "--split", choices=("validation", "test"), help="default: test if it was opened"
    )
    parser.add_argument(
        "--spec", type=Path, metavar="FILE", help="with judges and endpoints; default: as it was "
        "run, with relative paths from here",
    )  # fmt: skip
    parser.add_argument("--profile", help="of --spec")
    parser.add_argument("--dry-run", action="store_true", help="questions and cost; sends nothing")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write answers for people")
    parser.add_argument("--pairs", action="store_true", help="of --sheet: pairs, with the base's")
    parser.add_argument("--rows", type=count, default=ROWS, metavar="N", help="of --sheet")
    parser.add_argument("--seed", type=int, default=0, help="of --sheet's draw")
    parser.add_argument("--json", action="store_true", help="for programs")
    add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judges, or prepares it."""
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.judging.material import read_sweep

    location = resolve_store(args.store)
    sweep = read_sweep(location, args.sweep, args.spec, args.profile)
    suites = _suites(sweep, args.suite)
    if args.sheet is not None:
        return _sheet(args, sweep, suites)
    found = list(_each(args, location, sweep, suites))
    if args.json:
        print_json({"sweep": sweep.folder.name, "suites": found})
    return EXIT_OK


def _suites(sweep: "Sweep", wanted: str | None) -> list[str]:
    judges = list(sweep.settings.judges)
    if not judges or (wanted is not None and wanted not in judges):
        raise UserError(
            f"no suite '{wanted}' with a judge." if wanted else "no suite names a judge.",
            where=sweep.settings.source,
            hint=f"With a judge: {', '.join(judges)}."
            if judges
            else "Add `judge: {endpoint:, rubric:}` to a suite, and name the file with --spec.",
        )
    return judges if wanted is None else [wanted]


def _each(
    args: argparse.Namespace, location: "StoreLocation", sweep: "Sweep", suites: list[str]
) -> Iterator[dict[str, Any]]:
    """What is said of each suite, for programs; people are told on the way."""
    from keepgain.sweeps.judging.material import read_material
    from keepgain.sweeps.judging.task import SkippedError, make_task

    for suite in suites:
        material = read_material(sweep, suite, args.split)
        about = {"suite": suite, "split": material.split}
        try:
            task = make_task(sweep.settings, material)
            of = _estimated(args, sweep, task) if args.dry_run else _judged(
                args, location, sweep, task
            )  # fmt: skip
            yield {**about, **of}
        except SkippedError as error:
            say(f"warning: {suite} is not judged: {error}", error=True)
            yield {**about, "skipped": str(error)}


def _estimated(args: argparse.Namespace, sweep: "Sweep", task: "Task") -> dict[str, Any]:
    from keepgain.sweeps.judging.task import cache_file, estimated
    from keepgain.sweeps.judging.text import estimate_line

    found = estimated(task, cache_file(sweep.settings, task.endpoint, sweep.folder))
    if not args.json:
        say(estimate_line(task, found))
    return vars(found)


def _judged(
    args: argparse.Namespace, location: "StoreLocation", sweep: "Sweep", task: "Task"
) -> dict[str, Any]:
    from keepgain.core.launch import PRIVATE_UMASK
    from keepgain.sweeps.judging.judge import judge
    from keepgain.sweeps.judging.task import cache_file
    from keepgain.sweeps.judging.text import result_lines, to_json

    os.umask(PRIVATE_UMASK)
    cache = cache_file(sweep.settings, task.endpoint, sweep.folder)
    where = f"{sweep.settings.source}:endpoints.{task.material.spec.endpoint}"
    with progress(len(set(task.questions()))) as tick:
        result = judge(location, sweep.folder, task, cache, where, tick)
    if not args.json:
        say("\n".join(result_lines(sweep, task, result)))
    return to_json(sweep, result)


def _sheet(args: argparse.Namespace, sweep: "Sweep", suites: list[str]) -> int:
    from keepgain.sweeps.augment.write import refuse_existing, write_jsonl
    from keepgain.sweeps.judging.labels import sheet
    from keepgain.sweeps.judging.material import read_material

    if len(suites) > 1:
        raise UserError("a sheet is of one suite.", where="--suite", hint=f"{', '.join(suites)}.")
    refuse_existing(args.sheet)
    of = read_material(sweep, suites[0], args.split)
    lines = sheet(of.answers, of.bases, of.texts, args.rows, args.seed, pairs=args.pairs)
    if not lines:
        raise UserError("there are no different answers to compare.", where="--pairs")
    write_jsonl(args.sheet, lines)
    key = "`preferred` (first, second or tie)" if args.pairs else "`score`"
    low, high = of.spec.scale
    on = "" if args.pairs else f" ({low} to {high})"
    say(
        f"{len(lines)} {'pairs' if args.pairs else 'answers'} of {of.suite} ({of.split}) in "
        f"{os.fspath(args.sheet)}: fill in {key}{on}, and name the file in `judge.labels`"
    )
    return EXIT_OK
