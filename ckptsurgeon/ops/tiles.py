"""The boxes of a mosaic: strided views of inputs, and what cutting and turning makes of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

MAX_TILES = 1 << 16
"""Most boxes of one mosaic; what needs more is carried out on whole tensors."""


class NotAMosaic(Exception):
    """A move that no mosaic of reasonable size tells; the op is then applied to arrays."""


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

    `source` is whatever names the input, None for the one value whose carrier holds `bits`.
    `dtype` is that of the items as they lie, `casts` the dtypes that they are cast to, in order.
    """

    source: object
    dtype: str
    offset: int
    dims: tuple[Dim, ...]
    casts: tuple[str, ...] = ()
    bits: int = 0

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


def changed(values: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    return (*values[:at], value, *values[at + 1 :])


def with_dim(view: View, at: int, dim: Dim) -> View:
    return replace(view, dims=(*view.dims[:at], dim, *view.dims[at + 1 :]))


def long_axes_of(dim: Dim) -> Dim:
    return tuple(axis for axis in dim if axis.size != 1)


def keep_dims(tile: Tile, order: Sequence[int]) -> Tile:
    dims = tuple(tile.view.dims[dim] for dim in order)
    return Tile(tuple(tile.start[dim] for dim in order), replace(tile.view, dims=dims))


def flipped(tile: Tile, dim: int, size: int) -> Tile:
    view, axes = tile.view, tile.view.dims[dim]
    offset = view.offset + sum((axis.size - 1) * axis.stride for axis in axes)
    turned = tuple(Axis(axis.size, -axis.stride) for axis in axes)
    start = size - tile.start[dim] - size_of(axes)
    return Tile(
        changed(tile.start, dim, start), with_dim(replace(view, offset=offset), dim, turned)
    )


def pieces_within(tile: Tile, taken: Sequence[range | int]) -> Iterator[Tile]:
    """What an index takes of a tile: a piece for each stretch of it that stays strided."""
    choices = []
    for start, dim, part in zip(tile.start, tile.view.dims, taken, strict=True):
        wanted = range(part, part + 1) if isinstance(part, int) else part
        first, own = _overlap(wanted, start, start + size_of(dim))
        choices.append([(first + at, delta, axes) for at, delta, axes in _cut(dim, own)])
    for choice in itertools.product(*choices):
        offset = tile.view.offset + sum(delta for _, delta, _ in choice)
        dims = tuple(axes for _, _, axes in choice)
        yield Tile(tuple(at for at, _, _ in choice), replace(tile.view, offset=offset, dims=dims))


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


def row_stretches(tile: Tile, shape: tuple[int, ...]) -> Iterable[Tile]:
    """The tile in pieces that are each one stretch of the row order: few, or NotAMosaic."""
    sizes = tile.view.shape
    partial = [dim for dim, size in enumerate(sizes) if size != shape[dim]]
    if not partial or all(size == 1 for size in sizes[: partial[-1]]):
        return (tile,)
    leading = sizes[: partial[-1]]
    if math.prod(leading) > MAX_TILES:
        raise NotAMosaic
    starts = tile.start
    return (
        piece
        for at in itertools.product(*map(range, leading))
        for piece in pieces_within(
            tile,
            [
                range(start + at[dim], start + at[dim] + 1)
                if dim < len(at)
                else range(start, start + size)
                for dim, (start, size) in enumerate(zip(starts, sizes, strict=True))
            ],
        )
        for piece in (_moved(piece, starts, at),)
    )


def _moved(piece: Tile, starts: tuple[int, ...], at: tuple[int, ...]) -> Tile:
    """A piece cut out of a tile, at its place in the mosaic."""
    shifts = (*at, *(0,) * (len(starts) - len(at)))
    begins = zip(piece.start, starts, shifts, strict=True)
    return Tile(tuple(own + start + shift for own, start, shift in begins), piece.view)


def reshaped_tile(tile: Tile, old: tuple[int, ...], new: tuple[int, ...]) -> Tile:
    """A tile that is one stretch of the row order, as a box of the new shape."""
    first = 0
    for at, size in zip(tile.start, old, strict=True):
        first = first * size + at
    start, sizes = _box(first, math.prod(tile.view.shape), new)
    axes = [axis for dim in tile.view.dims for axis in dim if axis.size != 1]
    return Tile(start, replace(tile.view, dims=tuple(_regrouped(axes, sizes))))


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
        if first + count > inner:
            raise NotAMosaic
    return tuple(start), (1,) * len(shape)


def _regrouped(axes: Sequence[Axis], sizes: Sequence[int]) -> Iterator[Dim]:
    """The axes shared out to dims of these sizes, an axis split where a dim ends within it."""
    waiting = list(reversed(_merged(axes)))
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


def _merged(axes: Sequence[Axis]) -> list[Axis]:
    """The same positions by fewer axes: two are one where the inner's end is the outer's stride."""
    merged: list[Axis] = []
    for axis in axes:
        if merged and merged[-1].stride == axis.size * axis.stride:
            merged[-1] = Axis(merged[-1].size * axis.size, axis.stride)
        else:
            merged.append(axis)
    return merged
