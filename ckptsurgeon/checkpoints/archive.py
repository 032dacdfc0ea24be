"""The directory of a zip file, torch's or NumPy's, checked as a whole before anything is read.

Readers of zip files differ in what they make of doubtful ones: of two members of one name torch
takes the first and Python the last. So doubt is refused, and sizes and offsets are held against
the file's own size.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.checkpoints.stored import Coding, Stored
from ckptsurgeon.checkpoints.transfer import opened, read_bytes
from ckptsurgeon.errors import CheckpointError

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR64 = struct.Struct("<4sIQI")

NARROW, WIDE = 0xFFFF, 0xFFFFFFFF
"""The values of 16 and 32 bits that say: look in the zip64 record."""

MAX_COMMENT = 65535

ENCRYPTED, DESCRIPTOR = 0x1, 0x8

CODINGS: Mapping[int, Coding] = {0: Coding.PLAIN, 8: Coding.DEFLATED}
"""The methods of compression that are read, by their numbers."""

BLOCK = 8 << 10
"""Bytes that are read at once: the records of small members, one behind the other."""

MAX_INFLATION = 1032
"""Most bytes that one byte of a deflate stream can stand for."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A member as the central directory tells it; `header` is the offset of its local header."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    nbytes: int
    header: int


def read_archive(path: Path) -> Mapping[str, Stored]:
    """The members of a zip file by name, in the directory's order, with the CRC-32 it gives them.

    Raises CheckpointError for a file that was cut, for names that stand twice or hold NUL, for
    members that overlap or reach outside, for compression other than deflate, and where local
    headers and directory disagree.
    """
    with opened(path) as descriptor:
        return _Reader(path, descriptor).members()


class _Reader:
    """One open file, read by ranges that are first held against its size."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._size = os.fstat(descriptor).st_size
        self._block, self._start = b"", 0

    def members(self) -> Mapping[str, Stored]:
        start, nbytes, count = self._directory()
        found: dict[str, Stored] = {}
        spans: list[tuple[int, int, str]] = []
        for entry in _entries(self._read(start, nbytes), count):
            name = _name(entry.name)
            if name in found:
                raise CheckpointError(
                    f"two members are named {name!r}; readers differ in which one they take"
                )
            found[name] = member = self._member(name, entry, start)
            spans.append((entry.header, member.offset + entry.packed, name))
        _apart(spans)
        return found

    def _read(self, offset: int, nbytes: int) -> bytes:
        if offset < 0 or nbytes < 0 or offset + nbytes > self._size:
            raise CheckpointError(
                f"names {nbytes} bytes at {offset}, the file has {self._size}: cut, or damaged"
            )
        at = offset - self._start
        if at < 0 or at + nbytes > len(self._block):
            self._start, at = offset, 0
            wanted = max(nbytes, min(BLOCK, self._size - offset))
            self._block = read_bytes(self._descriptor, offset, wanted)
        return self._block[at : at + nbytes]

    def _directory(self) -> tuple[int, int, int]:
        """Offset, size and number of entries of the central directory."""
        at, end = self._end_record()
        _, disk, first_disk, here, count, nbytes, start, _ = end
        if NARROW in (here, count) or WIDE in (nbytes, start):
            at, (disk, first_disk, here, count, nbytes, start) = self._end_record64(at)
        elif at >= LOCATOR64.size and self._read(at - LOCATOR64.size, 4) == b"PK\x06\x07":
            at, wide = self._end_record64(at)
            if wide != (disk, first_disk, here, count, nbytes, start):
                raise CheckpointError("its two end records disagree")
        if disk or first_disk or here != count:
            raise CheckpointError("is one part of an archive in several parts, wanted a whole one")
        if start + nbytes != at:
            raise CheckpointError(
                f"its directory ends at {start + nbytes}, wanted {at} where the end record begins"
            )
        return start, nbytes, count

    def _end_record(self) -> tuple[int, tuple[int, ...]]:
        reach = min(self._size, END.size + MAX_COMMENT)
        tail = self._read(self._size - reach, reach)
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < END.size:
            raise CheckpointError(
                "has no end record of a zip file: the file was cut; fetch or copy it again"
            )
        end = END.unpack_from(tail, at)
        if at + END.size + end[-1] != len(tail):
            raise CheckpointError("has bytes behind its end record: the file was damaged")
        return self._size - reach + at, end

    def _end_record64(self, end: int) -> tuple[int, tuple[int, ...]]:
        locator = LOCATOR64.unpack(self._read(end - LOCATOR64.size, LOCATOR64.size))
        if locator[0] != b"PK\x06\x07":
            raise CheckpointError("wants a zip64 record and has none: the file was damaged")
        at = locator[2]
        record = END64.unpack(self._read(at, END64.size))
        if record[0] != b"PK\x06\x06" or at + 12 + record[1] != end - LOCATOR64.size:
            raise CheckpointError("its zip64 record is not where it should be")
        return at, record[4:]

    def _member(self, name: str, entry: _Entry, limit: int) -> Stored:
        """The entry's member, its local header read and held against the directory."""
        if entry.flags & ENCRYPTED:
            raise CheckpointError(f"{name!r} is encrypted; decrypt the archive first")
        local = LOCAL.unpack(self._read(entry.header, LOCAL.size))
        rest = self._read(entry.header + LOCAL.size, local[9] + local[10])
        if local[0] != b"PK\x03\x04" or rest[: local[9]] != entry.name or local[3] != entry.method:
            raise CheckpointError(f"the directory and the local header of {name!r} disagree")
        _agree(name, entry, local, rest[local[9] :])
        offset = entry.header + LOCAL.size + len(rest)
        if offset + entry.packed > limit:
            raise CheckpointError(f"{name!r} reaches into the directory: cut, or damaged")
        coding = CODINGS.get(entry.method)
        if coding is None:
            raise CheckpointError(
                f"{name!r} is compressed by method {entry.method}; wanted none, or deflate: "
                "unpack the archive and pack it again"
            )
        if coding is Coding.PLAIN and entry.packed != entry.nbytes:
            raise CheckpointError(f"{name!r} is stored but has two sizes")
        if entry.nbytes > entry.packed * MAX_INFLATION:
            raise CheckpointError(
                f"{name!r} claims {entry.nbytes} bytes, more than {entry.packed} can stand for"
            )
        return Stored(self._path, offset, entry.packed, entry.nbytes, coding, entry.crc or None)


