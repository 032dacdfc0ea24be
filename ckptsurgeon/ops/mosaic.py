"""Tensors by where their elements lie: what a chain of moving ops takes from which input.

A *mosaic* is a shape tiled by boxes; each box is a strided view of one input, or one repeated
value. Ops that only move elements turn mosaics into mosaics without touching data, so a plan knows
before it runs which byte ranges go where. A cast is noted on the views: it commutes with moving.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.specs import TensorSpec

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


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A tensor of this shape, tiled without gap or overlap."""

    shape: tuple[int, ...]
    tiles: tuple[Tile, ...]

    def __post_init__(self) -> None:
        if len(self.tiles) > MAX_TILES:
            raise NotAMosaic

    def sliced(self, taken: Sequence[range | int]) -> Mosaic:
        """What an index takes; dims with an integer go."""
        tiles = _few(piece for tile in self.tiles for piece in _taken_of(tile, taken))
        kept = [at for at, part in enumerate(taken) if isinstance(part, range)]
        shape = tuple(len(part) for part in taken if isinstance(part, range))
        return Mosaic(shape, tuple(_keep_dims(tile, kept) for tile in tiles))

    def part(self, dim: int, taken: range) -> Mosaic:
        """The part of one dim."""
        whole: list[range | int] = [range(size) for size in self.shape]
        whole[dim] = taken
        return self.sliced(whole)

    def permuted(self, order: Sequence[int]) -> Mosaic:
        """For each dim of the result, the one that it was."""
        tiles = (_keep_dims(tile, order) for tile in self.tiles)
        return Mosaic(tuple(self.shape[dim] for dim in order), tuple(tiles))

    def reshaped(self, shape: tuple[int, ...]) -> Mosaic:
        """The same items in row order."""
        if shape == self.shape:
            return self
        if math.prod(shape) == 0:
            return Mosaic(shape, ())
        tiles = _few(piece for tile in self.tiles for piece in _rows_of(tile, self.shape))
        return Mosaic(shape, tuple(_reshaped(tile, self.shape, shape) for tile in tiles))

    def flipped(self, dim: int) -> Mosaic:
        """The opposite order on one dim."""
        return Mosaic(
            self.shape, tuple(_flipped(tile, dim, self.shape[dim]) for tile in self.tiles)
        )

    def repeated(self, dim: int, times: int, each: bool) -> Mosaic:
        """The whole again and again on a dim, or (`each`) every item of it."""
        if not each and times * len(self.tiles) > MAX_TILES:  # times may be in the billions
            raise NotAMosaic
        if not each and self.tiles:
            return concatenated([self] * times, dim)
        again = (Axis(times, 0),)
        tiles = (
            Tile(
                _with(tile.start, dim, tile.start[dim] * times),
                _with_dim(tile.view, dim, (*_axes(tile.view.dims[dim]), *again)),
            )
            for tile in self.tiles
        )
        return Mosaic(_with(self.shape, dim, self.shape[dim] * times), tuple(tiles))

    def cast(self, dtype: str) -> Mosaic:
        """The same items in another dtype."""
        tiles = (
            Tile(tile.start, replace(tile.view, casts=(*tile.view.casts, dtype)))
            for tile in self.tiles
        )
        return Mosaic(self.shape, tuple(tiles))


def dense(source: object, spec: TensorSpec) -> Mosaic:
    """A whole input whose items lie in row order."""
    strides = itertools.accumulate(reversed(spec.shape[1:]), int.__mul__, initial=1)
    sizes = zip(spec.shape, reversed(list(strides)), strict=False)
    dims = tuple((Axis(size, stride),) for size, stride in sizes)
    if not spec.count:
        return Mosaic(spec.shape, ())
    return Mosaic(spec.shape, (Tile((0,) * len(dims), View(source, spec.dtype, 0, dims)),))


def constant(shape: tuple[int, ...], dtype: str, bits: int) -> Mosaic:
    """One value in every place."""
    if not math.prod(shape):
        return Mosaic(shape, ())
    view = View(None, dtype, 0, tuple((Axis(size, 0),) for size in shape), bits=bits)
    return Mosaic(shape, (Tile((0,) * len(shape), view),))


