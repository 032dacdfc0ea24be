"""The words that every move is written in, once for arrays and for mosaics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from ckptsurgeon.specs import with_item

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Self

    Array = np.ndarray[Any, Any]


class NotAMosaic(Exception):
    """A move that no mosaic of reasonable size tells; the op is then applied to arrays."""


class Movable(Protocol):
    """A tensor whose elements are put elsewhere by these words alone; dims count from 0.

    NumPy arrays have them as `MovableArray`, mosaics themselves.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def reshape(self, shape: tuple[int, ...]) -> Self:
        """The same items in row order."""

    def permute(self, dims: Sequence[int]) -> Self:
        """For each dim of the result, the one that it was."""

    def part(self, dim: int, taken: range) -> Self:
        """The part of one dim, whose step is 1 or more."""

    def take(self, dim: int, indices: Sequence[int]) -> Self:
        """The items of a dim in the order of the indices."""

    def flip(self, dim: int) -> Self:
        """The opposite order on one dim."""

    def expand(self, dim: int, times: int) -> Self:
        """The one item of a dim again and again."""

    def concat(self, dim: int, others: Iterable[Self]) -> Self:
        """This one, and behind it the others, on a dim."""

    def fill(self, shape: tuple[int, ...], dtype: str, value: int | float) -> Self:
        """Another tensor, with one number in every place."""


M = TypeVar("M", bound=Movable)


def cut(tensor: M, dim: int, sizes: Iterable[int]) -> tuple[M, ...]:
    """Parts of these sizes on a dim, one behind the other."""
    return tuple(tensor.part(dim, range(*pair)) for pair in pairwise(accumulate(sizes, initial=0)))


class MovableArray(msgspec.Struct, frozen=True):
    """A NumPy array of a carrier, in memory of any layout; results are views where they can be."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.array.shape
        return shape

    def reshape(self, shape: tuple[int, ...]) -> MovableArray:
        return MovableArray(self.array.reshape(shape))

    def permute(self, dims: Sequence[int]) -> MovableArray:
        return MovableArray(self.array.transpose(dims))

    def part(self, dim: int, taken: range) -> MovableArray:
        return self._along(dim, slice(taken.start, taken.stop, taken.step))

    def take(self, dim: int, indices: Sequence[int]) -> MovableArray:
        return MovableArray(self.array.take(indices, axis=dim))

    def flip(self, dim: int) -> MovableArray:
        return self._along(dim, slice(None, None, -1))

    def expand(self, dim: int, times: int) -> MovableArray:
        import numpy as np

        return MovableArray(np.broadcast_to(self.array, with_item(self.shape, dim, times)))

    def concat(self, dim: int, others: Iterable[MovableArray]) -> MovableArray:
        import numpy as np

        held = [one.array for one in (self, *others) if one.shape[dim]]
        if len(held) < 2:
            return MovableArray(held[0]) if held else self
        return MovableArray(np.concatenate(held, axis=dim))

    def fill(self, shape: tuple[int, ...], dtype: str, value: int | float) -> MovableArray:
        import numpy as np

        from ckptsurgeon.ops.carriers import encode

        return MovableArray(np.broadcast_to(encode(value, dtype), shape))

    def _along(self, dim: int, items: slice) -> MovableArray:
        index = (slice(None),) * dim + (items,)
        return MovableArray(self.array[index])
