"""The boxes of a mosaic: strided views of inputs, and what cutting and turning makes of them."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from operator import mul

from ckptsurgeon.ops.movable import NotAMosaic
from ckptsurgeon.specs import row_strides, with_item

MAX_TILES = 1 << 16
"""Most boxes of one mosaic; what needs more is carried out on whole tensors."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A run of positions, `stride` items apart (0 where one item is repeated)."""

    size: int
    stride: int


Dim = tuple[Axis, ...]
"""A dim as nested axes, the slowest first; () is a dim of one item.

A reshape that merges dims keeps their axes apart, so that the view stays strided.
"""


@dataclass(frozen=True, slots=True)
class View:
    """A strided look at an input: the item at `offset` plus the strides of its dims.

    `source` is whatever names the input, None for one number in every place, the `value`.
    `dtype` is that of the items as they lie, `casts` the dtypes that they are cast to, in order.
    """

    source: object
    dtype: str
    offset: int
    dims: tuple[Dim, ...]
    casts: tuple[str, ...] = ()
    value: int | float = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(size_of, self.dims))


@dataclass(frozen=True, slots=True)
class Tile:
    """A view and where in the mosaic its first item stands."""

    start: tuple[int, ...]
    view: View


def size_of(dim: Dim) -> int:
    return math.prod(axis.size for axis in dim)


def with_dim(view: View, at: int, dim: Dim) -> View:
    return replace(view, dims=with_item(view.dims, at, dim))


def long_axes_of(dim: Dim) -> Dim:
    return tuple(axis for axis in dim if axis.size != 1)


def permute(tile: Tile, dims: Sequence[int]) -> Tile:
    view = replace(tile.view, dims=tuple(tile.view.dims[dim] for dim in dims))
    return Tile(tuple(tile.start[dim] for dim in dims), view)


def flip(tile: Tile, dim: int, size: int) -> Tile:
    view, axes = tile.view, tile.view.dims[dim]
    offset = view.offset + sum((axis.size - 1) * axis.stride for axis in axes)
    turned = tuple(Axis(axis.size, -axis.stride) for axis in axes)
    start = size - tile.start[dim] - size_of(axes)
    return Tile(
        with_item(tile.start, dim, start), with_dim(replace(view, offset=offset), dim, turned)
    )


Box = tuple[tuple[int, ...], int, tuple[Dim, ...]]
"""Where a part of a tile begins, how far its first item is from the tile's, and its dims."""


def pieces_within(tile: Tile, region: Sequence[range]) -> Iterator[Tile]:
    """What a region takes of a tile: a piece for each stretch of it that stays strided."""
    boxes = []
    for start, dim, wanted in zip(tile.start, tile.view.dims, region, strict=True):
        first, own = _overlap(wanted, start, start + size_of(dim))
        boxes.append([((first + at,), delta, (axes,)) for at, delta, axes in _cut(dim, own)])
    return _tiles(tile.view, boxes)


def _tiles(view: View, boxes: Iterable[Iterable[Box]]) -> Iterator[Tile]:
    """A tile for every choice of boxes, which are given for the view's dims from the first on."""
    for choice in itertools.product(*boxes):
        starts, deltas, dims = zip(*choice, strict=True) if choice else ((), (), ())
        moved = replace(view, offset=view.offset + sum(deltas), dims=tuple(chain(*dims)))
        yield Tile(tuple(chain(*starts)), moved)


