"""A tensor's bytes in order, in runs that are held one at a time."""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.transfer import Array, naming, read_extent
from ckptsurgeon.specs import BITS

READ = 8 << 20
"""Bytes of one read."""


def read_runs(checkpoint: Checkpoint, key: str) -> Iterator[Array]:
    """The tensor's bytes in order, in runs that end between items."""
    import numpy as np  # headers alone are read without it

    spec = checkpoint.contents.specs[key]
    step = READ // max(1, BITS[spec.dtype] // 8) * max(1, BITS[spec.dtype] // 8)
    extent = checkpoint.extent(key)
    if extent is not None:
        yield from extent.check(map(read_extent, extent.cut(step)), key)
        return
    blocks = checkpoint.blocks(key)
    if blocks is None:
        yield np.ascontiguousarray(checkpoint.read(key)).reshape(-1).view(np.uint8)
        return
    with naming(f"{checkpoint.path}: {key!r}"):
        yield from _whole_items(blocks, step)


def _whole_items(blocks: Iterator[bytes], step: int) -> Iterator[Array]:
    """Blocks put together to runs of one size, and a shorter last one."""
    import numpy as np

    waiting = bytearray()
    for block in blocks:
        waiting += block
        while len(waiting) >= step:
            yield np.frombuffer(bytes(waiting[:step]), np.uint8)
            del waiting[:step]
    if waiting:
        yield np.frombuffer(bytes(waiting), np.uint8)
