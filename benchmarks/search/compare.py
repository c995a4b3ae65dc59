"""Compares ways to search on a recorded table, side by side.

    python benchmarks/search/compare.py far --work /tmp/compare --jobs 2 \\
        --syne-tune /tmp/syne-tune/bin/python --markdown far.md --plots benchmarks/search/plots

What is simulated is kept in the work folder; an interrupted comparison goes on from there. `near`
is refused until `chosen.yaml` is committed.
"""

import argparse
import sys
from pathlib import Path

from arms import ARMS, Task
from domain import Domain, load_domain
from grid import DOMAINS
from measure import Compared, curve
from plots import save_plots
from report import markdown
from settings import Constants, check_may_look, chosen_constants
from simulate import run_tasks
from tables import TABLES, described

from keepgain.core.errors import UserError

SLOTS = (1, 4, 64)
SEEDS = 20


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("domain", choices=DOMAINS)
    parser.add_argument("--work", type=Path, required=True, help="folder of what was simulated")
    parser.add_argument("--tables", type=Path, default=TABLES)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=1, help="simulations side by side")
    parser.add_argument("--syne-tune", type=Path, help="Python of Syne Tune's environment")
    parser.add_argument("--markdown", type=Path, help="file for the tables; default: printed")
    parser.add_argument("--plots", type=Path, help="folder for the figures")
    options = parser.parse_args()
    try:
        check_may_look(options.domain)
        constants = chosen_constants(options.syne_tune)
        compared = compare(options, constants)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    text = markdown(compared, described(options.domain, options.tables), constants)
    if options.markdown is None:
        print(text)
    else:
        options.markdown.write_text(text, encoding="utf-8")
    if options.plots is not None:
        for path in save_plots(compared, options.plots):
            print(path, file=sys.stderr)


def compare(options: argparse.Namespace, constants: Constants) -> Compared:
    """Simulates what is missing.

    Raises:
        UserError: The table is not complete, or an arm cannot run.
    """
    domain = load_domain(options.domain, options.tables)
    _check_complete(domain)
    arms = [next(iter(ARMS)), *(a for a in options.arms if a != next(iter(ARMS)))]
    tasks = [
        Task(options.domain, arm, seed, slots)
        for seed in range(options.seeds)
        for arm in arms
        for slots in SLOTS
    ]
    outcomes = run_tasks(tasks, constants, options.tables, options.work, options.jobs)
    return Compared(
        domain=domain,
        arms={name: ARMS[name].label for name in arms},
        slots=SLOTS,
        outcomes={(o.task.arm, o.task.slots, o.task.seed): o for o in outcomes},
        curves={(o.task.arm, o.task.slots, o.task.seed): curve(domain, o) for o in outcomes},
        seeds=options.seeds,
    )


def _check_complete(domain: Domain) -> None:
    if domain.missing:
        raise UserError(
            f"{len(domain.missing)} of {len(domain.missing) + len(domain.cells)} configurations of "
            f"'{domain.name}' are not recorded with any seed, so no arm can search the grid.",
            hint="Go on recording: python benchmarks/search/record.py --help",
        )


if __name__ == "__main__":
    main()
