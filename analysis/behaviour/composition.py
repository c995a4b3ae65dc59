"""Whether two skills work as one: the composed score beside what its parts would give.

Of suites with `compose`, which hold each pair of items asked as one and each part alone. If the
skills did not disturb each other and the model only had to string them together, a pair would come
out right where both of its parts do: with scores in [0, 1] the product of the parts' scores, which
is the product of their means, since pairs were drawn by chance. What is missing to it is the
compositionality gap (Press et al. 2023, arXiv 2210.03350, who count it among pairs whose parts are
both right).
"""

import numpy as np

from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.behaviour.paired import Named, figure, members
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.made_items import COMPOSED, COMPOSITION, PART_A, PART_B
from keepgain.core.scorers import in_points, unit_of

PARTS = (COMPOSED, PART_A, PART_B)


def composition_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """`composed`, `product of the parts` and `composed minus product`, over pairs.

    The last two of scores in [0, 1] that are to rise. A `FamilyFunction`; empty for items that were
    not made by `compose`.
    """
    pairs = [p for p in members(suite, COMPOSITION).values() if all(part in p for part in PARTS)]
    if len(pairs) < 2:
        return []
    of, a, b = ([pair[part] for pair in pairs] for part in PARTS)
    unit = unit_of(suite.info.scorer)
    wholes = [x[of] for x in (tuned, base) if x is not None]
    rising = suite.sign > 0 and in_points(suite.info.scorer)
    asked = [(Named("composed", unit, "maximize" if suite.sign > 0 else "minimize"), wholes)]
    if rising:
        products = [x[a] * x[b] for x in (tuned, base) if x is not None]
        gaps = [whole - product for whole, product in zip(wholes, products, strict=True)]
        alone = f"parts alone: a {np.mean(tuned[a]):.3f}, b {np.mean(tuned[b]):.3f}"
        if base is not None:
            alone += f" (base {np.mean(base[a]):.3f}, {np.mean(base[b]):.3f})"
        asked.append((Named("product of the parts", unit, "maximize", alone), products))
        asked.append((Named("composed minus product", unit, "maximize"), gaps))
    return [
        figure(called, suite, of, terms[0], terms[1] if base is not None else None)
        for called, terms in asked
    ]
