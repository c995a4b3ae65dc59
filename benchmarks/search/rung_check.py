"""Would a sweep have known that its rungs cannot be trusted?

For each base model and rung of a recorded table: the rank correlation between rung and full budget
over all configurations, and how often `analysis.rung_check` calls the rung unsafe when it has only
twelve of them, drawn at random as audits are.

    python benchmarks/search/rung_check.py near
"""

import argparse

import numpy as np
from arms import UNITS
from domain import Domain, load_domain
from front import Point
from grid import DOMAINS

from keepgain.analysis.rung_check import (
    MIN_AUDITS,
    RungCheck,
    Scored,
    check_rung,
    rank_correlation,
)
from keepgain.core.record import Stopping
from keepgain.sweeps.spec_search import StoppingSpec

DRAWS = 1000


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("domain", choices=DOMAINS)
    domain = load_domain(parser.parse_args().domain)
    print("| base model | rung | rank correlation of gain | of forgetting | called unsafe |")
    print("|---|---|---|---|---|")
    for model in domain.models:
        for rung, units in enumerate(UNITS[:-1]):
            print(line(domain, model, rung, units / UNITS[-1]))


def line(domain: Domain, model: str, rung: int, share: float) -> str:
    """A row of the table."""
    ids = [i for i in domain.of_model(model) if domain.curves.of(i, 0).cause is None]
    here, full = (scored(domain, model, ids, r) for r in (rung, len(UNITS) - 1))
    stopping = StoppingSpec()
    policy = Stopping(keep=stopping.keep, grace=stopping.grace)
    generator = np.random.default_rng(0)
    unsafe = 0
    for _ in range(DRAWS):
        drawn = generator.choice(len(ids), MIN_AUDITS, replace=False)
        check: RungCheck = check_rung(model, share, some(here, drawn), some(full, drawn), policy)
        unsafe += bool(check.faults)
    found = [
        rank_correlation(*pair)
        for pair in ((here.gain, full.gain), (here.forgetting, full.forgetting))
    ]
    shown = " | ".join("-" if a is None else f"{a.value:.2f}" for a in found)
    return f"| {model} | {share:.2f} of the budget | {shown} | {unsafe / DRAWS:.0%} of draws |"


def scored(domain: Domain, model: str, ids: list[str], rung: int) -> Scored:
    """Seed 0 of every configuration at a rung."""
    reports = [domain.curves.of(i, 0).rungs[rung].report for i in ids]
    points: list[Point] = [domain.score(model, r) for r in reports]
    proxies = [domain.score(model, r, proxies=True).gain for r in reports]
    return Scored(
        gain=np.array([p.gain for p in points]),
        forgetting=np.array([p.forgetting for p in points]),
        excess=np.zeros(len(ids)),
        proxy_gain=np.array(proxies),
    )


def some(whole: Scored, drawn: np.ndarray) -> Scored:
    """The audits alone."""
    assert whole.proxy_gain is not None, "the grids have a stand-in"
    return Scored(
        whole.gain[drawn], whole.forgetting[drawn], whole.excess[drawn], whole.proxy_gain[drawn]
    )


if __name__ == "__main__":
    main()