def concatenated(mosaics: Sequence[Mosaic], dim: int) -> Mosaic:
    """One behind the other on a dim."""
    tiles: list[Tile] = []
    at = 0
    for mosaic in mosaics:
        if len(tiles) + len(mosaic.tiles) > MAX_TILES:
            raise NotAMosaic
        tiles += (Tile(_with(t.start, dim, t.start[dim] + at), t.view) for t in mosaic.tiles)
        at += mosaic.shape[dim]
    return Mosaic(_with(mosaics[0].shape, dim, at), tuple(tiles))


def stacked(mosaics: Sequence[Mosaic], dim: int) -> Mosaic:
    """Side by side on a dim that is new."""
    return concatenated([_widened(mosaic, dim) for mosaic in mosaics], dim)


def picked(mosaic: Mosaic, dim: int, indices: Sequence[int]) -> Mosaic:
    """The items of a dim in the order of the indices, neighbours taken together."""
    runs = [mosaic.part(dim, run) for run in _runs(indices)]
    return concatenated(runs, dim)


def pieces_within(tile: Tile, region: Sequence[range]) -> Iterator[Tile]:
    """The parts of a tile that lie in a region, their starts counted from the region's."""
    return _taken_of(tile, region)


def size_of(dim: Dim) -> int:
    return math.prod(axis.size for axis in dim)


def _few(tiles: Iterable[Tile]) -> list[Tile]:
    """The tiles, as soon as they are known to be no more than a mosaic may have."""
    found = list(itertools.islice(tiles, MAX_TILES + 1))
    if len(found) > MAX_TILES:
        raise NotAMosaic
    return found


# --- parts ----------------------------------------------------------------------------------------


def _with(values: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    return (*values[:at], value, *values[at + 1 :])


def _with_dim(view: View, at: int, dim: Dim) -> View:
    return replace(view, dims=(*view.dims[:at], dim, *view.dims[at + 1 :]))


def _axes(dim: Dim) -> Dim:
    return tuple(axis for axis in dim if axis.size != 1)


def _keep_dims(tile: Tile, order: Sequence[int]) -> Tile:
    dims = tuple(tile.view.dims[dim] for dim in order)
    return Tile(tuple(tile.start[dim] for dim in order), replace(tile.view, dims=dims))


def _widened(mosaic: Mosaic, dim: int) -> Mosaic:
    tiles = (
        Tile(
            (*tile.start[:dim], 0, *tile.start[dim:]),
            replace(tile.view, dims=(*tile.view.dims[:dim], (), *tile.view.dims[dim:])),
        )
        for tile in mosaic.tiles
    )
    return Mosaic((*mosaic.shape[:dim], 1, *mosaic.shape[dim:]), tuple(tiles))


def _flipped(tile: Tile, dim: int, size: int) -> Tile:
    view, axes = tile.view, tile.view.dims[dim]
    offset = view.offset + sum((axis.size - 1) * axis.stride for axis in axes)
    turned = tuple(Axis(axis.size, -axis.stride) for axis in axes)
    start = size - tile.start[dim] - size_of(axes)
    return Tile(_with(tile.start, dim, start), _with_dim(replace(view, offset=offset), dim, turned))


def _runs(indices: Sequence[int]) -> Iterator[range]:
    """Stretches of consecutive integers."""
    start = 0
    for at in range(1, len(indices) + 1):
        if at == len(indices) or indices[at] != indices[at - 1] + 1:
            yield range(indices[start], indices[at - 1] + 1)
            start = at


def _taken_of(tile: Tile, taken: Sequence[range | int]) -> Iterator[Tile]:
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
    axes = _axes(dim)
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


# --- reshape --------------------------------------------------------------------------------------


def _rows_of(tile: Tile, shape: tuple[int, ...]) -> Iterable[Tile]:
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
        for piece in _taken_of(
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


def _reshaped(tile: Tile, old: tuple[int, ...], new: tuple[int, ...]) -> Tile:
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
