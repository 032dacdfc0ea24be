"""npz archives, read only: a zip of `.npy` members."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.checkpoints.archive import read_archive
from ckptsurgeon.checkpoints.base import Checkpoint, Contents, Opaque
from ckptsurgeon.checkpoints.npy import LONGEST_HEADER, Header, read_header
from ckptsurgeon.checkpoints.stored import Stored, swap
from ckptsurgeon.checkpoints.strict_json import shorten
from ckptsurgeon.checkpoints.transfer import Array, Extent, naming
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import TensorSpec, UnreadableSpec, number_width, unreadable_spec

TEXT_KINDS = "USMm"
"""NumPy's kinds of dtypes that hold texts, dates and times, which are no weights."""

SAVE_PLAIN = "convert it to a dtype such as float32 where it was made, and save it again"


@dataclass(frozen=True, slots=True)
class Member:
    """One array of numbers: the member that holds it, and what its header says."""

    stored: Stored
    header: Header
    spec: TensorSpec

    @property
    def by_columns(self) -> bool:
        return self.header.fortran and len(self.spec.shape) > 1


@dataclass(frozen=True, kw_only=True)
class NpzCheckpoint(Checkpoint):
    """An npz archive opened for reading."""

    members: Mapping[str, Member]

    def extent(self, key: str) -> Extent | None:
        """Where the tensor's bytes lie; None where they are deflated, swapped or column-major."""
        member = self.members[key]
        if member.header.swapped or member.by_columns or member.stored.extent is None:
            return None
        return Extent(self.path, member.stored.offset + member.header.start, member.spec.nbytes)

    def blocks(self, key: str) -> Iterator[bytes] | None:
        """The tensor's bytes in order, but for those of columns."""
        member = self.members[key]
        if member.by_columns:
            return None
        blocks = member.stored.part(member.header.start, member.spec.nbytes)
        return swap(blocks, number_width(member.spec.dtype)) if member.header.swapped else blocks

    def read(self, key: str) -> Array:
        """The whole tensor in its carrier dtype, row-major and little-endian."""
        member = self.members[key]
        if not member.by_columns:
            return super().read(key)
        import numpy as np  # headers alone are read without it

        header = dataclasses.replace(member.header, fortran=False)
        rows = dataclasses.replace(member, header=header)
        items = dataclasses.replace(self, members={key: rows}).read(key)
        return np.ascontiguousarray(items.reshape(member.spec.shape[::-1]).T)


def open_npz(path: Path) -> NpzCheckpoint:
    """The arrays of an npz archive; those of no checkpoint dtype can't be read.

    Raises CheckpointError where a member is no `.npy`, or does not hold what its header says.
    """
    archive = read_archive(path)
    members: dict[str, Member] = {}
    specs: dict[str, TensorSpec] = {}
    opaque: list[Opaque] = []
    with naming(path):
        for name, stored in archive.items():
            key = name.removesuffix(".npy")
            if key == name:
                raise CheckpointError(f"its member {shorten(name)} is no .npy array")
            with naming(shorten(key)):
                header = _read_header(stored)
                if header.dtype is not None:
                    members[key] = _member(stored, header, header.dtype)
                    specs[key] = members[key].spec
                elif header.kind in TEXT_KINDS:
                    opaque.append(Opaque(key, f"numpy {header.descr}", "texts or dates"))
                else:
                    specs[key] = _explain(header)
    contents = Contents(specs, opaque=tuple(opaque))
    return NpzCheckpoint(path=path, format="npz", contents=contents, files=(path,), members=members)


def _read_header(stored: Stored) -> Header:
    """The header that a member begins with; of the rest, no more is read than a block."""
    blocks = stored.part(0, min(stored.nbytes, LONGEST_HEADER))
    return read_header(io.BytesIO(b"".join(itertools.islice(blocks, 4))))


def _member(stored: Stored, header: Header, dtype: str) -> Member:
    spec, found = TensorSpec(dtype, header.shape), stored.nbytes - header.start
    if spec.nbytes != found:
        raise CheckpointError(f"{spec} takes {spec.nbytes} bytes, its member has {found}")
    return Member(stored, header, spec)


def _explain(header: Header) -> UnreadableSpec:
    """Why an array of no checkpoint dtype can't be read."""
    if header.kind == "O":
        what = "an array of Python objects, which are never loaded"
        return unreadable_spec(what, "save arrays of numbers instead", None, header.shape)
    if header.kind == "V":
        what = (
            f"an array of {shorten(header.descr)}, raw bytes without a type: npz loses that of "
            "bfloat16 and float8 arrays (ml_dtypes)"
        )
        remedy = "save it as float32, or all as safetensors (`safetensors.numpy.save_file`)"
        return unreadable_spec(what, remedy, None, header.shape)
    what = f"an array of the NumPy type {shorten(header.descr)}, which no checkpoint dtype holds"
    return unreadable_spec(what, SAVE_PLAIN, None, header.shape)
