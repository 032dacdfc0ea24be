"""Tensors as words: the bits of each value in a dtype, and a number for each that looks random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.transfer import Extent, naming, read_extent
from ckptsurgeon.ops import carriers
from ckptsurgeon.ops.ranges import COMPLEX, INTEGER_RANGES
from ckptsurgeon.ops.splitmix import scramble
from ckptsurgeon.specs import BITS

Array = np.ndarray[Any, Any]
Words = np.ndarray[Any, np.dtype[np.uint64]]

CHUNK = 1 << 17
"""Items that are held at a time: what a core's cache holds as words."""

READ = 8 << 20
"""Bytes of one read."""


def may_become(dtype: str, wanted: str) -> bool:
    """Whether values of a dtype may be those of another, rounded if need be."""
    if BITS[dtype] % 8 or BITS[wanted] % 8:
        return dtype == wanted
    if wanted in COMPLEX or dtype in COMPLEX:
        return dtype in COMPLEX and wanted in COMPLEX
    if wanted == "BOOL":
        return dtype == wanted
    return dtype in INTEGER_RANGES or wanted not in INTEGER_RANGES


def read_runs(checkpoint: Checkpoint, key: str) -> Iterator[Array]:
    """The tensor's bytes in order, in runs that end between items."""
    spec = checkpoint.contents.specs[key]
    step = READ // max(1, BITS[spec.dtype] // 8) * max(1, BITS[spec.dtype] // 8)
    extent = checkpoint.extent(key)
    if extent is not None:
        for start in range(0, extent.nbytes, step):
            count = min(step, extent.nbytes - start)
            yield read_extent(Extent(extent.path, extent.offset + start, count))
        return
    blocks = checkpoint.blocks(key)
    if blocks is None:
        yield np.ascontiguousarray(checkpoint.read(key)).reshape(-1).view(np.uint8)
        return
    with naming(f"{checkpoint.path}: {key!r}"):
        yield from _whole_items(blocks, step)


def _whole_items(blocks: Iterator[bytes], step: int) -> Iterator[Array]:
    """Blocks put together to runs of one size, and a shorter last one."""
    waiting = bytearray()
    for block in blocks:
        waiting += block
        while len(waiting) >= step:
            yield np.frombuffer(bytes(waiting[:step]), np.uint8)
            del waiting[:step]
    if waiting:
        yield np.frombuffer(bytes(waiting), np.uint8)


def read_words(checkpoint: Checkpoint, key: str, wanted: str) -> Iterator[Words]:
    """The bits of the tensor's values in the dtype `wanted`, at most `CHUNK` at a time."""
    spec = checkpoint.contents.specs[key]
    for run in read_runs(checkpoint, key):
        if spec.carrier is None:
            yield from _cut(run.astype(np.uint64))
            continue
        for part in _cut(run.view(spec.carrier)):
            yield bits_of(part, spec.dtype, wanted)


def _cut(items: Array) -> Iterator[Array]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def bits_of(items: Array, dtype: str, wanted: str) -> Words:
    """The bits of items of a carrier, as they are in another dtype."""
    if dtype != wanted:
        items = carriers.encode(carriers.decode(items, dtype), wanted)
    if items.dtype.kind == "c":
        pairs = np.ascontiguousarray(items).view(np.uint64).reshape(-1, 2)
        mixed: Words = scramble(pairs[:, 0]) + pairs[:, 1]
        return mixed
    return items.astype(np.uint64)
