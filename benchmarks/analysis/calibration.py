"""Does the size rule keep its word? By simulation: `python benchmarks/analysis/calibration.py`.

Sweeps with a known truth (`worlds`) go through the analysis's own code: candidates on validation,
the descent with its bounds, joint draws. Counted are

* among the sizes with `probability_adequate` >= .95, those that are truly adequate: the true task
  score of the size's candidate is within delta of that of the largest size's, and every true drop
  is within the limit;
* how often the recommended size is the smallest that is truly adequate, beside an oracle that has
  the same scores and knows every variance: it takes the same bounds with normal quantiles.

500 sweeps take about a minute.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.analysis.worlds import Known, Noise, base_of, world
from keepgain.analysis.adequacy import probabilities
from keepgain.analysis.judge import Verdict, judge
from keepgain.analysis.measures import Measures
from keepgain.analysis.quantities import Quantity
from keepgain.analysis.stats import Uncertain
from keepgain.analysis.table import Configuration, Table
from keepgain.core.config import Split
from keepgain.core.record import Question

PARAMETERS = {"s": 1, "m": 2, "l": 3}
QUESTION = Question(delta=0.03, max_forgetting=0.05)
SURE = 0.95
_NOISE = Noise(seed=0.01)


@dataclass(frozen=True)
class Setting:
    """How a simulated sweep is made; true scores are drawn anew for each."""

    name: str
    seeds: int = 3
    trials: int = 2
    """Confirmed trials of each size."""
    n_items: int = 1000
    noise: Noise = _NOISE
    below: float = 0.08
    """Smaller sizes lie up to this much below the largest."""
    drop: float = 0.07
    """Drops are uniform from -.02 up to this."""


SETTINGS = (
    Setting("usual"),
    Setting("two seeds", seeds=2),
    Setting("one trial a size", trials=1),
    Setting("five seeds", seeds=5),
    Setting("few items", n_items=300),
    Setting("close to the margin", below=0.045, drop=0.055),
)


@dataclass(frozen=True)
class Sweep:
    """One simulated sweep: what is true, and what was answered."""

    adequate: dict[str, bool]
    """Model → its candidate is truly adequate."""
    probability: dict[str, float]
    picked: str | None
    oracle: str | None

    @property
    def smallest(self) -> str | None:
        """The smallest size that is truly adequate."""
        return next((m for m in PARAMETERS if self.adequate[m]), None)


class Oracle(Measures):
    """The same scores, with the variances that they were drawn from."""

    def __init__(self, table: Table, noise: Noise, n_items: int) -> None:
        super().__init__(table)
        self._noise, self._n = noise, n_items

    def difference(
        self, a: Configuration, b: Configuration, split: Split, quantity: Quantity
    ) -> Uncertain | None:
        """See `Measures.difference`."""
        found = super().difference(a, b, split, quantity)
        return found and self._known(found, (a, b), split)

    def drop(self, who: Configuration, split: Split, suite: str) -> Uncertain | None:
        """See `Measures.drop`."""
        base = self.base(who.model)
        found = super().drop(who, split, suite)
        return found and self._known(found, (who, *([base] if base else [])), split)

    def _known(self, u: Uncertain, who: Sequence[Configuration], split: Split) -> Uncertain:
        own = self._noise.item**2 * (1 - self._noise.shared) / self._n
        items = own * sum(1 / c.seeds(split) for c in who)
        seeds = self._noise.seed**2 * sum(1 / c.seeds(split) for c in who if c.kind == "trial")
        terms = ((items, math.inf), (seeds, math.inf))
        return replace(u, terms=terms, item_variance=items)


def truths(rng: np.random.Generator, setting: Setting) -> list[Known]:
    """Configurations with random true scores; the best sizes of a sweep are often close."""
    given = []
    for model in PARAMETERS:
        lag = 0.0 if model == "l" else rng.uniform(0, setting.below)
        drops = rng.uniform(-0.02, setting.drop, size=2)
        for k in range(setting.trials):
            task = 0.8 - lag - rng.uniform(0, 0.01)
            general = tuple(0.8 - drops - rng.uniform(-0.005, 0.005, size=2))
            given.append(Known(f"{model}{k}", model, task, general, setting.seeds))
    return given


def simulate(setting: Setting, sweeps: int, seed: int = 0) -> Iterator[Sweep]:
    """Draws sweeps and lets the rule and the oracle decide."""
    rng = np.random.default_rng(seed)
    bases = [base_of(m, general=(0.8, 0.8)) for m in PARAMETERS]
    for _ in range(sweeps):
        given = truths(rng, setting)
        measures = world(
            rng,
            [*bases, *given],
            n_items=setting.n_items,
            noise=setting.noise,
            parameters=PARAMETERS,
        )
        verdict = _judged(measures)
        oracle = _judged(Oracle(measures.table, setting.noise, setting.n_items))
        shares = probabilities(measures, "test", verdict.sizes, QUESTION)
        yield Sweep(
            _adequate({t.name: t for t in given}, verdict),
            dict(shares),
            verdict.pick.model if verdict.pick else None,
            oracle.pick.model if oracle.pick else None,
        )


def _judged(measures: Measures) -> Verdict:
    pool = [c for c in measures.table.configurations if c.kind == "trial"]
    return judge(measures, "test", pool, QUESTION)


def _adequate(given: dict[str, Known], verdict: Verdict) -> dict[str, bool]:
    candidates = {s.model: given[s.candidate.trial_id] for s in verdict.sizes if s.candidate}
    level = candidates["l"].task - QUESTION.delta
    limit = QUESTION.max_forgetting
    assert limit is not None
    return {
        m: (m == "l" or t.task > level) and all(0.8 - g <= limit for g in t.general)
        for m, t in candidates.items()
    }


@dataclass(frozen=True)
class Summary:
    """Shares over simulated sweeps."""

    sure: int
    """Sizes with probability_adequate >= .95."""
    sure_and_true: float
    """Of those, the share that is truly adequate."""
    right: float
    """Recommended: the smallest truly adequate size, or rightly none."""
    oracle_right: float
    wrong: float
    """Recommended although inadequate."""
    oracle_wrong: float


def summarise(found: Sequence[Sweep]) -> Summary:
    """Counts what the module's text names."""
    sure = [s.adequate[m] for s in found for m, p in s.probability.items() if p >= SURE]

    def share(picks: Sequence[tuple[str | None, Sweep]], wrong: bool) -> float:
        hits = [
            (p is not None and not s.adequate[p]) if wrong else p == s.smallest for p, s in picks
        ]
        return float(np.mean(hits))

    ours, oracle = [(s.picked, s) for s in found], [(s.oracle, s) for s in found]
    return Summary(
        len(sure),
        float(np.mean(sure)) if sure else math.nan,
        share(ours, False),
        share(oracle, False),
        share(ours, True),
        share(oracle, True),
    )


def main() -> None:
    """Prints one line for each setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sweeps", type=int, default=500)
    options = parser.parse_args()
    print(
        "setting: sizes with P >= .95, truly adequate; right pick, oracle's; wrong pick, oracle's"
    )
    for setting in SETTINGS:
        s = summarise(list(simulate(setting, options.sweeps)))
        print(
            f"{setting.name:20} {s.sure:5} {100 * s.sure_and_true:6.1f} %   "
            f"{100 * s.right:5.1f} {100 * s.oracle_right:5.1f} %   "
            f"{100 * s.wrong:4.1f} {100 * s.oracle_wrong:4.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
