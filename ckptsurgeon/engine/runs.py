"""Mosaics that are long stretches of files: what the kernel can copy without a look at it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ckptsurgeon.checkpoints.transfer import Extent
from ckptsurgeon.ops.mosaic import Mosaic
from ckptsurgeon.ops.tiles import Tile
from ckptsurgeon.specs import row_strides

LEAST_RUN = 64 << 10
"""Shortest stretch of bytes that is worth a call of the kernel, where a tile has several."""

SHORTEST_RUN = 256
"""Shortest stretch that is copied by the kernel to spare the import of NumPy."""

FEW_RUNS = 1024
"""Calls of the kernel that together take less time than it takes to import NumPy."""


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of a file that are wanted as they lie; `offset` is where, from the key's first byte."""

    extent: Extent
    offset: int


def kernel_runs(
    mosaic: Mosaic, itemsize: int, extent_of: Callable[[Any], Extent | None]
) -> list[Run] | None:
    """The mosaic as byte runs in the order of the output; None where many are short, or cast.

    `extent_of` gives the place of a view's source, None where it does not lie dense in a file.
    """
    runs: list[Run] = []
    strides = row_strides(mosaic.shape)
    for tile in mosaic.tiles:
        source = tile.view.source
        extent = None if source is None or tile.view.casts else extent_of(source)
        if extent is None:
            return None
        steps, items = _steps(tile, strides)
        if steps and not _few_or_long(items * itemsize, len(runs) + math.prod(s[0] for s in steps)):
            return None
        first = sum(at * stride for at, stride in zip(tile.start, strides, strict=True))
        for source_at, target_at in _starts(steps):
            offset = extent.offset + (tile.view.offset + source_at) * itemsize
            piece = Extent(extent.path, offset, items * itemsize)
            runs.append(Run(piece, (first + target_at) * itemsize))
    return sorted(runs, key=lambda run: run.offset)


def _few_or_long(nbytes: int, number: int) -> bool:
    return nbytes >= LEAST_RUN or (nbytes >= SHORTEST_RUN and number <= FEW_RUNS)


def short_runs(runs: Sequence[Run]) -> int:
    """How many of them are too short to be worth a call, in a tensor of several."""
    if len(runs) == 1:
        return 0
    return sum(run.extent.nbytes < LEAST_RUN for run in runs)


Step = tuple[int, int, int]
"""Size, stride in the source, stride in the output."""


def _steps(tile: Tile, strides: tuple[int, ...]) -> tuple[list[Step], int]:
    """The steps from run to run of a tile, and the items of a run."""
    steps: list[Step] = []
    for dim, stride in zip(tile.view.dims, strides, strict=True):
        within = math.prod(axis.size for axis in dim)
        for axis in dim:
            within //= axis.size
            if axis.size > 1:
                steps.append((axis.size, axis.stride, within * stride))
    items = 1
    while steps and steps[-1][1] == items == steps[-1][2]:
        items *= steps.pop()[0]
    return steps, items


def _starts(steps: list[Step]) -> Iterator[tuple[int, int]]:
    """Where each run begins, in the source and in the output, from that of the first."""
    for at in itertools.product(*(range(size) for size, _, _ in steps)):
        pairs = list(zip(at, steps, strict=True))
        yield sum(i * step[1] for i, step in pairs), sum(i * step[2] for i, step in pairs)
