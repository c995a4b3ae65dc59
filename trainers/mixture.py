"""Which row comes next: a seeded mixture whose shares are shares of training tokens.

The source with the largest token deficit gives the next row, so realised shares follow the asked
ones within about one row at every moment, however different the sources' row lengths are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keepgain.core.errors import UserError
from keepgain.core.identity import derive_seed


@dataclass
class Cursor:
    """Where one source stands."""

    epoch: int = 0
    position: int = 0
    """Next place in this epoch's permutation."""
    rows: int = 0
    tokens: int = 0


class Mixture:
    """Draws (source, row index) pairs for ever; each source in a fresh permutation per epoch.

    The sequence follows from shares, row lengths and seed alone, so the state is a cache: `replay`
    gives it again from the number of rows drawn.

    Args:
        shares: Share of training tokens per source; sources with share 0 are left out.
        lengths: Tokens of each row, per source.
        seed: Names the sequence.
        weights: How often a row is drawn, in proportion, for sources whose rows are not drawn
            equally often. An epoch still has as many draws as the source has rows.

    Raises:
        UserError: Shares that do not sum to 1, or a source with a share but without rows.
    """

    def __init__(
        self,
        shares: Mapping[str, float],
        lengths: Mapping[str, Sequence[int] | npt.NDArray[np.int64]],
        seed: int,
        weights: Mapping[str, npt.NDArray[np.float64]] | None = None,
    ) -> None:
        total = sum(shares.values())
        if abs(total - 1.0) > 1e-3:
            raise UserError(f"mixture shares sum to {total:.6g}, not 1.", where="mixture")
        # Sorted, because the identity of a configuration does not know the order of a mapping.
        self.shares = {name: s / total for name, s in sorted(shares.items()) if s > 0}
        for name in self.shares:
            if not len(lengths.get(name, ())):
                raise UserError(f"source '{name}' has a share but no rows.", where="mixture")
        self._lengths = {name: lengths[name] for name in self.shares}
        self._seed = seed
        self._weights = weights or {}
        self.cursors = {name: Cursor() for name in self.shares}
        self._tokens = 0
        self._orders = {name: self._permutation(name, 0) for name in self.shares}

    def draw(self) -> tuple[str, int]:
        """The next row as (source, index in the source)."""
        # +1 gives the first draw to the largest share instead of to the first name.
        due = self._tokens + 1
        name = max(self.shares, key=lambda n: self.shares[n] * due - self.cursors[n].tokens)
        cursor = self.cursors[name]
        index = int(self._orders[name][cursor.position])
        length = int(self._lengths[name][index])
        cursor.rows += 1
        cursor.tokens += length
        self._tokens += length
        cursor.position += 1
        if cursor.position == len(self._orders[name]):
            cursor.epoch, cursor.position = cursor.epoch + 1, 0
            self._orders[name] = self._permutation(name, cursor.epoch)
        return name, index

    def rows(self, count: int) -> Iterator[tuple[str, int]]:
        """The next `count` rows."""
        for _ in range(count):
            yield self.draw()

    def drawn(self) -> dict[str, dict[str, int]]:
        """Source -> {rows, tokens} drawn so far."""
        return {n: {"rows": c.rows, "tokens": c.tokens} for n, c in self.cursors.items()}

    def state(self) -> dict[str, Any]:
        """A small JSON object from which `restore` goes on."""
        return {name: asdict(cursor) for name, cursor in self.cursors.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues where `state` was taken.

        Raises:
            UserError: The state names other sources than this mixture.
        """
        if set(state) != set(self.shares):
            raise UserError(
                f"a state for the sources {sorted(state)} cannot continue a mixture of "
                f"{sorted(self.shares)}.",
                where="mixture",
            )
        self.cursors = {name: Cursor(**state[name]) for name in self.shares}
        self._tokens = sum(c.tokens for c in self.cursors.values())
        self._orders = {n: self._permutation(n, c.epoch) for n, c in self.cursors.items()}

    def replay(self, rows: int) -> None:
        """Continues after `rows` draws from the start, by drawing them again."""
        self.restore({name: asdict(Cursor()) for name in self.shares})
        for _ in self.rows(rows):
            pass

    def _permutation(self, name: str, epoch: int) -> npt.NDArray[np.int64]:
        generator = np.random.default_rng(derive_seed(self._seed, "mixture", name, epoch))
        if name not in self._weights:
            return generator.permutation(len(self._lengths[name]))
        return generator.permutation(systematic(self._weights[name], generator.random()))


def systematic(weights: npt.NDArray[np.float64], offset: float) -> npt.NDArray[np.int64]:
    """As many indices as weights, each floor or ceil of its expected times (systematic sampling).

    Args:
        weights: Positive, of shape [n].
        offset: In [0, 1): where the grid begins.

    Returns:
        int64 of shape [n], ascending; index i about n * weights[i] / sum(weights) times.
    """
    n = len(weights)
    ends = np.cumsum(weights) * (n / weights.sum()) + offset
    drawn = np.minimum(np.floor(ends), n)
    # Exactly, n are drawn at the last end, n + offset; rounding must not lose or win one.
    drawn[-1] = n
    counts = np.diff(drawn, prepend=0.0)
    return np.repeat(np.arange(n), counts.astype(np.int64))
