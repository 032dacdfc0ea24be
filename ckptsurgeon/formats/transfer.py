"""Moving bytes between files, by the kernel where it will, and reading them into memory.

Files are read with `pread`, never mapped: a file that shrinks while it is read must give an error,
not SIGBUS.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.formats.base import Extent

if TYPE_CHECKING:
    from collections.abc import Callable

    from ckptsurgeon.formats.base import Array

    Move = Callable[[int, int, int, int, int], int]

BUFFER = 512 * 1024
"""Bytes that the portable copy holds at a time; small enough to stay in a core's cache."""

CHUNK = 1 << 30
"""Most bytes asked of the kernel in one call, so that Ctrl-C is heard between calls."""

RUN = 64 << 20
"""Longest run that `MergedCopies` gathers, so that progress is seen and threads have work."""

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


def copy_bytes(
    source_fd: int, source_offset: int, target_fd: int, target_offset: int, nbytes: int
) -> None:
    """Fill a range of the target from a range of the source; file positions don't move.

    Safe to call from several threads on one pair of files. Raises CheckpointError where the source
    ends early, OSError where the disk does.
    """
    done = 0
    for move in (_copy_file_range, _sendfile, _through_buffer):
        if done < nbytes:
            done += _move_all(
                move,
                (source_fd, source_offset + done, target_fd, target_offset + done),
                nbytes - done,
            )
    if done < nbytes:
        raise CheckpointError(f"ends {nbytes - done} bytes before a tensor does: cut while read?")


def _move_all(move: Move, where: tuple[int, int, int, int], nbytes: int) -> int:
    """The bytes moved until all are, the source ends, or the OS refuses this kind of copy."""
    source_fd, source_offset, target_fd, target_offset = where
    done = 0
    while done < nbytes:
        count = min(nbytes - done, CHUNK)
        try:
            moved = move(source_fd, source_offset + done, target_fd, target_offset + done, count)
        except OSError as error:
            if error.errno not in REFUSALS or move is _through_buffer:
                raise
            return done
        if moved == 0:
            return done
        done += moved
    return done


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
        done += os.pwrite(target_fd, view[done : done + CHUNK], offset + done)


def copy_counted(extent: Extent, target_fd: int, offset: int) -> int:
    """The CRC-32 of an extent that is copied to an offset of the target through memory."""
    source_fd = open_source(extent.path)
    crc, done = 0, 0
    try:
        while done < extent.nbytes:
            data = os.pread(source_fd, min(BUFFER, extent.nbytes - done), extent.offset + done)
            if not data:
                raise _shorter(extent)
            crc = zlib.crc32(data, crc)
            write_bytes(target_fd, offset + done, data)
            done += len(data)
    finally:
        os.close(source_fd)
    return crc


def read_bytes(source_fd: int, offset: int, nbytes: int) -> bytes:
    """A range of a file; shorter only where the file ends."""
    parts: list[bytes] = []
    while nbytes and (part := os.pread(source_fd, min(nbytes, CHUNK), offset)):
        parts.append(part)
        offset, nbytes = offset + len(part), nbytes - len(part)
    return b"".join(parts)


def read_extent(extent: Extent) -> Array:
    """The extent's bytes as a fresh uint8 array. Raises CheckpointError where they end early."""
    import numpy as np  # headers alone are read without it

    source_fd = open_source(extent.path)
    try:
        if os.fstat(source_fd).st_size < extent.offset + extent.nbytes:
            raise _shorter(extent)
        array = np.empty(extent.nbytes, np.uint8)
        read_into(source_fd, extent, array)
        return array
    finally:
        os.close(source_fd)


def read_into(source_fd: int, extent: Extent, out: Array) -> None:
    """Fills a uint8 array with the extent's bytes, read through a descriptor of its file.

    Raises CheckpointError where they end early.
    """
    view, done = out.data, 0
    while done < extent.nbytes:
        count = os.preadv(source_fd, [view[done : done + CHUNK]], extent.offset + done)
        if count == 0:
            raise _shorter(extent)
        done += count


def _shorter(extent: Extent) -> CheckpointError:
    return CheckpointError(
        f"{extent.path}: ends before the {extent.nbytes} bytes of a tensor at {extent.offset}; "
        "it was cut after it was opened: fetch or copy it again"
    )


def open_source(path: Path) -> int:
    """A descriptor for reading. Raises CheckpointError where the OS gives none."""
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise CheckpointError(f"{path}: can't be opened: {error.strerror}") from error


class MergedCopies:
    """Copies of ranges into one file, neighbours joined into one call of the kernel.

    A range that goes on where the last one ended, in both files, only lengthens it; `flush` moves
    what is still waiting. Safe to use from several threads.
    """

    def __init__(self, target_fd: int) -> None:
        self._target_fd = target_fd
        self._lock = threading.Lock()
        self._sources: dict[Path, int] = {}
        self._waiting: tuple[Extent, int] | None = None

    def add(self, extent: Extent, target_offset: int) -> None:
        """Copy the extent to an offset of the target, now or by the next `flush`."""
        with self._lock:
            joined = self._join(extent, target_offset)
            ready, self._waiting = (
                (None, joined) if joined else (self._waiting, (extent, target_offset))
            )
        self._copy(ready)

    def flush(self) -> None:
        """Move what is waiting."""
        with self._lock:
            ready, self._waiting = self._waiting, None
        self._copy(ready)

    def close(self) -> None:
        """Let go of the source files."""
        with self._lock:
            while self._sources:
                os.close(self._sources.popitem()[1])

    def _join(self, extent: Extent, target_offset: int) -> tuple[Extent, int] | None:
        if self._waiting is None:
            return None
        last, start = self._waiting
        follows = (
            last.path == extent.path
            and last.offset + last.nbytes == extent.offset
            and start + last.nbytes == target_offset
            and last.nbytes + extent.nbytes <= RUN
        )
        return (
            (Extent(last.path, last.offset, last.nbytes + extent.nbytes), start)
            if follows
            else None
        )

    def _copy(self, ready: tuple[Extent, int] | None) -> None:
        if ready is None or ready[0].nbytes == 0:
            return
        extent, target_offset = ready
        source_fd = self._source(extent.path)
        try:
            copy_bytes(source_fd, extent.offset, self._target_fd, target_offset, extent.nbytes)
        except CheckpointError as error:
            raise CheckpointError(f"{extent.path}: {error}") from error

    def _source(self, path: Path) -> int:
        with self._lock:
            if path not in self._sources:
                self._sources[path] = open_source(path)
            return self._sources[path]
