"""A tensor's bytes in order, in runs that are held one at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.crc import refuse_damaged
from ckptsurgeon.checkpoints.transfer import Array, Extent, naming, read_extent
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
        yield from _read_parts(extent, key, step)
        return
    blocks = checkpoint.blocks(key)
    if blocks is None:
        yield np.ascontiguousarray(checkpoint.read(key)).reshape(-1).view(np.uint8)
        return
    with naming(f"{checkpoint.path}: {key!r}"):
        yield from _whole_items(blocks, step)


def _read_parts(extent: Extent, key: str, step: int) -> Iterator[Array]:
    """The bytes of an extent, at the end held against the CRC-32 that the file says."""
    crc = 0
    for part in extent.cut(step):
        run = read_extent(part)
        crc = crc if extent.crc is None else zlib.crc32(run.data, crc)
        yield run
    with naming(f"{extent.path}: {key!r}"):
        refuse_damaged(crc, extent.crc)


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
