"""`cluster mlflow`: the MLflow server of a team."""

import argparse
from typing import TYPE_CHECKING

from keepgain.core.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from keepgain.cluster.mlflow_server import ServerState

EPILOG = """examples:
  cluster mlflow up --port 5000                       # SQLite: one machine
  KEEPGAIN_MLFLOW_BACKEND=postgresql://mlflow:...@db/mlflow cluster mlflow up --port 5000 \\
      --host 0.0.0.0 --allowed-hosts mlflow.example.org --artifacts s3://models/mlflow
  cluster mlflow status
  cluster mlflow down

It has no passwords of its own: beyond this machine, put it behind a proxy that asks for one
(docs/mlflow.md).
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command and what it does."""
    parser = subparsers.add_parser(
        "mlflow",
        help="an MLflow server: up, down, status",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    starting = actions.add_parser("up", help="start one, and wait until it answers")
    starting.add_argument(
        "--backend",
        help="postgresql://USER:PASSWORD@HOST/DATABASE, sqlite:///PATH or a folder; default: "
        "KEEPGAIN_MLFLOW_BACKEND, else SQLite in the server's own folder",
    )
    starting.add_argument(
        "--artifacts", help="a folder or s3://BUCKET/PATH; clients get them through the server"
    )
    starting.add_argument("--host", default="127.0.0.1", help="address to listen at")
    starting.add_argument("--port", type=int, help="default: a free one")
    starting.add_argument(
        "--allowed-hosts",
        nargs="+",
        default=[],
        metavar="NAME",
        help="host names that clients use, the first one in the address that is printed",
    )
    starting.add_argument(
        "--upgrade",
        action="store_true",
        help="bring an older MLflow's database up to date (back it up first)",
    )
    starting.add_argument(
        "--foreground", action="store_true", help="stay until Ctrl-C, for systemd or a container"
    )
    starting.set_defaults(run=_up)
    ending = actions.add_parser("down", help="end it")
    ending.set_defaults(run=_down)
    asking = actions.add_parser("status", help="whether it runs and answers; exit code 1 if not")
    asking.set_defaults(run=_status)
    for action in (starting, ending, asking):
        action.add_argument("--name", default="local", help="of several servers; default: local")
    for action in (starting, asking):
        action.add_argument("--json", action="store_true", help="for programs")


def _up(args: argparse.Namespace) -> int:
    import signal

    from keepgain.cluster import mlflow_server
    from keepgain.core.store.server import HOST

    if not args.json:
        print("starting MLflow (some ten seconds) ...", flush=True)
    process, state = mlflow_server.up(
        args.name,
        args.backend,
        artifacts=args.artifacts,
        host=args.host,
        port=args.port,
        names=tuple(args.allowed_hosts),
        upgrade=args.upgrade,
    )
    _say(state, as_json=args.json)
    if args.host != HOST and not args.json:
        print(
            "warning: it asks for no password and speaks no TLS, and listens beyond this machine; "
            "see docs/mlflow.md"
        )
    if not args.foreground:
        return EXIT_OK
    # As Ctrl-C, so that `down` below runs: systemd and containers end a service by SIGTERM.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not args.json:
            print("Ctrl-C ends it.", flush=True)
        code = process.wait()
        print(f"the MLflow server ended with code {code}: see {state.log}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_OK  # how one leaves a server
    finally:
        mlflow_server.down(args.name)


def _down(args: argparse.Namespace) -> int:
    from keepgain.cluster.mlflow_server import down

    state = down(args.name)
    if state is None:
        print(f"no MLflow server '{args.name}' runs")
    else:
        print(f"ended: {state.url} (process {state.pid}); its records stay in {state.backend}")
    return EXIT_OK


def _status(args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from keepgain.cluster.mlflow_server import status

    found = status(args.name)
    if args.json:
        print(json.dumps(None if found is None else asdict(found), indent=2))
    elif found is None:
        print(f"no MLflow server '{args.name}' was started; `cluster mlflow up` starts one")
    else:
        how = "answers" if found.answers else "does not answer"
        print(f"process {found.state.pid} {'runs' if found.runs else 'has ended'}, and {how}")
        _say(found.state, as_json=False)
    return EXIT_OK if found is not None and found.answers else EXIT_FAILED


def _say(state: "ServerState", *, as_json: bool) -> None:
    import json
    from dataclasses import asdict

    if as_json:
        print(json.dumps(asdict(state), indent=2), flush=True)
        return
    print(f"MLflow: {state.url}")
    print(f"records: {state.backend}")
    print(f"artifacts: {state.artifacts}")
    print(f"log: {state.log}")
    print(f"use it: sweep run sweep.yaml --store {state.url}", flush=True)
