"""The bytes of tensors in chunks, read into memory that is used over and over."""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.runs import read_runs
from ckptsurgeon.checkpoints.transfer import Extent, opened, read_into
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.measuring.scratch import CHUNK, Scratch
from ckptsurgeon.ops.carriers import Array
from ckptsurgeon.plans.graph import Leaf
from ckptsurgeon.specs import number_width


def needs_whole(checkpoint: Checkpoint, key: str) -> bool:
    """Whether a tensor of a file can only be read as a whole, as one whose items lie far apart."""
    ways = (checkpoint.extent, checkpoint.blocks, checkpoint.span)
    return bool(checkpoint.files) and all(way(key) is None for way in ways)


def read_chunks(
    checkpoint: Checkpoint, key: str, extent: Extent | None, scratch: Scratch, memory: int
) -> Iterator[Array]:
    """The bytes of a tensor, or of an extent of it, in chunks; each is good until the next one."""
    size = CHUNK * number_width(checkpoint.contents.specs[key].dtype)
    if extent is not None:
        yield from _read_extent(extent, size, scratch.buffer)
        return
    for run in _read_runs(checkpoint, key, memory):
        for at in range(0, len(run), size):
            yield run[at : at + size]


def _read_extent(extent: Extent, size: int, buffer: Array) -> Iterator[Array]:
    with opened(extent.path) as descriptor:
        for part in extent.cut(size):
            read_into(descriptor, part, buffer.data[: part.nbytes])
            yield buffer[: part.nbytes]


def _read_runs(checkpoint: Checkpoint, key: str, memory: int) -> Iterator[Array]:
    """The bytes of what lies dense in no file; of a strided tensor by what reads it in parts."""
    if checkpoint.span(key) is None:
        yield from read_runs(checkpoint, key)
        return
    spec = checkpoint.contents.specs[key]
    with NodeReader({"": checkpoint}, memory) as reader:
        yield from reader.blocks(Leaf("", key, spec, key))
