"""Copies between arrays whose items lie in different orders, as fast as memory allows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SIDE = 240
"""Items of a box in the order of the source: long runs, whose starts lie no power of two apart, for
such would share few lines of a cache."""

BOX = 1 << 16
"""Most items of a box: a core's cache holds it."""

NEAR = 32 << 10
"""Bytes of the source that a core's nearest cache keeps until all of their items are copied."""


def assign(out: Array, strided: Array) -> None:
    """Copies between arrays of one shape.

    Where neighbours of the result lie far apart in the source, as in a transpose, boxes are first
    gathered with the source's neighbours side by side, and turned in the cache.
    """
    shape, steps = strided.shape, [abs(step) for step in strided.strides]
    moving = [at for at, step in enumerate(steps) if step and shape[at] > 1]
    nearest = sorted(moving, key=steps.__getitem__)
    behind = range(nearest[0] + 1, out.ndim) if nearest else ()
    if sum((shape[at] - 1) * steps[at] for at in behind) <= NEAR:
        out[...] = strided
        return
    side = _side(shape, nearest)
    order = [at for at in range(out.ndim) if at not in side] + side
    target, source = out.transpose(order), strided.transpose(order)
    for place in _places(source.shape, _box(source.shape, len(side))):
        target[place] = source[place].copy()


def _side(shape: Sequence[int], nearest: Sequence[int]) -> list[int]:
    """The axes, the nearest last, that run over SIDE items, but for the result's fastest."""
    side: list[int] = []
    for at in nearest:
        if at == len(shape) - 1 or math.prod(shape[at] for at in side) >= SIDE:
            break
        side.insert(0, at)
    return side


def _box(shape: Sequence[int], side: int) -> list[int]:
    """The sizes of a box: SIDE items on the last axes, so many, and on the others what has room."""
    sizes: list[int] = []
    for number, size in enumerate(reversed(shape)):
        most = (SIDE if number < side else BOX) // math.prod(sizes)
        sizes.insert(0, min(size, max(1, most)))
    return sizes


def _places(shape: Sequence[int], sizes: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Where the boxes of these sizes lie that tile a shape; those at its ends are smaller."""
    starts = (range(0, whole, size) for whole, size in zip(shape, sizes, strict=True))
    for at in itertools.product(*starts):
        yield tuple(slice(start, start + size) for start, size in zip(at, sizes, strict=True))
