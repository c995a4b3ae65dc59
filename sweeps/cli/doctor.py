"""`sweep doctor`: what would make a sweep fail on this machine or on a cluster, and its fix."""

import argparse
import base64
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from keepgain.core.errors import EXIT_FAILED, EXIT_OK, UserError
from keepgain.core.redaction import redact
from keepgain.sweeps.cli.common import add_store, print_json, print_table, say

if TYPE_CHECKING:
    from keepgain.cluster.doctor import Asked
    from keepgain.cluster.findings import Finding, Needs

EPILOG = """examples:
  sweep doctor                                  # this machine
  sweep doctor sweep.yaml --store /shared/keepgain --address 10.0.0.4:6379
  sweep doctor --json | jq '.findings[] | select(.level == "error")'
  ray job submit -- sweep doctor --address auto --store http://head:5000
"""
_MARKS = {"ok": "ok", "warning": "WARNING", "error": "ERROR"}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="check this machine or all nodes of a cluster",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("spec", type=Path, nargs="?", help="the sweep's YAML file, for its needs")
    parser.add_argument("--profile", help="overrides of the spec to merge in, from `profiles:`")
    parser.add_argument("--address", help="a Ray cluster; default: this machine alone")
    add_store(parser)
    parser.add_argument("--fix", action="store_true", help="mend the mode of Ray's token file here")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0 without errors, 1 with."""
    if args.address is not None and args.address.startswith(("http://", "https://")):
        raise UserError(
            f"'{args.address}' is the address of Ray's job server.",
            where="--address",
            hint="Give HOST:6379 or ray://HOST:10001, or send the doctor: `ray job submit "
            f"--address {args.address} -- sweep doctor --address auto`.",
        )
    from keepgain.cluster.doctor import examine, mend
    from keepgain.cluster.findings import judge

    asked, needs = _asked(args)
    facts = examine(asked, args.address)
    mended = mend(facts[0]) if args.fix and facts[0].is_driver else None
    findings = judge(facts, needs)
    if args.json:
        document = {
            "nodes": [node.node for node in facts],
            "mended": mended,
            "findings": [asdict(f) | {"seen": redact(f.seen)} for f in findings],
            "facts": [
                node.model_dump(mode="json", exclude={"listening": {"__all__": {"program"}}})
                for node in facts
            ],
        }
        print_json(document)
    else:
        print_table(("", "check", "node", "seen"), _rows(findings, len(facts)))
        if mended is not None:
            say(f"mended: {mended}")
        say(_summary(findings, len(facts)))
    return EXIT_FAILED if any(f.level == "error" for f in findings) else EXIT_OK


def _asked(args: argparse.Namespace) -> "tuple[Asked, Needs]":
    """What to ask, from the spec and the store."""
    from keepgain.cluster.doctor import Asked
    from keepgain.cluster.findings import Needs
    from keepgain.core.store.location import resolve_store

    compiler = False
    if args.spec is not None:
        from keepgain.sweeps.spec import load_spec

        training = load_spec(args.spec, args.profile).spec.training
        compiler = training.engine == "deepspeed" or training.compile
    store = resolve_store(args.store, create=True, make=False)
    if not store.is_server:
        work = store.work if store.work.is_dir() else store.work.parent
        return Asked(work), Needs(compiler)
    url, headers = _address(store.tracking_uri)
    work = store.work if store.work.is_dir() else store.work.parent
    return Asked(work, url, headers), Needs(compiler, url)


def _address(uri: str) -> tuple[str, dict[str, str]]:
    """The URL without a password, and the header that says who asks, as MLflow's client would."""
    parts = urlsplit(uri)
    user = unquote(parts.username or "") or os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = unquote(parts.password or "") or os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if user:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        return url, {"Authorization": f"Basic {pair}"}
    return url, {"Authorization": f"Bearer {token}"} if token else {}


def _rows(findings: "Sequence[Finding]", nodes: int) -> list[tuple[str, ...]]:
    """Errors first; what is the same on several nodes in one line."""
    order = {"error": 0, "warning": 1, "ok": 2}
    grouped: dict[tuple[str, str, str, str], list[str]] = {}
    for f in sorted(findings, key=lambda f: order[f.level]):
        grouped.setdefault((f.level, f.check, f.seen, f.fix), []).append(f.node)
    return [
        (_MARKS[level], check, _named(where, nodes), f"{seen}\n  {fix}" if fix else seen)
        for (level, check, seen, fix), where in grouped.items()
    ]


def _named(where: Sequence[str], nodes: int) -> str:
    return f"all {nodes} nodes" if len(where) == nodes > 1 else ", ".join(where)


def _summary(findings: "Sequence[Finding]", nodes: int) -> str:
    errors = sum(f.level == "error" for f in findings)
    warnings = sum(f.level == "warning" for f in findings)
    counted = f"{nodes} node{'s' * (nodes > 1)}"
    plural = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    return f"{counted}: {plural}"
