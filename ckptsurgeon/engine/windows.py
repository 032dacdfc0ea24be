"""Pieces of a mosaic with the ranges of the sources that their items lie in."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ckptsurgeon.ops.tiles import Axis, Tile, View, long_axes_of, pieces_within, size_of
from ckptsurgeon.specs import BITS, CARRIERS

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

DENSITY = 2
"""A stretch of a file is read at once where at least one byte in so many is wanted."""

ALIGNMENT = 64
"""What ranges of memory begin at multiples of."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A tile and what of its source is read for it.

    `span` items from each of so many `ranges`, the first of which begins at `low`; the axes `far`,
    widest first, lead from range to range.
    """

    tile: Tile
    axes: tuple[Axis, ...]
    far: list[int]
    ranges: int
    low: int
    span: int

    @property
    def itemsize(self) -> int:
        return BITS[self.tile.view.dtype] // 8

    @property
    def nbytes(self) -> int:
        """The bytes of all ranges, and of the room up to where the next piece may begin."""
        used = self.ranges * self.span * self.itemsize
        return used + -used % ALIGNMENT

    @property
    def starts(self) -> Iterator[int]:
        """Where in the source the ranges begin, in bytes."""
        far = (self.axes[at] for at in self.far)
        steps = (range(0, axis.size * axis.stride, axis.stride) for axis in far)
        return ((self.low + sum(at)) * self.itemsize for at in itertools.product(*steps))

    def over(self, data: Array) -> Tile:
        """The tile as a view of uint8 memory that the ranges lie in, one behind the other."""
        view, gathered, span = self.tile.view, list(self.axes), self.span
        for at in reversed(self.far):
            gathered[at] = Axis(self.axes[at].size, span)
            span *= self.axes[at].size
        axes = iter(gathered)
        dims = tuple(tuple(next(axes) for _ in long_axes_of(dim)) for dim in view.dims)
        offset = view.offset - self.low
        return Tile(self.tile.start, replace(view, source=data, offset=offset, dims=dims))


def piece_of(tile: Tile) -> Piece:
    """The tile with as few ranges as are dense: of the others, more than half is not wanted."""
    axes = long_axes(tile.view)
    far = far_axes(axes)
    ranges = math.prod(axes[at].size for at in far)
    low, high = reach([axis for at, axis in enumerate(axes) if at not in far])
    return Piece(tile, axes, far, ranges, tile.view.offset + low, high - low + 1)


class Tiling:
    """Tiles in the order of the first dim, so that those near a region are found fast."""

    def __init__(self, tiles: Iterable[Tile]) -> None:
        self.tiles = sorted(tiles, key=lambda tile: tile.start[:1])
        ends = (start + size for start, size in map(_first_dim, self.tiles))
        self._starts = [start for start, _ in map(_first_dim, self.tiles)]
        self._ends = list(itertools.accumulate(ends, max))

    def within(self, region: Sequence[range]) -> Iterator[Tile]:
        """What the tiles have in a region, placed from its start."""
        low, high = (region[0].start, region[0].stop) if region else (0, 1)
        near = slice(bisect_right(self._ends, low), bisect_left(self._starts, high))
        return (piece for tile in self.tiles[near] for piece in pieces_within(tile, region))


def _first_dim(tile: Tile) -> tuple[int, int]:
    """Where a tile begins on the first dim, and its size there; a scalar is one row."""
    return (tile.start[0], size_of(tile.view.dims[0])) if tile.start else (0, 1)


def items_of(view: View) -> Array:
    """The items of a view of uint8 memory, in their carrier, a dim for each of its long axes."""
    import numpy as np

    dtype, data, axes = np.dtype(CARRIERS[BITS[view.dtype]]), view.source, long_axes(view)
    if not isinstance(data, np.ndarray):
        raise TypeError(f"{data!r} is no memory")
    strides = [axis.stride * dtype.itemsize for axis in axes]
    shape = [axis.size for axis in axes]
    items: Array = np.ndarray(shape, dtype, data.data, view.offset * dtype.itemsize, strides)
    return items


def long_axes(view: View) -> tuple[Axis, ...]:
    """The axes of a view, in order, but for those of one item."""
    return tuple(axis for dim in view.dims for axis in long_axes_of(dim))


def reach(axes: Sequence[Axis]) -> tuple[int, int]:
    """The lowest and the highest item that the axes come to from item 0."""
    ends = [(axis.size - 1) * axis.stride for axis in axes]
    return sum(min(0, end) for end in ends), sum(max(0, end) for end in ends)


def far_axes(axes: Sequence[Axis]) -> list[int]:
    """The numbers of the axes, widest first, without which the others are dense."""
    far = sorted(range(len(axes)), key=lambda at: -abs(axes[at].stride))
    near = [axes[at] for at in far]
    while not _is_dense(near):
        del near[0]
    return far[: len(axes) - len(near)]


def _is_dense(axes: Sequence[Axis]) -> bool:
    """Whether at least one item in DENSITY of what the axes span is wanted."""
    low, high = reach(axes)
    distinct = math.prod(axis.size for axis in axes if axis.stride)
    return high - low + 1 <= DENSITY * distinct
