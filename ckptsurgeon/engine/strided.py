"""Copies between arrays whose items lie in different orders, as fast as memory allows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SIDE = 256
"""Items of a box along either order: runs are long in both, and a core's cache holds it."""

BOX = 1 << 16
"""Most items of a box, where it has more than two sides."""

NEAR = 32 << 10
"""Bytes of the source that a core's nearest cache keeps until all of their items are copied."""

PITCH = 64
"""Bytes between the rows of a box: rows a power of two apart would share few lines of a cache."""


def assign(out: Array, strided: Array) -> None:
    """Copies between arrays of one shape.

    Where neighbours of the result lie far apart in the source, as in a transpose, boxes are first
    gathered in the order of the source, and turned in the cache.
    """
    nearest = _source_order(strided)
    run = list(range(out.ndim - 1, min(nearest[:1], default=out.ndim), -1))
    if _span(strided, run) <= NEAR:
        out[...] = strided
        return
    inner = _few(run, out.shape)
    outer = _few(itertools.takewhile(lambda at: at not in inner, nearest), out.shape)
    others = [at for at in range(out.ndim) if at not in (*inner, *outer)]
    order = (*others, *inner, *outer)
    turned = out.transpose(order), strided.transpose(order)
    _turn(*turned, len(others), len(others) + len(inner))


def _span(strided: Array, axes: Iterable[int]) -> int:
    """The bytes of the source over which the axes run."""
    return sum((strided.shape[at] - 1) * abs(strided.strides[at]) for at in axes)


def _source_order(strided: Array) -> list[int]:
    """The axes that move in the source, that of the nearest neighbours first."""
    moving = [at for at, step in enumerate(strided.strides) if step and strided.shape[at] > 1]
    return sorted(moving, key=lambda at: abs(strided.strides[at]))


def _few(axes: Iterable[int], shape: Sequence[int]) -> list[int]:
    """As many of the axes, the fastest first, as run over SIDE items; turned around."""
    found: list[int] = []
    for at in axes:
        if math.prod(shape[at] for at in found) >= SIDE:
            break
        found.insert(0, at)
    return found


def _turn(out: Array, strided: Array, inner: int, outer: int) -> None:
    """Copies by way of a box.

    The axes from `inner` on run fastest in the result, those from `outer` on in the source.
    """
    import numpy as np

    sizes = _box(out.shape, inner, outer)
    width = math.prod(sizes[outer:])
    room = np.empty((math.prod(sizes) // width, width + PITCH // out.itemsize), out.dtype)
    for place in _places(out.shape, sizes):
        target = out[place]
        columns = math.prod(target.shape[outer:])
        box = room[: target.size // columns, :columns].reshape(target.shape)
        box[...] = strided[place]
        target[...] = box


def _box(shape: Sequence[int], inner: int, outer: int) -> list[int]:
    """The sizes of a box: SIDE items of either side, and of the other axes what has room."""
    sides = _cut(shape[inner:outer], SIDE) + _cut(shape[outer:], SIDE)
    return _cut(shape[:inner], BOX // math.prod(sides)) + sides


def _cut(shape: Sequence[int], most: int) -> list[int]:
    """The sizes of the part of a shape that has no more items, whole in its last dims."""
    sizes: list[int] = []
    for size in reversed(shape):
        sizes.insert(0, min(size, max(1, most)))
        most //= size
    return sizes


def _places(shape: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Where the boxes of these sizes lie that tile a shape; those at its ends are smaller."""
    starts = (range(0, whole, size) for whole, size in zip(shape, sizes, strict=True))
    for at in itertools.product(*starts):
        yield tuple(slice(start, start + size) for start, size in zip(at, sizes, strict=True))
