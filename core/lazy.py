"""Sequences that make their elements when they are asked for: rows of files, not of memory."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """Indices and slices over `at` and `__len__`; a slice is a list."""

    @abstractmethod
    def at(self, index: int) -> T:
        """The element at 0 <= `index` < len."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self.at(i) for i in range(*index.indices(len(self)))]
        # A range knows negative indices and refuses those beyond it.
        return self.at(range(len(self))[index])

    def __iter__(self) -> Iterator[T]:
        return map(self.at, range(len(self)))
