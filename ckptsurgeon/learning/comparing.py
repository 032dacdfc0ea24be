"""A node's bytes against those of a tensor in a file: all of them, or stretches."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.runs import read_runs
from ckptsurgeon.checkpoints.transfer import Extent, read_extent
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.learning.words import Array
from ckptsurgeon.ops.indexing import Region
from ckptsurgeon.plans.graph import Node
from ckptsurgeon.specs import BITS, TensorSpec, row_strides

SAMPLE = 64 << 10
"""Bytes of a tensor that are compared where not all of it is."""

SAMPLES = 4
"""Stretches of a tensor that these bytes are taken from."""


def is_equal(reader: NodeReader, node: Node, checkpoint: Checkpoint, name: str) -> bool:
    """Whether a node's bytes are those of a tensor."""
    wanted = _Reader(checkpoint, name)
    return all(np.array_equal(one, wanted.next(len(one))) for one in reader.blocks(node))


class _Reader:
    """The bytes of a tensor, as many at a time as are asked for."""

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        self._runs = read_runs(checkpoint, name)
        self._left: list[Array] = []

    def next(self, nbytes: int) -> Array:
        """The next bytes; fewer where the tensor ends."""
        held = sum(map(len, self._left))
        while held < nbytes and (run := next(self._runs, None)) is not None:
            self._left.append(run)
            held += len(run)
        whole = np.concatenate(self._left) if self._left else np.zeros(0, np.uint8)
        self._left = [whole[nbytes:]]
        return whole[:nbytes]


# --- samples --------------------------------------------------------------------------------------


def agrees(reader: NodeReader, node: Node, checkpoint: Checkpoint, name: str) -> bool:
    """Whether stretches of a node are those of a tensor; all of it, if that is small."""
    spec = node.spec
    if spec.nbytes <= SAMPLE or spec.carrier is None:
        return is_equal(reader, node, checkpoint, name)
    extent = checkpoint.extent(name)
    for region in sample_regions(spec):
        made = reader.part(node, region)
        if extent is None or made is None:
            return is_equal(reader, node, checkpoint, name)
        wanted = read_extent(_within(extent, region, spec))
        if not np.array_equal(made, wanted):
            return False
    return True


def sample_regions(spec: TensorSpec) -> Iterator[Region]:
    """Stretches of a tensor in row order, from its beginning to its end."""
    items = SAMPLE // SAMPLES * 8 // BITS[spec.dtype]
    inner, dim = 1, len(spec.shape)
    while dim and inner * spec.shape[dim - 1] <= items:
        dim -= 1
        inner *= spec.shape[dim]
    if dim == 0:
        yield tuple(map(range, spec.shape))
        return
    length = min(max(1, items // inner), spec.shape[dim - 1])
    rows = math.prod(spec.shape[:dim])
    behind = tuple(map(range, spec.shape[dim:]))
    for at in sorted({(rows - length) * part // (SAMPLES - 1) for part in range(SAMPLES)}):
        *leading, first = map(int, np.unravel_index(at, spec.shape[:dim]))
        start = min(first, spec.shape[dim - 1] - length)
        yield (
            *(range(one, one + 1) for one in leading),
            range(start, start + length),
            *behind,
        )


def _within(extent: Extent, region: Region, spec: TensorSpec) -> Extent:
    """Where the bytes of a stretch lie."""
    itemsize = BITS[spec.dtype] // 8
    strides = row_strides(spec.shape)
    first = sum(part.start * stride for part, stride in zip(region, strides, strict=True))
    nbytes = math.prod(map(len, region)) * itemsize
    return Extent(extent.path, extent.offset + first * itemsize, nbytes)
