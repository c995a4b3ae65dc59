"""`sweep`: one command line; each command is a module of this folder.

Exit codes: 0 done, 1 the work did not succeed, 2 input that cannot be used (nothing was written),
130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence

from keepgain.core.command_line import parser_of, run_command

COMMANDS = (
    "init", "doctor", "check", "clean", "augment", "plan", "run", "submit", "list", "status",
    "stop", "pause", "add", "logs", "export", "promote", "review", "rescore", "judge", "prune",
    "repair", "ui", "import_", "outcomes", "chat",
)  # fmt: skip

EPILOG = """examples:
  sweep init --model Qwen/Qwen3-0.6B --model Qwen/Qwen3-1.7B --data tickets.jsonl
  sweep doctor                    # this machine, or a cluster's nodes: what is wrong, and its fix
  sweep check sweep.yaml          # the data and the spec, before any spend
  sweep clean sweep.yaml --to cleaned   # repaired rows in new files, with a log
  sweep augment sweep.yaml --source tickets --by paraphrase --to more.jsonl   # for review
  sweep plan sweep.yaml           # trials, tokens, memory, time
  sweep run sweep.yaml            # run it; run it again to continue it
  sweep status last               # what is done, what failed and why
  sweep stop last                 # also: pause, resume, add
  sweep repair last               # MLflow's record agrees with the ledger again
  sweep list --costs --by month   # tokens, hours, money
  sweep ui                        # the MLflow UI on this store
  sweep import t.csv --id paper --label run --objective acc:max:share   # results from elsewhere
  analyze last                    # which model size and settings to use
  sweep export last --to model    # the model that it decided for, with a model card
  sweep promote last              # the same into MLflow's model registry, as `champion`
  sweep review export last --to review   # people compare its answers with the base's, blind
  sweep rescore last --suite new.jsonl   # the model on newer test items: is it time for a new one?
  sweep judge last                # a model scores the answers, by a rubric of yours
  sweep chat last --blind         # the model and its base, side by side
  sweep outcomes import ab.csv --sweep last --metric resolved --direction maximize   # a live test
  sweep prune last --dry-run      # large files that a decided sweep need not keep
  sweep submit sweep.yaml --address http://HOST:8265 --store /shared/keepgain   # on a Ray cluster
"""


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    return run_command(_parser, argv)


def _parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    about = "Sweep fine-tunes of language models: gain against forgetting and cost."
    return parser_of("sweep", about, EPILOG, "keepgain.sweeps.cli", COMMANDS, words)


if __name__ == "__main__":
    sys.exit(main())
