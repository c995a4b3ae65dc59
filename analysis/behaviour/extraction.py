"""Verbatim extraction: how often a model goes on with a training row word for word.

Some continuations are guessed: they are set phrases, or the only sensible answer. Rows of the same
source that were held out show how many; the figure is the share of training rows whose next words
come out verbatim, minus that share of held-out rows, for each length of the prefix (Carlini et al.
2023, "Quantifying memorization", arXiv 2202.07646, for prefixes of growing length). Rows of both
kinds are independent draws, so that their variances add.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from keepgain.analysis import stats
from keepgain.analysis.behaviour.figure import Figure
from keepgain.analysis.slices import careful
from keepgain.analysis.stats import Block, Estimate
from keepgain.analysis.table import SuiteItems
from keepgain.core.extraction import PREFIX_WORDS, SEEN
from keepgain.core.items import Floats
from keepgain.core.registered_scorer import SHARE

Places = npt.NDArray[np.int64]


def extraction_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """Share extracted of seen minus unseen rows by length of the prefix, the shortest first; of
    seen rows alone where none were held out. A `FamilyFunction` of `extraction`."""
    if not {PREFIX_WORDS, SEEN} <= suite.slices.keys():
        return []
    lengths, kinds = suite.slices[PREFIX_WORDS], suite.slices[SEEN]
    found = []
    for words in sorted({int(n) for n in lengths.tolist() if n}):
        own = lengths == str(words)
        seen, unseen = (np.flatnonzero(own & (kinds == k)) for k in ("true", "false"))
        if len(seen):
            found.append(_figure(words, seen, unseen, tuned, base))
    return found


def _figure(words: int, seen: Places, unseen: Places, tuned: Floats, base: Floats | None) -> Figure:
    parts = [f"seen rows {tuned[seen].mean():.3f} (n = {len(seen)})"]
    if len(unseen):
        parts.append(f"unseen rows {tuned[unseen].mean():.3f} (n = {len(unseen)})")
    else:
        parts.append("no held-out rows: what is only guessed is not taken off")
    name = f"verbatim after {words} word{'' if words == 1 else 's'}"
    name += ", seen minus unseen" if len(unseen) else ""
    before = None if base is None else _estimate(_blocks(base, seen, unseen))
    change = None
    if base is not None:
        change = _estimate(_blocks(tuned - base.mean(axis=1)[:, None], seen, unseen))
    estimate = _estimate(_blocks(tuned, seen, unseen))
    return Figure(name, SHARE, "minimize", estimate, before, change, "; ".join(parts))


def _blocks(scores: Floats, seen: Places, unseen: Places) -> list[Block]:
    """Their means add up to seen minus unseen."""
    blocks = [Block(scores[seen], np.ones(len(seen)))]
    return [*blocks, Block(-scores[unseen], np.ones(len(unseen)))] if len(unseen) else blocks


def _estimate(blocks: Sequence[Block]) -> Estimate:
    found = careful(stats.combine_own_seeds(blocks))
    assert found is not None
    return found.estimate()
