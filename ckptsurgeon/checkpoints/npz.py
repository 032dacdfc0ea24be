"""npz archives, read only: a zip of `.npy` members."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ckptsurgeon.checkpoints.base import Checkpoint, Contents, Opaque
from ckptsurgeon.checkpoints.npy import read_header
from ckptsurgeon.checkpoints.strict_json import shorten
from ckptsurgeon.checkpoints.transfer import Array, Extent, naming, read_extent
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import BITS, TensorSpec

MAX_INFLATION = 1032
"""Most bytes that one byte of a deflate stream can stand for."""


@dataclass(frozen=True, slots=True)
class Member:
    """One array: where it begins in the archive, where its items in itself, and how they lie."""

    info: zipfile.ZipInfo
    spec: TensorSpec
    offset: int
    start: int
    swapped: bool
    fortran: bool

    def extent(self, path: Path) -> Extent | None:
        """Where its items lie in the archive, or None where they are deflated."""
        if self.info.compress_type != zipfile.ZIP_STORED:
            return None
        return Extent(path, self.offset + self.start, self.spec.nbytes)


@dataclass(frozen=True, kw_only=True)
class NpzCheckpoint(Checkpoint):
    """An npz archive opened for reading."""

    members: Mapping[str, Member]

    def extent(self, key: str) -> Extent | None:
        """Where the tensor's bytes lie; None where they are deflated, swapped or column-major."""
        member = self.members[key]
        return None if member.swapped or member.fortran else member.extent(self.path)

    def read(self, key: str) -> Array:
        """The whole tensor in its carrier dtype, row-major and little-endian."""
        member = self.members[key]
        extent = member.extent(self.path)
        flat = read_extent(extent) if extent else _inflate(self.path, key, member)
        return _arranged(flat, member)


def open_npz(path: Path) -> NpzCheckpoint:
    """The arrays of an npz archive; those that are no plain numbers are opaque.

    Raises CheckpointError where a member is no `.npy`, or does not hold what its header says.
    """
    members: dict[str, Member] = {}
    opaque: list[Opaque] = []
    try:
        with naming(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for key, info in _listed(archive).items():
                found = _member(file, archive, key, info)
                if isinstance(found, Opaque):
                    opaque.append(found)
                else:
                    members[key] = found
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError) as error:
        raise CheckpointError(f"{path}: its zip archive can't be read: {error}") from error
    specs = {key: member.spec for key, member in members.items()}
    contents = Contents(specs, opaque=tuple(opaque))
    return NpzCheckpoint(path=path, format="npz", contents=contents, files=(path,), members=members)


def _listed(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by key, none of them twice."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        key = info.filename.removesuffix(".npy")
        if key == info.filename:
            raise CheckpointError(f"its member {shorten(key)} is no .npy array")
        if key in found:
            raise CheckpointError(f"has the member {shorten(info.filename)} twice")
        if info.flag_bits & 1 or info.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise CheckpointError(
                f"its member {shorten(info.filename)} is encrypted or compressed in a way that "
                "NumPy does not write; save it again with numpy.savez"
            )
        found[key] = info
    return found


def _member(
    file: IO[bytes], archive: zipfile.ZipFile, key: str, info: zipfile.ZipInfo
) -> Member | Opaque:
    """What one member holds, after checking that it holds all of it."""
    offset = _data_offset(file, info)
    with naming(shorten(key)):
        with archive.open(info) as stream:
            header = read_header(stream)
        if header.dtype is None:
            return _opaque(key, header.descr)
        spec, found = TensorSpec(header.dtype, header.shape), info.file_size - header.start
        if spec.nbytes != found:
            raise CheckpointError(f"{spec} takes {spec.nbytes} bytes, its member has {found}")
    fortran = header.fortran and len(spec.shape) > 1
    return Member(info, spec, offset, header.start, header.swapped, fortran)


def _data_offset(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin, after checking that they can all be in the archive.

    `ZipFile.open` reads the same local header, and checks that its name is the directory's.
    """
    local = os.pread(file.fileno(), 30, info.header_offset)
    if len(local) < 30 or local[:4] != b"PK\x03\x04":
        raise CheckpointError(f"has no member where it lists {shorten(info.filename)}")
    lengths = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    data = info.header_offset + 30 + lengths
    stored = info.compress_type == zipfile.ZIP_STORED
    most = info.compress_size * (1 if stored else MAX_INFLATION)
    if data + info.compress_size > os.fstat(file.fileno()).st_size or info.file_size > most:
        raise CheckpointError(
            f"its member {shorten(info.filename)} claims {info.file_size} bytes, more than it "
            "can hold"
        )
    return data


def _opaque(key: str, descr: object) -> Opaque:
    kind = f"numpy {descr}" if isinstance(descr, str) else "numpy structured"
    if isinstance(descr, str) and descr[1:2] == "O":
        return Opaque(key, kind, "pickled Python objects, which are never loaded")
    return Opaque(key, kind, f"items of type {shorten(descr)}, which no checkpoint dtype holds")


def _inflate(path: Path, key: str, member: Member) -> Array:
    """The items of a deflated member, never more than its header told; its checksum is checked."""
    import numpy as np  # headers alone are read without it

    flat = np.empty(member.spec.nbytes, np.uint8)
    view, done = flat.data, 0
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member.info) as stream:
            stream.read(member.start)
            while count := stream.readinto(view[done:]) if done < len(view) else 0:  # type: ignore[attr-defined]
                done += count
            surplus = stream.read(1)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CheckpointError(f"{path}: {shorten(key)}: can't be inflated: {error}") from error
    if done < len(view) or surplus:
        raise CheckpointError(f"{path}: {shorten(key)}: does not hold the bytes that it claims")
    return flat


def _arranged(flat: Array, member: Member) -> Array:
    """Bytes as they lie in the archive -> a row-major array in the carrier."""
    import numpy as np  # headers alone are read without it

    spec = member.spec
    if member.swapped:
        width = BITS[spec.dtype] // (16 if spec.dtype.startswith("C") else 8)
        flat = flat.view(f"u{width}").byteswap().view(np.uint8)
    items = flat.view(np.dtype(spec.carrier))
    if member.fortran:
        return np.ascontiguousarray(items.reshape(spec.shape[::-1]).T)
    return items.reshape(spec.shape)
