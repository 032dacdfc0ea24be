"""A file that is filled: by copies that the kernel makes, and from memory.

What was written goes to the disk while the rest is still being made, so that the fsync at the end
finds little to do.
"""

from __future__ import annotations

import functools
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from ckptsurgeon.checkpoints.transfer import (
    BUFFER,
    Array,
    Extent,
    copy_bytes,
    read_into,
    write_bytes,
)
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles

RUN = 64 << 20
"""Longest run of copies that is gathered, so that progress is seen."""

Opened = Callable[[], AbstractContextManager[int]]
"""Gives the descriptor of a file that is filled, good as long as the block."""

SYNC_FILE_RANGE_WRITE = 2
"""Linux's flag for beginning with what is not on its way yet."""

WRITEBACK = 32 << 20
"""Bytes that are let wait before the disk is told to begin with them."""


class Target:
    """A file being filled, with bytes of `sources` among others; safe to use from several threads.

    A copy that goes on where the last one ended, in both files, only lengthens it: neighbours are
    moved by one call of the kernel. `flush` moves what is still waiting.
    """

    def __init__(self, opened: Opened, sources: SourceFiles) -> None:
        self._opened, self._sources = opened, sources
        self._lock = threading.Lock()
        self._waiting: tuple[Extent, int] | None = None
        self._dirty = Dirty()

    def copy(self, extent: Extent, offset: int) -> None:
        """Fill a place with bytes of a file, now or by the next `flush`."""
        with self._lock:
            joined = self._join(extent, offset)
            ready, self._waiting = (None, joined) if joined else (self._waiting, (extent, offset))
        self._copy(ready)

    def copy_counted(self, extent: Extent, offset: int) -> int:
        """The CRC-32 of bytes of a file that a place is filled with, through memory."""
        crc = 0
        buffer = memoryview(bytearray(min(BUFFER, extent.nbytes)))
        with self._sources.opened(extent.path) as source:
            for done in range(0, extent.nbytes, BUFFER):
                part = buffer[: min(BUFFER, extent.nbytes - done)]
                read_into(source, Extent(extent.path, extent.offset + done, len(part)), part)
                crc = zlib.crc32(part, crc)
                self.write(part, offset + done)
        return crc

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Fill a place from memory."""
        with self._opened() as descriptor:
            write_bytes(descriptor, offset, data)
            self._dirty.add(descriptor, offset, len(data))

    def flush(self) -> None:
        """Move what is waiting."""
        with self._lock:
            ready, self._waiting = self._waiting, None
        self._copy(ready)

    def _join(self, extent: Extent, offset: int) -> tuple[Extent, int] | None:
        if self._waiting is None:
            return None
        last, start = self._waiting
        follows = (
            last.path == extent.path
            and last.offset + last.nbytes == extent.offset
            and start + last.nbytes == offset
            and last.nbytes + extent.nbytes <= RUN
        )
        joined = Extent(last.path, last.offset, last.nbytes + extent.nbytes)
        return (joined, start) if follows else None

    def _copy(self, ready: tuple[Extent, int] | None) -> None:
        if ready is None or ready[0].nbytes == 0:
            return
        extent, offset = ready
        with self._opened() as target, self._sources.opened(extent.path) as source:
            landed = functools.partial(self._dirty.add, target)
            copy_bytes(source, extent.offset, target, offset, extent.nbytes, landed)


def flat_bytes(array: Array) -> memoryview:
    """An array's bytes in row order."""
    import numpy as np  # copies alone are made without it

    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class Dirty:
    """What of a file was written and waits in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nbytes, self._start, self._end = 0, 0, 0

    def add(self, descriptor: int, offset: int, nbytes: int) -> None:
        """Notes a range that was written; the disk begins when many bytes wait."""
        with self._lock:
            if self._nbytes:
                self._start = min(self._start, offset)
                self._end = max(self._end, offset + nbytes)
            else:
                self._start, self._end = offset, offset + nbytes
            self._nbytes += nbytes
            if self._nbytes < WRITEBACK:
                return
            start, end, self._nbytes = self._start, self._end, 0
        start_writeback(descriptor, start, end - start)


def start_writeback(descriptor: int, offset: int, nbytes: int) -> None:
    """Has the OS begin to write a range to the disk, without waiting for it.

    Elsewhere than on Linux nothing happens. What the disk says is told by the fsync at the end.
    """
    if call := _sync_file_range():
        call(descriptor, offset, nbytes, SYNC_FILE_RANGE_WRITE)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux's call, which Python lacks.

    Advice that a range is not needed (`posix_fadvise`) begins to write it as well, but then looks
    for pages to throw away, which the next reader of the output would have to fetch again.
    """
    if sys.platform != "linux":
        return None
    import ctypes  # only large outputs need it

    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call
