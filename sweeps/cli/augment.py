"""`sweep augment`: training rows in other words, through an endpoint of yours, for review."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from keepgain.core.errors import EXIT_OK, UserError
from keepgain.core.paths import expanded
from keepgain.sweeps.cli.common import count, print_json, progress, say

if TYPE_CHECKING:
    from keepgain.core.endpoint.spec import EndpointSpec
    from keepgain.sweeps.augment.prompts import Step
    from keepgain.sweeps.augment.write import Estimate, Task
    from keepgain.sweeps.loaded_spec import LoadedSpec

EPILOG = """examples:
  sweep augment sweep.yaml --source tickets --by paraphrase --dry-run     # tokens and cost
  sweep augment sweep.yaml --source tickets --by paraphrase --copies 2 --to augmented.jsonl
  sweep augment sweep.yaml --source tickets --by back_translation --language de --to back.jsonl
  sweep augment --apply augmented.review.jsonl --to accepted.jsonl        # what people accepted

The spec names the endpoint, and a variable that holds its key:
  endpoints:
    writer: {base_url: "http://localhost:8000/v1", model: my-model, api_key_env: WRITER_KEY}

Only training rows of the source are asked for. Beside FILE stand FILE.review.jsonl (set "accept"
to true or false there) and FILE.dropped.jsonl (what cannot be used, with the reason). Answers are
kept in a cache: an interrupted command goes on where it was, and nothing is paid twice. What you
accepted becomes a source: `reworded: {path: accepted.jsonl, role: synthetic, follows: tickets}`.
Exit codes: 0 done, 1 the endpoint failed (run again), 2 input that cannot be used.
"""
DEFAULT_CACHE = "endpoint-cache.sqlite"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "augment",
        help="training rows in other words, through an endpoint of yours",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", type=Path, nargs="?", help="the sweep's YAML file")
    parser.add_argument("--profile", help="overrides of the spec to merge in, from `profiles:`")
    parser.add_argument("--source", metavar="NAME", help="data source of the spec")
    parser.add_argument("--by", choices=("paraphrase", "back_translation"))
    parser.add_argument("--language", metavar="CODE", help="to translate to and back, e.g. de")
    parser.add_argument(
        "--original", metavar="CODE", help="the rows' language; default: the one of data_spec"
    )
    parser.add_argument("--copies", type=count, default=1, metavar="N", help="of each row")
    parser.add_argument("--limit", type=count, metavar="N", help="only N rows, drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--endpoint", metavar="NAME", help="default: the spec's only one")
    parser.add_argument("--to", type=Path, metavar="FILE", help="file to write")
    parser.add_argument("--dry-run", action="store_true", help="tokens and cost; nothing is sent")
    parser.add_argument("--apply", type=Path, metavar="FILE", help="write what a review accepted")
    parser.add_argument(
        "--rows", type=Path, metavar="FILE", help="of --apply: default: FILE.jsonl of "
        "FILE.review.jsonl",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes rows, or applies a review."""
    if args.apply is not None:
        return _apply(args)
    needed = [n for n in ("spec", "source", "by") if getattr(args, n) is None]
    if args.to is None and not args.dry_run:
        needed.append("to")
    if needed:
        names = ", ".join(n if n == "spec" else f"--{n}" for n in needed)
        raise UserError(f"missing: {names}.", hint="See `sweep augment --help`.")
    return _write(args)


def review_file(rows: Path) -> Path:
    """Beside the rows."""
    return rows.with_name(rows.name.removesuffix(".jsonl") + ".review.jsonl")


def _dropped_file(rows: Path) -> Path:
    return rows.with_name(rows.name.removesuffix(".jsonl") + ".dropped.jsonl")


def _write(args: argparse.Namespace) -> int:
    from keepgain.core.endpoint.client import Endpoint
    from keepgain.sweeps.augment.write import ask_for, read_task, refuse_existing, write_jsonl
    from keepgain.sweeps.spec import load_spec

    loaded = load_spec(args.spec, args.profile)
    name, endpoint_spec = _endpoint(loaded, args.endpoint)
    steps = _steps(args, loaded)
    if args.to is not None:
        refuse_existing(args.to, review_file(args.to), _dropped_file(args.to))
    task = read_task(loaded, args.source, args.by, steps, args.copies, args.limit, args.seed)
    cache = loaded.folder / expanded(endpoint_spec.cache or DEFAULT_CACHE)
    if args.dry_run:
        _show(_estimated(task, endpoint_spec, cache), endpoint_spec, args.json)
        return EXIT_OK
    where = loaded.where(f"endpoints.{name}")
    with Endpoint(endpoint_spec, cache, where) as endpoint:
        total = len(task.rows) * task.copies * len(task.steps)
        with progress(total) as tick:
            written = ask_for(task, endpoint, tick)
        usage, paid = endpoint.usage, endpoint.paid
    write_jsonl(args.to, written.rows)
    write_jsonl(review_file(args.to), written.review)
    if written.dropped:
        write_jsonl(_dropped_file(args.to), written.dropped)
    if args.json:
        counts = {"rows": len(written.rows), "dropped": dict(written.reasons)}
        print_json({**counts, "usage": vars(usage), "paid_usd": paid, "to": str(args.to)})
        return EXIT_OK
    say(f"{len(written.rows)} rows: {args.to}; to be reviewed: {review_file(args.to)}")
    if written.dropped:
        reasons = ", ".join(f"{n} {reason}" for reason, n in written.reasons.most_common())
        say(f"{len(written.dropped)} dropped ({reasons}): {_dropped_file(args.to)}")
    money = f", ${usage.usd:.4g}" if endpoint_spec.usd(0, 0) is not None else ""
    say(
        f"{usage.answers} answers asked for ({usage.cached} were known), {usage.input_tokens:,} "
        f"tokens in, {usage.output_tokens:,} out{money}"
    )
    return EXIT_OK


