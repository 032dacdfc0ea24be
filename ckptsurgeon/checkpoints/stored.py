"""Bytes that a file holds, read in order: as they lie, deflated, or spelled as text."""

from __future__ import annotations

import codecs
import enum
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.checkpoints.crc import crc_of_rest, refuse_damaged
from ckptsurgeon.checkpoints.transfer import Array, Extent, open_source, read_bytes
from ckptsurgeon.errors import CheckpointError

BLOCK = 64 << 10
"""Bytes that are read, or inflated, at a time."""


class Coding(enum.Enum):
    """How a file holds bytes."""

    PLAIN = "as they lie"
    DEFLATED = "deflated"
    LATIN = "as the UTF-8 of latin-1 text"


@dataclass(frozen=True, slots=True)
class Stored:
    """`nbytes` bytes, which take `packed` in a file from `offset` on.

    `crc` is the CRC-32 that the file says they have, where it says so.
    """

    path: Path
    offset: int
    packed: int
    nbytes: int
    coding: Coding = Coding.PLAIN
    crc: int | None = None

    @property
    def extent(self) -> Extent | None:
        """Where they lie; None where they are coded."""
        if self.coding is not Coding.PLAIN:
            return None
        return Extent(self.path, self.offset, self.nbytes, self.crc)

    def decoded(self) -> Iterator[bytes]:
        """The bytes in order, however many they are."""
        return _DECODERS[self.coding](self._packed_blocks())

    def blocks(self) -> Iterator[bytes]:
        """The bytes in order, never more than were told; their CRC-32 is checked at the end.

        Raises CheckpointError, without the file's name, where they are not what was told.
        """
        count, crc = 0, 0
        for block in self.decoded():
            count += len(block)
            if count > self.nbytes:
                break
            crc = zlib.crc32(block, crc)
            yield block
        if count != self.nbytes:
            raise CheckpointError(f"does not hold the {self.nbytes} bytes that it claims: damaged")
        refuse_damaged(crc, self.crc)

    def read(self) -> bytes:
        """All bytes; raises CheckpointError."""
        return b"".join(self.blocks())

    def part(self, offset: int, nbytes: int) -> Iterator[bytes]:
        """Some of the bytes, in order; what stands behind them is not read.

        They are held against the CRC-32 where they are all, or where coded ones go to the end.
        """
        if self.coding is Coding.PLAIN:
            crc = self.crc if nbytes == self.nbytes else None
            yield from Stored(self.path, self.offset + offset, nbytes, nbytes, crc=crc).blocks()
            return
        at, end = 0, offset + nbytes
        for block in self.blocks():
            found = block[max(0, offset - at) : end - at]
            at += len(block)
            if found:
                yield found
            if at >= end and end < self.nbytes:
                return

    def behind(self, head: bytes) -> Stored:
        """The bytes behind the first ones, of plain ones, with the CRC-32 that they then have."""
        rest = self.nbytes - len(head)
        crc = None if self.crc is None else crc_of_rest(self.crc, zlib.crc32(head), rest)
        return Stored(self.path, self.offset + len(head), rest, rest, crc=crc)

    def _packed_blocks(self) -> Iterator[bytes]:
        descriptor = open_source(self.path)
        try:
            for at in range(0, self.packed, BLOCK):
                wanted = min(BLOCK, self.packed - at)
                block = read_bytes(descriptor, self.offset + at, wanted)
                if len(block) < wanted:
                    raise CheckpointError("ends early: cut after it was opened?")
                yield block
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes in memory, with the words of those that a file holds."""

    data: bytes

    extent = None

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def part(self, offset: int, nbytes: int) -> Iterator[bytes]:
        """Some of the bytes."""
        yield self.data[offset : offset + nbytes]


def gather(blocks: Iterable[bytes], nbytes: int) -> Array:
    """A uint8 array of the blocks' bytes, one behind the other."""
    import numpy as np  # headers alone are read without it

    flat, at = np.empty(nbytes, np.uint8), 0
    for block in blocks:
        flat[at : at + len(block)] = np.frombuffer(block, np.uint8)
        at += len(block)
    return flat


def swap(blocks: Iterable[bytes], width: int) -> Iterator[bytes]:
    """The blocks with the bytes of each item turned around, of items of so many bytes."""
    import numpy as np  # headers alone are read without it

    rest = b""
    for block in blocks:
        whole = rest + block
        end = len(whole) - len(whole) % width
        rest = whole[end:]
        yield np.frombuffer(whole[:end], f"u{width}").byteswap().tobytes()


def _inflate(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """What a raw deflate stream says, a block at a time: a byte of it may stand for a thousand."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for block in blocks:
        waiting = block
        while waiting:
            try:
                yield inflater.decompress(waiting, BLOCK)
            except zlib.error as error:
                raise CheckpointError(f"can't be inflated: {error}") from error
            waiting = inflater.unconsumed_tail
        if inflater.unused_data:
            raise CheckpointError("can't be inflated: bytes stand behind the deflated data")
    yield inflater.flush()
    if not inflater.eof:
        raise CheckpointError("can't be inflated: the deflated data end early")


def _encode(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes that texts of latin-1 letters, written as UTF-8, stand for."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in blocks:
            yield decoder.decode(block).encode("latin-1")
        decoder.decode(b"", final=True)
    except UnicodeError:
        raise CheckpointError("text that stands for no bytes: damaged") from None


_DECODERS: dict[Coding, Callable[[Iterator[bytes]], Iterator[bytes]]] = {
    Coding.PLAIN: iter,
    Coding.DEFLATED: _inflate,
    Coding.LATIN: _encode,
}
