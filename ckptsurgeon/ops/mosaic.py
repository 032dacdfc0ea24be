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

from ckptsurgeon.ops.tiles import (
    MAX_TILES,
    Axis,
    NotAMosaic,
    Tile,
    View,
    changed,
    flipped,
    keep_dims,
    long_axes_of,
    pieces_within,
    reshaped_tile,
    row_stretches,
    with_dim,
)
from ckptsurgeon.specs import TensorSpec


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
        tiles = _few(piece for tile in self.tiles for piece in pieces_within(tile, taken))
        kept = [at for at, part in enumerate(taken) if isinstance(part, range)]
        shape = tuple(len(part) for part in taken if isinstance(part, range))
        return Mosaic(shape, tuple(keep_dims(tile, kept) for tile in tiles))

    def part(self, dim: int, taken: range) -> Mosaic:
        """The part of one dim."""
        whole: list[range | int] = [range(size) for size in self.shape]
        whole[dim] = taken
        return self.sliced(whole)

    def permuted(self, order: Sequence[int]) -> Mosaic:
        """For each dim of the result, the one that it was."""
        tiles = (keep_dims(tile, order) for tile in self.tiles)
        return Mosaic(tuple(self.shape[dim] for dim in order), tuple(tiles))

    def reshaped(self, shape: tuple[int, ...]) -> Mosaic:
        """The same items in row order."""
        if shape == self.shape:
            return self
        if math.prod(shape) == 0:
            return Mosaic(shape, ())
        tiles = _few(piece for tile in self.tiles for piece in row_stretches(tile, self.shape))
        return Mosaic(shape, tuple(reshaped_tile(tile, self.shape, shape) for tile in tiles))

    def flipped(self, dim: int) -> Mosaic:
        """The opposite order on one dim."""
        return Mosaic(self.shape, tuple(flipped(tile, dim, self.shape[dim]) for tile in self.tiles))

    def repeated(self, dim: int, times: int, each: bool) -> Mosaic:
        """The whole again and again on a dim, or (`each`) every item of it."""
        if not each and times * len(self.tiles) > MAX_TILES:  # times may be in the billions
            raise NotAMosaic
        if not each and self.tiles:
            return concatenated([self] * times, dim)
        again = (Axis(times, 0),)
        tiles = (
            Tile(
                changed(tile.start, dim, tile.start[dim] * times),
                with_dim(tile.view, dim, (*long_axes_of(tile.view.dims[dim]), *again)),
            )
            for tile in self.tiles
        )
        return Mosaic(changed(self.shape, dim, self.shape[dim] * times), tuple(tiles))

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
        tiles += (Tile(changed(t.start, dim, t.start[dim] + at), t.view) for t in mosaic.tiles)
        at += mosaic.shape[dim]
    return Mosaic(changed(mosaics[0].shape, dim, at), tuple(tiles))


def stacked(mosaics: Sequence[Mosaic], dim: int) -> Mosaic:
    """Side by side on a dim that is new."""
    return concatenated([_widened(mosaic, dim) for mosaic in mosaics], dim)


def picked(mosaic: Mosaic, dim: int, indices: Sequence[int]) -> Mosaic:
    """The items of a dim in the order of the indices, neighbours taken together."""
    runs = [mosaic.part(dim, run) for run in _runs(indices)]
    return concatenated(runs, dim)


def _few(tiles: Iterable[Tile]) -> list[Tile]:
    """The tiles, as soon as they are known to be no more than a mosaic may have."""
    found = list(itertools.islice(tiles, MAX_TILES + 1))
    if len(found) > MAX_TILES:
        raise NotAMosaic
    return found


def _widened(mosaic: Mosaic, dim: int) -> Mosaic:
    tiles = (
        Tile(
            (*tile.start[:dim], 0, *tile.start[dim:]),
            replace(tile.view, dims=(*tile.view.dims[:dim], (), *tile.view.dims[dim:])),
        )
        for tile in mosaic.tiles
    )
    return Mosaic((*mosaic.shape[:dim], 1, *mosaic.shape[dim:]), tuple(tiles))


def _runs(indices: Sequence[int]) -> Iterator[range]:
    """Stretches of consecutive integers."""
    start = 0
    for at in range(1, len(indices) + 1):
        if at == len(indices) or indices[at] != indices[at - 1] + 1:
            yield range(indices[start], indices[at - 1] + 1)
            start = at
