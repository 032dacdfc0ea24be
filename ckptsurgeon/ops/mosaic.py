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

from ckptsurgeon.ops.movable import NotAMosaic
from ckptsurgeon.ops.tiles import (
    MAX_TILES,
    Axis,
    Tile,
    View,
    align,
    flip,
    permute,
    pieces_within,
    reshape,
    with_dim,
)
from ckptsurgeon.specs import TensorSpec, row_strides, with_item


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A `Movable` of this shape, tiled without gap or overlap; without tiles a shape alone."""

    shape: tuple[int, ...]
    tiles: tuple[Tile, ...]

    def __post_init__(self) -> None:
        if len(self.tiles) > MAX_TILES:
            raise NotAMosaic

    def reshape(self, shape: tuple[int, ...]) -> Mosaic:
        if shape == self.shape:
            return self
        if not self.tiles:
            return Mosaic(shape, ())
        groups = align(self.shape, shape)
        return Mosaic(shape, _few(box for tile in self.tiles for box in reshape(tile, groups)))

    def permute(self, dims: Sequence[int]) -> Mosaic:
        tiles = (permute(tile, dims) for tile in self.tiles)
        return Mosaic(tuple(self.shape[dim] for dim in dims), tuple(tiles))

    def part(self, dim: int, taken: range) -> Mosaic:
        if taken == range(self.shape[dim]):
            return self
        return self.within(with_item(tuple(map(range, self.shape)), dim, taken))

    def within(self, region: Sequence[range]) -> Mosaic:
        """The part of every dim that a region takes."""
        tiles = _few(piece for tile in self.tiles for piece in pieces_within(tile, region))
        return Mosaic(tuple(map(len, region)), tiles)

    def take(self, dim: int, indices: Sequence[int]) -> Mosaic:
        """Neighbours are taken together."""
        if not self.tiles:
            return Mosaic(with_item(self.shape, dim, len(indices)), ())
        runs = (self.part(dim, run) for run in _runs(indices))
        return next(runs).concat(dim, runs)

    def flip(self, dim: int) -> Mosaic:
        return Mosaic(self.shape, tuple(flip(tile, dim, self.shape[dim]) for tile in self.tiles))

    def expand(self, dim: int, times: int) -> Mosaic:
        again = (Axis(times, 0),)
        tiles = (Tile(tile.start, with_dim(tile.view, dim, again)) for tile in self.tiles)
        return Mosaic(with_item(self.shape, dim, times), tuple(tiles))

    def concat(self, dim: int, others: Iterable[Mosaic]) -> Mosaic:
        tiles, size = list(self.tiles), self.shape[dim]
        for mosaic in others:
            if len(tiles) + len(mosaic.tiles) > MAX_TILES:
                raise NotAMosaic
            tiles += (
                Tile(with_item(t.start, dim, t.start[dim] + size), t.view) for t in mosaic.tiles
            )
            size += mosaic.shape[dim]
        return Mosaic(with_item(self.shape, dim, size), tuple(tiles))

    def fill(self, shape: tuple[int, ...], dtype: str, value: int | float) -> Mosaic:
        return constant(shape, dtype, value)

    def cast(self, dtype: str) -> Mosaic:
        """The same items in another dtype."""
        tiles = (
            Tile(tile.start, replace(tile.view, casts=(*tile.view.casts, dtype)))
            for tile in self.tiles
        )
        return Mosaic(self.shape, tuple(tiles))


def dense(source: object, spec: TensorSpec) -> Mosaic:
    """A whole input whose items lie in row order."""
    return strided(source, spec, row_strides(spec.shape))


def strided(source: object, spec: TensorSpec, stride: tuple[int, ...]) -> Mosaic:
    """A whole input, from one item of which to the next on each dim are so many items."""
    if not spec.count:
        return Mosaic(spec.shape, ())
    dims = tuple((axis,) for axis in map(Axis, spec.shape, stride))
    return Mosaic(spec.shape, (Tile((0,) * len(dims), View(source, spec.dtype, 0, dims)),))


def constant(shape: tuple[int, ...], dtype: str, value: int | float) -> Mosaic:
    """One number in every place."""
    if not math.prod(shape):
        return Mosaic(shape, ())
    view = View(None, dtype, 0, tuple((Axis(size, 0),) for size in shape), value=value)
    return Mosaic(shape, (Tile((0,) * len(shape), view),))


def _few(tiles: Iterable[Tile]) -> tuple[Tile, ...]:
    """The tiles, as soon as they are known to be no more than a mosaic may have."""
    found = tuple(itertools.islice(tiles, MAX_TILES + 1))
    if len(found) > MAX_TILES:
        raise NotAMosaic
    return found


def _runs(indices: Sequence[int]) -> Iterator[range]:
    """Stretches of consecutive integers."""
    start = 0
    for at in range(1, len(indices) + 1):
        if at == len(indices) or indices[at] != indices[at - 1] + 1:
            yield range(indices[start], indices[at - 1] + 1)
            start = at
