"""safetensors files, read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.formats.base import Contents, Extent
from ckptsurgeon.formats.safetensors_header import MAX_HEADER, Header, parse_header
from ckptsurgeon.formats.transfer import open_source, read_bytes, read_extent

if TYPE_CHECKING:
    from ckptsurgeon.formats.base import Array


@dataclass(frozen=True, slots=True)
class SafetensorsCheckpoint:
    """A safetensors file opened for reading."""

    path: Path
    contents: Contents
    starts: Mapping[str, int]

    @property
    def format(self) -> str:
        return "safetensors"

    @property
    def has_values(self) -> bool:
        return True

    def extent(self, key: str) -> Extent:
        """Where the tensor's bytes lie: always dense."""
        return Extent(self.path, self.starts[key], self.contents.specs[key].nbytes)

    def read(self, key: str) -> Array:
        """The whole tensor in its carrier dtype (uint8[nbytes] where an item is under a byte)."""
        spec, flat = self.contents.specs[key], read_extent(self.extent(key))
        return flat if spec.carrier is None else flat.view(spec.carrier).reshape(spec.shape)


def open_safetensors(path: Path) -> SafetensorsCheckpoint:
    """The checkpoint in a file, its header checked. Raises CheckpointError."""
    source_fd = open_source(path)
    try:
        header = _read_header(source_fd)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    finally:
        os.close(source_fd)
    return SafetensorsCheckpoint(
        path, Contents(header.specs, metadata=header.metadata), header.starts
    )


def _read_header(source_fd: int) -> Header:
    """The header, its starts counted from the beginning of the file."""
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
    return parse_header(read_bytes(source_fd, 8, length), size - start, start)
