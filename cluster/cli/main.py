"""`cluster`: one command line; each command is a module of this folder.

Exit codes: 0 done, 1 the work did not succeed, 2 input that cannot be used, 130 interrupted.
"""

import argparse
import sys
from importlib import import_module

from keepgain.core.errors import EXIT_INTERRUPTED, KeepgainError
from keepgain.core.terminal import show_faults_redacted, shown

COMMANDS = ("up", "add_node", "env", "status", "down", "mlflow", "manifest")

EPILOG = """examples:
  cluster up --nodes 2 --cpus 1   # several Ray nodes on this machine
  eval "$(cluster env)"           # so that this shell uses them
  cluster status                  # nodes, resources, jobs
  cluster down                    # ends what was started, nothing else
  cluster manifest kuberay        # files for real machines: also slurm, container
"""


def main(argv: list[str] | None = None) -> int:
    """Parses, runs one command, and turns errors into one line and an exit code."""
    show_faults_redacted()
    args = _parser().parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except KeepgainError as error:
        print(shown(f"cluster: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("cluster: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cluster",
        description="A Ray cluster and an MLflow server for sweeps, on loopback by default.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"keepgain.cluster.cli.{name}").add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
