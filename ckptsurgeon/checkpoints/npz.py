"""npz archives, read only: a zip of `.npy` members."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.checkpoints.archive import read_archive
from ckptsurgeon.checkpoints.base import Contents, Opaque
from ckptsurgeon.checkpoints.npy import LONGEST_HEADER, Header, explain_dtype, read_header
from ckptsurgeon.checkpoints.stored import Coding, Stored
from ckptsurgeon.checkpoints.strict_json import shorten
from ckptsurgeon.checkpoints.strided import StridedCheckpoint, View, column_strides
from ckptsurgeon.checkpoints.transfer import naming
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import TensorSpec, row_strides


@dataclass(frozen=True, kw_only=True)
class NpzCheckpoint(StridedCheckpoint):
    """An npz archive opened for reading."""

    views: Mapping[str, View]

    def view(self, key: str) -> View:
        """Where the array lies in its member."""
        return self.views[key]


def open_npz(path: Path) -> NpzCheckpoint:
    """The arrays of an npz archive; those of no checkpoint dtype can't be read.

    Raises CheckpointError where a member is no `.npy`, or does not hold what its header says.
    """
    archive = read_archive(path)
    views: dict[str, View] = {}
    specs: dict[str, TensorSpec] = {}
    opaque: list[Opaque] = []
    with naming(path):
        for name, stored in archive.items():
            key = name.removesuffix(".npy")
            if key == name:
                if not name.endswith("/"):
                    opaque.append(Opaque(name, "file", f"{stored.nbytes} bytes, no .npy array"))
                continue
            with naming(shorten(key)):
                head = _read_head(stored)
                header = read_header(io.BytesIO(head))
                if header.dtype is not None:
                    views[key] = _view(stored, head, header, header.dtype)
                    specs[key] = TensorSpec(header.dtype, header.shape)
                elif header.is_text:
                    opaque.append(Opaque(key, f"numpy {header.descr}", "texts or dates"))
                else:
                    specs[key] = explain_dtype(header.descr, header.shape)
    contents = Contents(specs, opaque=tuple(opaque))
    return NpzCheckpoint(path=path, format="npz", contents=contents, files=(path,), views=views)


def _read_head(stored: Stored) -> bytes:
    """The bytes that a member begins with: its header, and what comes behind it."""
    return b"".join(stored.part(0, min(stored.nbytes, LONGEST_HEADER)))


def _view(stored: Stored, head: bytes, header: Header, dtype: str) -> View:
    spec, found = TensorSpec(dtype, header.shape), stored.nbytes - header.start
    if spec.nbytes != found:
        raise CheckpointError(f"{spec} takes {spec.nbytes} bytes, its member has {found}")
    stride = (column_strides if header.fortran else row_strides)(header.shape)
    start = header.start
    if stored.coding is Coding.PLAIN:
        stored, start = stored.behind(head[:start]), 0
    return View(stored, dtype, start, header.shape, stride, header.swapped)
