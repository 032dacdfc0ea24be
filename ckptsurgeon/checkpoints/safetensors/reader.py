"""safetensors files, read."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ckptsurgeon.checkpoints.base import Checkpoint, Contents
from ckptsurgeon.checkpoints.safetensors.header import MAX_HEADER, parse_header
from ckptsurgeon.checkpoints.transfer import Extent, opened, read_bytes
from ckptsurgeon.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class SafetensorsCheckpoint(Checkpoint):
    """A safetensors file; `start` is its first byte after the header."""

    start: int

    @cached_property
    def starts(self) -> Mapping[str, int]:
        """Where each tensor begins; plans of many shards never ask."""
        specs = self.contents.specs
        ends = itertools.accumulate((spec.nbytes for spec in specs.values()), initial=self.start)
        return dict(zip(specs, ends, strict=False))

    def extent(self, key: str) -> Extent:
        """Where the tensor's bytes lie: always dense."""
        return Extent(self.path, self.starts[key], self.contents.specs[key].nbytes)


def open_safetensors(path: Path) -> SafetensorsCheckpoint:
    """The checkpoint in a file, its header checked. Raises CheckpointError."""
    with opened(path) as source_fd:
        contents, start = _read_header(source_fd)
    return SafetensorsCheckpoint(
        path=path, format="safetensors", contents=contents, files=(path,), start=start
    )


def _read_header(source_fd: int) -> tuple[Contents, int]:
    """What the header says, and where it ends."""
    size = os.fstat(source_fd).st_size
    length = int.from_bytes(read_bytes(source_fd, 0, 8), "little")
    if size < 8:
        raise CheckpointError(f"is {size} bytes long, too short for a safetensors file")
    if length > MAX_HEADER:
        raise CheckpointError(f"claims a header of {length} bytes, allowed are {MAX_HEADER}")
    start = 8 + length
    if start > size:
        raise CheckpointError(
            f"claims a header of {length} bytes, but has {size - 8} after the length: "
            "it was cut, fetch it again"
        )
    return parse_header(read_bytes(source_fd, 8, length), size - start), start
