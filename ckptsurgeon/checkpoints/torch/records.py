"""The records of a zip file whose members are stored and aligned, as torch maps them to memory.

All offsets follow from names and sizes, so data can be written before the records are.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.checkpoints.archive import (
    CENTRAL,
    END,
    END64,
    LOCAL,
    LOCATOR64,
    NARROW,
    WIDE,
)

ALIGNMENT = 64

UTF8 = 0x800

PADDING = b"FB"
"""The id that torch gives to the extra field which aligns the data."""

DATE = 0x21
"""1 January 1980, the first day that zip knows."""


@dataclass(frozen=True, slots=True)
class PlannedMember:
    """A member whose place is settled: `header` and `offset` are where header and data begin."""

    name: str
    header: int
    offset: int
    nbytes: int

    @property
    def end(self) -> int:
        return self.offset + self.nbytes


def plan_members(sizes: Mapping[str, int]) -> tuple[PlannedMember, ...]:
    """The members in their order, each one's data aligned to 64 bytes."""
    members, at = [], 0
    for name, nbytes in sizes.items():
        fixed = at + LOCAL.size + len(name.encode()) + len(_wide_sizes(nbytes)) + 4
        members.append(PlannedMember(name, at, fixed + -fixed % ALIGNMENT, nbytes))
        at = members[-1].end
    return tuple(members)


def local_header(member: PlannedMember, crc: int) -> bytes:
    """The record before a member's data, which fills the room up to it."""
    name, wide = member.name.encode(), _wide_sizes(member.nbytes)
    room = member.offset - member.header - LOCAL.size - len(name) - len(wide) - 4
    extra = wide + PADDING + struct.pack("<H", room) + b"Z" * room
    size = WIDE if wide else member.nbytes
    fields = (0, UTF8, 0, 0, DATE, crc, size, size, len(name), len(extra))
    return LOCAL.pack(b"PK\x03\x04", *fields) + name + extra


def directory(members: Sequence[PlannedMember], crcs: Mapping[str, int]) -> bytes:
    """Everything behind the last member: the central directory and its end records."""
    entries = [_central(member, crcs.get(member.name, 0)) for member in members]
    size = sum(map(len, entries))
    return b"".join(entries) + _end(len(entries), size, members[-1].end)


def _central(member: PlannedMember, crc: int) -> bytes:
    name, size, header = member.name.encode(), member.nbytes, member.header
    wide = [struct.pack("<Q", value) for value in (size, size, header) if value >= WIDE]
    extra = struct.pack("<2H", 1, 8 * len(wide)) + b"".join(wide) if wide else b""
    size, header = min(size, WIDE), min(header, WIDE)
    fields = (0, 0, UTF8, 0, 0, DATE, crc, size, size, len(name), len(extra), 0, 0, 0, 0, header)
    return CENTRAL.pack(b"PK\x01\x02", *fields) + name + extra


def _end(count: int, size: int, start: int) -> bytes:
    narrow = min(count, NARROW)
    end = END.pack(b"PK\x05\x06", 0, 0, narrow, narrow, min(size, WIDE), min(start, WIDE), 0)
    if count < NARROW and size < WIDE and start < WIDE:
        return end
    wide = END64.pack(b"PK\x06\x06", END64.size - 12, 45, 45, 0, 0, count, count, size, start)
    return wide + LOCATOR64.pack(b"PK\x06\x07", 0, start + size, 1) + end


def _wide_sizes(nbytes: int) -> bytes:
    """The zip64 field of a local header, for members that 32 bits can't measure."""
    return struct.pack("<2H2Q", 1, 16, nbytes, nbytes) if nbytes >= WIDE else b""