def _apply(args: argparse.Namespace) -> int:
    from keepgain.sweeps.augment.review import apply_review
    from keepgain.sweeps.augment.write import refuse_existing, write_jsonl

    end = ".review.jsonl"
    if args.to is None:
        raise UserError("missing: --to.", hint="Name the file for the rows that were accepted.")
    if args.rows is None and not args.apply.name.endswith(end):
        raise UserError(f"which rows is {args.apply} about?", hint="Name them with --rows.")
    rows = args.rows or args.apply.with_name(args.apply.name.removesuffix(end) + ".jsonl")
    refuse_existing(args.to)
    found = apply_review(args.apply, rows)
    write_jsonl(args.to, found.rows)
    counts = {"accepted": len(found.rows), "rejected": found.rejected, "open": found.open}
    if args.json:
        print_json({**counts, "to": str(args.to)})
    else:
        said = ", ".join(f"{n} {what}" for what, n in counts.items())
        say(f"{said}: {args.to}")
    return EXIT_OK


def _endpoint(loaded: "LoadedSpec", name: str | None) -> tuple[str, "EndpointSpec"]:
    known = loaded.spec.endpoints
    if not known:
        raise UserError(
            "the spec names no endpoint.",
            where=str(loaded.path),
            hint='Add e.g. `endpoints: {writer: {base_url: "http://localhost:8000/v1", '
            "model: my-model}}`. Typos and other small changes need none: docs/augmentation.md.",
        )
    if name is None and len(known) > 1:
        raise UserError(
            "the spec names several endpoints.",
            where="--endpoint",
            hint=f"One of {', '.join(known)}.",
        )
    name = name or next(iter(known))
    if name not in known:
        raise UserError(
            f"no endpoint '{name}' in the spec.",
            where="--endpoint",
            hint=f"Known: {', '.join(known)}.",
        )
    return name, known[name]


def _steps(args: argparse.Namespace, loaded: "LoadedSpec") -> "tuple[Step, ...]":
    from keepgain.sweeps.augment.prompts import LANGUAGES, steps_of

    if args.by == "paraphrase":
        if args.language or args.original:
            raise UserError("--language and --original are of --by back_translation.")
        return steps_of(args.by, None, None)
    rules = loaded.spec.data_spec
    own = rules.languages if rules is not None else ()
    original = args.original or (own[0] if len(own) == 1 else None)
    for option, code in (("--language", args.language), ("--original", original)):
        if code not in LANGUAGES:
            given = f"unknown language '{code}'" if code else "a language is needed"
            raise UserError(f"{given}.", where=option, hint=f"One of {', '.join(LANGUAGES)}.")
    if args.language == original:
        raise UserError(f"the rows are in '{original}' already.", where="--language")
    return steps_of(args.by, original, args.language)


def _estimated(task: "Task", spec: "EndpointSpec", cache: Path) -> "Estimate":
    """What is in the cache is known; a dry run does not make one."""
    from keepgain.core.endpoint.client import Endpoint
    from keepgain.sweeps.augment.write import estimate

    if not cache.exists():
        return estimate(task, lambda _: False, spec.usd)
    # No key is needed to look into the cache.
    with Endpoint(spec.model_copy(update={"api_key_env": None}), cache) as endpoint:
        return estimate(task, lambda r: endpoint.known(r) is not None, spec.usd)


def _show(found: "Estimate", spec: "EndpointSpec", as_json: bool) -> None:
    if as_json:
        print_json(vars(found))
        return
    money = "no prices in the spec" if found.usd is None else f"about ${found.usd:.4g}"
    if found.usd is not None and spec.max_usd is not None:
        money += f" (max_usd ${spec.max_usd:g})"
    say(
        f"{found.requests:,} requests, {found.known:,} answers known; about {found.input_tokens:,} "
        f"tokens in, {found.output_tokens:,} out: {money}"
    )
    say("nothing was sent, and nothing was written")
