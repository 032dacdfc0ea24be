"""Moving bytes between files, by the kernel where it will, and reading them into memory.

Files are read with `pread`, never mapped: a file that shrinks while it is read must give an error,
not SIGBUS.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.crc import refuse_damaged
from ckptsurgeon.errors import CheckpointError, OutputError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
else:
    Array = Any  # headers alone are read without NumPy

Move = Callable[[int, int, int, int, int], int]
Landed = Callable[[int, int], object]

BUFFER = 512 * 1024
"""Bytes that the portable copy holds at a time; small enough to stay in a core's cache."""

CHUNK = 64 << 20
"""Most bytes asked of the kernel in one call: Ctrl-C is heard, and the disk begins, in between."""

WRITE = 128 << 10
"""Bytes written from memory in one call.

For more, Linux takes pages of the cache that are as large as the call. A virtual machine whose free
memory goes back to its host (a balloon that reports free pages) has to get these anew, which takes
four times as long as to copy the bytes.
"""

REFUSALS = frozenset(
    {
        errno.EXDEV,
        errno.EINVAL,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
        errno.EBADF,
        errno.EPERM,
        errno.ETXTBSY,
    }
)
"""What an OS says when it can't do this kind of copy between these two files."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A dense run of little-endian bytes in a file: a tensor, or a part of one.

    `crc` is the CRC-32 that the file says these very bytes have, where it says so.
    """

    path: Path
    offset: int
    nbytes: int
    crc: int | None = None

    def cut(self, size: int) -> Iterator[Extent]:
        """Parts of so many bytes, and a shorter last one; of none is a CRC-32 known."""
        for at in range(0, self.nbytes, size):
            yield Extent(self.path, self.offset + at, min(size, self.nbytes - at))

    def check(self, blocks: Iterable[Array], key: str) -> Iterator[Array]:
        """All its bytes in order, at the end held against the CRC-32 that the file says."""
        crc = 0
        for block in blocks:
            crc = crc if self.crc is None else zlib.crc32(block.data, crc)
            yield block
        self.refuse_damaged(crc, key)

    def verify(self, key: str) -> None:
        """Reads all its bytes; raises CheckpointError where they are damaged."""
        crc = 0
        with opened(self.path) as source_fd:
            for part in self.cut(BUFFER):
                crc = zlib.crc32(read_bytes(source_fd, part.offset, part.nbytes), crc)
        self.refuse_damaged(crc, key)

    def refuse_damaged(self, crc: int, key: str) -> None:
        """Raises CheckpointError if this is not the CRC-32 that the file says, if it does."""
        with naming(f"{self.path}: {key!r}"):
            refuse_damaged(crc, self.crc)


def copy_bytes(
    source_fd: int,
    source_offset: int,
    target_fd: int,
    target_offset: int,
    nbytes: int,
    landed: Landed | None = None,
) -> None:
    """Fill a range of the target from a range of the source; file positions don't move.

    `landed` is told the place and the size of each part that is there. Safe to call from several
    threads on one pair of files. Raises CheckpointError where the source ends early, OSError where
    the disk does.
    """
    done = 0
    for move in (_copy_file_range, _sendfile, _through_buffer):
        while done < nbytes:
            place, count = target_offset + done, min(nbytes - done, CHUNK)
            moved = _try(move, source_fd, source_offset + done, target_fd, place, count)
            if not moved:
                break
            if landed is not None:
                landed(place, moved)
            done += moved
    if done < nbytes:
        raise CheckpointError(f"ends {nbytes - done} bytes before a tensor does: cut while read?")


def _try(move: Move, *ends_and_count: int) -> int:
    """The bytes moved; none where the source ends, or the OS refuses this kind of copy."""
    try:
        return move(*ends_and_count)
    except OSError as error:
        if error.errno not in REFUSALS or move is _through_buffer:
            raise
        return 0


def _copy_file_range(
    source_fd: int, source_offset: int, target_fd: int, target_offset: int, count: int
) -> int:
    if not hasattr(os, "copy_file_range"):
        return 0
    return os.copy_file_range(source_fd, target_fd, count, source_offset, target_offset)


