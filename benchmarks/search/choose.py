"""Scans constants of our scheduler on `far`, the only domain that a choice may look at.

    python benchmarks/search/choose.py --work /tmp/choose --jobs 2

Beside the cost of 95 % stands the hypervolume at a third of the tokens that random search needs for
it: unlike a cost, it is never missing. The winner goes by hand into `chosen.yaml`, which is
committed before `near` is looked at.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from arms import Task
from domain import load_domain
from measure import LEVEL, at, cost_to, curve, ratio
from settings import CHOICE_DOMAIN, Constants
from simulate import run_tasks
from tables import TABLES

from keepgain.sweeps.spec_search import StoppingSpec

SLOTS = 1
"""Draws and promotions of generations are the same for any number; so are tokens."""


@dataclass(frozen=True)
class Setting:
    """One line of the scan."""

    label: str
    generation_size: int | None = None
    stopping: StoppingSpec = field(default_factory=StoppingSpec)

    @property
    def constants(self) -> Constants:
        """As the arms take them."""
        return Constants(self.generation_size, self.stopping)


DECLARED = (
    Setting("defaults"),
    Setting("keep 1/4", stopping=StoppingSpec(keep=1 / 4)),
    Setting("keep 1/3", stopping=StoppingSpec(keep=1 / 3)),
    Setting("keep 2/5", stopping=StoppingSpec(keep=2 / 5)),
    Setting("grace 0.1", stopping=StoppingSpec(grace=0.1)),
    Setting("grace 0.4", stopping=StoppingSpec(grace=0.4)),
    Setting("audits 4", stopping=StoppingSpec(audit_trials=4)),
    Setting("audits 20", stopping=StoppingSpec(audit_trials=20)),
    Setting("generations of 12", 12),
    Setting("generations of 40", 40),
)
ARM = "ours"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of what was simulated")
    parser.add_argument("--tables", type=Path, default=TABLES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    domain = load_domain(CHOICE_DOMAIN, options.tables)

    def curves(arm: str, constants: Constants) -> list:  # type: ignore[type-arg]
        tasks = [Task(CHOICE_DOMAIN, arm, seed, SLOTS) for seed in range(options.seeds)]
        outcomes = run_tasks(tasks, constants, options.tables, options.work, options.jobs)
        return [curve(domain, outcome) for outcome in outcomes]

    random = [cost_to(c) for c in curves("random", Constants())]
    third = median(random) / 3
    print(f"{options.seeds} seeds; random: {median(random) / 1e6:.2f} M tokens to {LEVEL:.0%}\n")
    print("| setting | hypervolume at 1/3 | tokens to 95 % / random | reached |")
    print("|---|---|---|---|")
    for setting in DECLARED:
        found = curves(ARM, setting.constants)
        level = median(at(c, [third])[0] for c in found)
        cost = ratio([cost_to(c) for c in found], random)
        print(
            f"| {setting.label} | {level:.3f} | {cost.value:.2f} "
            f"[{cost.low:.2f}, {cost.high:.2f}] | {cost.reached}/{cost.of} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
