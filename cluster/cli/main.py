"""`cluster`: one command line; each command is a module of this folder.

Exit codes: 0 done, 1 the work did not succeed, 2 input that cannot be used, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence

from keepgain.core.command_line import parser_of, run_command

COMMANDS = ("up", "add_node", "env", "status", "down", "mlflow", "manifest")

EPILOG = """examples:
  cluster up --nodes 2 --cpus 1   # several Ray nodes on this machine
  eval "$(cluster env)"           # so that this shell uses them
  cluster status                  # nodes, resources, jobs
  cluster down                    # ends what was started, nothing else
  cluster manifest kuberay        # files for real machines: also slurm, container
"""


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    return run_command(_parser, argv)


def _parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    about = "A Ray cluster and an MLflow server for sweeps, on loopback by default."
    return parser_of("cluster", about, EPILOG, "keepgain.cluster.cli", COMMANDS, words)


if __name__ == "__main__":
    sys.exit(main())