def _sendfile(
    source_fd: int, source_offset: int, target_fd: int, target_offset: int, count: int
) -> int:
    """The bytes moved by sendfile, which writes at a file position.

    The target is opened anew through /proc, because a position of its own is what keeps other
    threads' writes apart. Elsewhere than on Linux sendfile writes to sockets alone.
    """
    if sys.platform != "linux":
        return 0
    try:
        own_fd = os.open(f"/proc/self/fd/{target_fd}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        os.lseek(own_fd, target_offset, os.SEEK_SET)
        return os.sendfile(own_fd, source_fd, source_offset, count)
    finally:
        os.close(own_fd)


def _through_buffer(
    source_fd: int, source_offset: int, target_fd: int, target_offset: int, count: int
) -> int:
    data = os.pread(source_fd, min(count, BUFFER), source_offset)
    write_bytes(target_fd, target_offset, data)
    return len(data)


def write_bytes(target_fd: int, offset: int, data: bytes | memoryview) -> None:
    """Fill a range of the target from memory; safe to call from several threads."""
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.pwrite(target_fd, view[done : done + WRITE], offset + done)


def read_bytes(source_fd: int, offset: int, nbytes: int) -> bytes:
    """A range of a file; shorter only where the file ends, which takes no memory for the rest."""
    parts: list[bytes] = []
    nbytes = min(nbytes, max(0, os.fstat(source_fd).st_size - offset))
    while nbytes and (part := os.pread(source_fd, min(nbytes, CHUNK), offset)):
        parts.append(part)
        offset, nbytes = offset + len(part), nbytes - len(part)
    return b"".join(parts)


def read_extent(extent: Extent) -> Array:
    """The extent's bytes as a fresh uint8 array.

    Raises CheckpointError where they end early, or don't have the CRC-32 that the file says.
    """
    import numpy as np  # headers alone are read without it

    with opened(extent.path) as source_fd:
        if os.fstat(source_fd).st_size < extent.offset + extent.nbytes:
            raise _cut_off(extent)
        array = np.empty(extent.nbytes, np.uint8)
        read_into(source_fd, extent, array.data)
    if extent.crc is not None:
        refuse_damaged(zlib.crc32(array.data), extent.crc)
    return array


def read_into(source_fd: int, extent: Extent, out: memoryview) -> None:
    """Fills memory with the extent's bytes, read through a descriptor of its file.

    Raises CheckpointError where they end early.
    """
    done = 0
    while done < extent.nbytes:
        count = os.preadv(source_fd, [out[done : done + CHUNK]], extent.offset + done)
        if count == 0:
            raise _cut_off(extent)
        done += count


def read_ranges(
    source_fd: int, extent: Extent, starts: Iterable[int], nbytes: int, out: memoryview
) -> None:
    """Fills memory with `nbytes` from each start within an extent, one range behind the other.

    Raises CheckpointError where the file ends early.
    """
    done = 0
    for start in starts:
        part = out[done : done + nbytes]
        if nbytes > CHUNK or os.preadv(source_fd, (part,), extent.offset + start) != nbytes:
            read_into(source_fd, Extent(extent.path, extent.offset + start, nbytes), part)
        done += nbytes


def _cut_off(extent: Extent) -> CheckpointError:
    return CheckpointError(
        f"ends before the {extent.nbytes} bytes of a tensor at {extent.offset}; "
        "it was cut after it was opened: fetch or copy it again"
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor for reading, for the block; errors of the checkpoint begin with its path."""
    source_fd = open_source(path)
    try:
        with naming(path):
            yield source_fd
    finally:
        os.close(source_fd)


@contextlib.contextmanager
def naming(place: object) -> Iterator[None]:
    """Have an error of a file that the block raises begin with the place that it is about."""
    try:
        yield
    except (CheckpointError, OutputError) as error:
        raise type(error)(f"{place}: {error}") from error


def open_source(path: Path) -> int:
    """A descriptor for reading. Raises CheckpointError where the OS gives none."""
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise CheckpointError(f"{path}: can't be opened: {error.strerror}") from error
