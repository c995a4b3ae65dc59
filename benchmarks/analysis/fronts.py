"""Time of fronts and hypervolumes: `python benchmarks/analysis/fronts.py`.

Points are random: inside a cube, where few are on the front, and on a sphere's face that is turned
towards the best corner, where nearly all are. Each time is the median of `--repeats`.
Wall time: other work on the machine adds to it.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from keepgain.analysis.fronts import front_of, nondominated
from keepgain.analysis.objectives import Objective
from keepgain.analysis.points import of_arrays
from keepgain.core.items import Floats


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.machine()}, moocore {version('moocore')}, {options.points:,} points")
    for objectives in (2, 3):
        for name, made in (("cube", cube), ("sphere", sphere)):
            values = made(options.points, objectives)
            on, front, whole = timed(values, options.repeats)
            print(
                f"{objectives} objectives, {name}: {on:,} on the front, {front:.2f} s; with "
                f"nearness and hypervolume {whole:.2f} s"
            )


def timed(values: Floats, repeats: int) -> tuple[int, float, float]:
    """Points on the front, seconds for it alone, and for all that is told of it."""
    named = [Objective(f"o{k}", "minimize", "share", 1) for k in range(values.shape[1])]
    reference = {o.name: 1.0 for o in named}
    points = of_arrays([str(n) for n in range(len(values))], named, values)
    on, front = measured(lambda: int(nondominated(values, points.maximise).sum()), repeats)
    same, whole = measured(
        lambda: int(front_of(points, reference=reference, margin=0.01, draws=0).on.sum()), repeats
    )
    assert same == on
    return on, front, whole


def measured(work: Callable[[], int], repeats: int) -> tuple[int, float]:
    """Its answer, and the median of the seconds that it takes."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - start)
    return found, statistics.median(seconds)


def cube(count: int, objectives: int) -> Floats:
    """Uniform points."""
    return np.random.default_rng(0).random((count, objectives))


def sphere(count: int, objectives: int) -> Floats:
    """Points at one distance from the worst corner: none dominates another."""
    normal = np.abs(np.random.default_rng(0).standard_normal((count, objectives)))
    return 1 - normal / np.linalg.norm(normal, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