def _overlap(wanted: range, start: int, stop: int) -> tuple[int, range]:
    """Where in `wanted` its part within [start, stop) begins, and that part counted from start."""
    first = max(0, -(-(start - wanted.start) // wanted.step))
    last = min(len(wanted), -(-(stop - wanted.start) // wanted.step))
    if last <= first:
        return 0, range(0)
    inside = wanted[first:last]
    return first, range(inside.start - start, inside.stop - start, inside.step)


def _cut(dim: Dim, taken: range) -> list[tuple[int, int, Dim]]:
    """Pieces of a dim: position among what is taken, offset, and axes."""
    axes = long_axes_of(dim)
    if not taken:
        return []
    if len(taken) == math.prod(axis.size for axis in axes):
        return [(0, 0, axes)]
    if len(axes) == 1:
        stride = axes[0].stride
        return [(0, taken.start * stride, (Axis(len(taken), taken.step * stride),))]
    if taken.step != 1 and len(taken) > 1:
        raise NotAMosaic
    return _cut_nested(axes, taken.start, taken.start + len(taken))


def _cut_nested(axes: Dim, start: int, stop: int) -> list[tuple[int, int, Dim]]:
    """A stretch of nested axes: the end of one turn, whole turns, the beginning of another."""
    outer, inner = axes[0], axes[1:]
    turn = size_of(inner)
    pieces = []
    at = start
    while at < stop:
        number, within = divmod(at, turn)
        if within == 0 and stop - at >= turn:
            turns = (stop - at) // turn
            found = [(0, 0, (Axis(turns, outer.stride), *inner))]
            end = at + turns * turn
        else:
            end = min(stop, (number + 1) * turn)
            found = _cut(inner, range(within, within + end - at))
        pieces += [(at - start + p, number * outer.stride + delta, dim) for p, delta, dim in found]
        at = end
    return pieces


# --- reshaping ------------------------------------------------------------------------------------

Group = tuple[slice, tuple[int, ...], tuple[int, ...]]
"""Neighbouring dims, their sizes, and the sizes of the dims that a reshape makes of them alone."""


def align(old: tuple[int, ...], new: tuple[int, ...]) -> list[Group]:
    """A reshape of a tensor that has items, as reshapes of as few neighbouring dims as can be."""
    before, behind = (list(accumulate(shape, mul, initial=1)) for shape in (old, new))
    groups, at, made = [], 0, 0
    for count in sorted({*before} & {*behind}):
        stop, end = bisect_right(before, count) - 1, bisect_right(behind, count) - 1
        groups.append((slice(at, stop), old[at:stop], new[made:end]))
        at, made = stop, end
    return groups


def reshape(tile: Tile, groups: Iterable[Group]) -> Iterator[Tile]:
    """A tile as boxes of the new shape, few of them; raises NotAMosaic where it is none."""
    boxes = (_boxes(tile.start[at], tile.view.dims[at], old, new) for at, old, new in groups)
    return _tiles(tile.view, boxes)


def _boxes(
    start: tuple[int, ...], dims: tuple[Dim, ...], old: tuple[int, ...], new: tuple[int, ...]
) -> Iterator[Box]:
    """Some dims of a tile, each stretch of the row order a box of the new sizes."""
    if old == new:
        yield start, 0, dims
        return
    sizes, strides = tuple(map(size_of, dims)), row_strides(old)
    lead = max((dim for dim, size in enumerate(sizes) if size != old[dim]), default=0)
    if math.prod(sizes[:lead]) > MAX_TILES:
        raise NotAMosaic
    axes = [axis for dim in dims[lead:] for axis in long_axes_of(dim)]
    for items in itertools.product(*map(range, sizes[:lead])):
        first = sum(map(mul, start, strides)) + sum(map(mul, items, strides))
        places, lengths = _box(first, math.prod(sizes[lead:]), new)
        yield places, sum(map(_offset, dims, items)), tuple(_regroup(axes, lengths))


def _offset(dim: Dim, item: int) -> int:
    """How far an item of a dim is from its first."""
    offset = 0
    for axis in reversed(dim):
        item, at = divmod(item, axis.size)
        offset += at * axis.stride
    return offset


def _box(first: int, count: int, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Start and sizes of the box that a stretch of the row order is, if it is one."""
    start: list[int] = []
    inner = math.prod(shape)
    for dim, size in enumerate(shape):
        inner //= size
        at, first = divmod(first, inner)
        start.append(at)
        if count >= inner:
            whole, rest = divmod(count, inner)
            if first or rest or at + whole > size:
                raise NotAMosaic
            behind = shape[dim + 1 :]
            return (*start, *(0,) * len(behind)), (*(1,) * dim, whole, *behind)
    return tuple(start), (1,) * len(shape)


def _regroup(axes: Sequence[Axis], sizes: Sequence[int]) -> Iterator[Dim]:
    """The axes shared out to dims of these sizes, an axis split where a dim ends within it."""
    waiting = list(reversed(_merge(axes)))
    for size in sizes:
        dim: list[Axis] = []
        left = size
        while left > 1:
            axis = waiting.pop()
            if left % axis.size == 0:
                dim.append(axis)
                left //= axis.size
            elif axis.size % left == 0:
                rest = axis.size // left
                dim.append(Axis(left, axis.stride * rest))
                waiting.append(Axis(rest, axis.stride))
                left = 1
            else:
                raise NotAMosaic
        yield tuple(dim)


def _merge(axes: Sequence[Axis]) -> list[Axis]:
    """The same positions by fewer axes: two are one where the inner's end is the outer's stride."""
    merged: list[Axis] = []
    for axis in axes:
        if merged and merged[-1].stride == axis.size * axis.stride:
            merged[-1] = Axis(merged[-1].size * axis.size, axis.stride)
        else:
            merged.append(axis)
    return merged