def _apart(spans: list[tuple[int, int, str]]) -> None:
    """Nothing, if each member ends before the next one's header begins."""
    spans.sort()
    for (_, end, name), (start, _, other) in itertools.pairwise(spans):
        if start < end:
            raise CheckpointError(f"{name!r} and {other!r} overlap: a crafted or damaged file")


def _name(raw: bytes) -> str:
    if b"\0" in raw:
        raise CheckpointError(f"a member's name holds NUL: {raw!r}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _agree(name: str, entry: _Entry, local: tuple[int, ...], extra: bytes) -> None:
    """Nothing, if the local header says what the directory says, or leaves it to a descriptor."""
    crc, packed, nbytes = local[6:9]
    if WIDE in (packed, nbytes):
        nbytes, packed, _ = _widened(extra, nbytes, packed, 0)
    if local[2] & DESCRIPTOR and (crc, packed, nbytes) == (0, 0, 0):
        return
    if (crc, packed, nbytes) != (entry.crc, entry.packed, entry.nbytes):
        raise CheckpointError(f"the directory and the local header of {name!r} disagree on sizes")


def _entries(directory: bytes, count: int) -> Iterator[_Entry]:
    """The directory's entries in order; they must fill it exactly, and be as many as told."""
    at = 0
    while at < len(directory):
        if len(directory) - at < CENTRAL.size or directory[at : at + 4] != b"PK\x01\x02":
            raise CheckpointError("its directory holds something that is no entry")
        fields = CENTRAL.unpack_from(directory, at)
        names = at + CENTRAL.size
        extras = names + fields[10]
        at = extras + fields[11] + fields[12]
        if at > len(directory):
            raise CheckpointError("its directory ends within an entry")
        extra = directory[extras : extras + fields[11]]
        nbytes, packed, header = _widened(extra, fields[9], fields[8], fields[16])
        name = directory[names:extras]
        count -= 1
        yield _Entry(name, fields[3], fields[4], fields[7], packed, nbytes, header)
    if count:
        raise CheckpointError("its directory does not hold as many entries as the end record says")


def _widened(extra: bytes, nbytes: int, packed: int, header: int) -> tuple[int, int, int]:
    """The three numbers, those that are full taken from the zip64 field in their order."""
    values = [nbytes, packed, header]
    if WIDE not in values:
        return nbytes, packed, header
    field = _field64(extra)
    for index, value in enumerate(values):
        if value == WIDE:
            if len(field) < 8:
                raise CheckpointError("a member of more than 4 GiB without its zip64 sizes")
            values[index], field = int.from_bytes(field[:8], "little"), field[8:]
    return values[0], values[1], values[2]


def _field64(extra: bytes) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return b""
