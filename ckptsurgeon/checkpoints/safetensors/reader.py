"""safetensors files, read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ckptsurgeon.checkpoints.base import Contents, Extent
from ckptsurgeon.checkpoints.safetensors.header import MAX_HEADER, Header, parse_header, starts_of
from ckptsurgeon.checkpoints.transfer import open_source, read_bytes, read_extent
from ckptsurgeon.errors import CheckpointError

if TYPE_CHECKING:
    from ckptsurgeon.checkpoints.base import Array


class SafetensorsCheckpoint:
    """A safetensors file opened for reading; `start` is its first byte after the header."""

    def __init__(self, path: Path, contents: Contents, start: int) -> None:
        self.path, self.contents = path, contents
        self._start = start
        self._starts: Mapping[str, int] | None = None

    @property
    def format(self) -> str:
        return "safetensors"

    @property
    def files(self) -> tuple[Path, ...]:
        """The file that the tensors lie in."""
        return (self.path,)

    @property
    def has_values(self) -> bool:
        return True

    def extent(self, key: str) -> Extent:
        """Where the tensor's bytes lie: always dense."""
        specs = self.contents.specs
        if self._starts is None:  # plans of many shards never ask
            self._starts = starts_of(specs, self._start)
        return Extent(self.path, self._starts[key], specs[key].nbytes)

    def read(self, key: str) -> Array:
        """The whole tensor in its carrier dtype (uint8[nbytes] where an item is under a byte)."""
        spec, flat = self.contents.specs[key], read_extent(self.extent(key))
        return flat if spec.carrier is None else flat.view(spec.carrier).reshape(spec.shape)


def open_safetensors(path: Path) -> SafetensorsCheckpoint:
    """The checkpoint in a file, its header checked. Raises CheckpointError."""
    source_fd = open_source(path)
    try:
        header, start = _read_header(source_fd)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    finally:
        os.close(source_fd)
    return SafetensorsCheckpoint(path, Contents(header.specs, metadata=header.metadata), start)


def _read_header(source_fd: int) -> tuple[Header, int]:
    """The header, and where it ends."""
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
