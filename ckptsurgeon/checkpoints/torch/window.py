"""The bytes of a pickle, read from beginning to end with a part of them in memory.

Nothing is allocated by a number that the pickle claims: what is taken is first held against the
bytes that are left.
"""

from __future__ import annotations

import os
from pathlib import Path

from ckptsurgeon.checkpoints.torch.inert import Stretch
from ckptsurgeon.checkpoints.transfer import read_bytes
from ckptsurgeon.errors import CheckpointError

WINDOW = 1 << 20
"""Bytes that are read at once."""

LONG = 64 << 10
"""Bytes from which on a text, or bytes, stay in the file."""

MAX_HELD = 512 << 20
"""Bytes of a pickle that are taken into memory; those of a million tensors are about 150 MB."""


class CutError(CheckpointError):
    """The bytes end before the pickle does."""


class Window:
    """Bytes in memory, or those of a file from a place on; `at` is where the next one stands."""

    __slots__ = ("_base", "_descriptor", "_held", "_path", "_start", "at", "data", "end")

    def __init__(
        self, data: bytes = b"", descriptor: int | None = None, path: Path | None = None
    ) -> None:
        self.data, self.at = data, 0
        self._descriptor, self._path = descriptor, path
        self._start, self._base, self._held, self.end = 0, 0, 0, len(data)

    @classmethod
    def of_file(cls, path: Path, descriptor: int, start: int, end: int | None = None) -> Window:
        """A window on an open file, up to `end`, or to where the file ends."""
        window = cls(b"", descriptor, path)
        window._start = window._base = start
        window.end = os.fstat(descriptor).st_size if end is None else end
        return window

    @property
    def position(self) -> int:
        """Where the next byte stands in the file, or in the bytes given."""
        return self._base + self.at

    @property
    def passed(self) -> int:
        """The number of bytes since the beginning."""
        return self.position - self._start

    @property
    def left(self) -> int:
        """The number of bytes to come."""
        return self.end - self._base - self.at

    def fill(self, count: int) -> None:
        """Has the next bytes in memory; raises CutError where there are not so many."""
        if self.at + count <= len(self.data):
            return
        if count > self.left:
            raise CutError(f"wants {count} bytes where {self.left} are left: the file was cut")
        self._read(max(count, WINDOW))

    def _read(self, count: int) -> None:
        """Moves the window to where the next byte stands."""
        if self._descriptor is None:
            return
        self._base, self.at = self.position, 0
        self.data = read_bytes(self._descriptor, self._base, min(count, self.left))
        if len(self.data) < min(count, self.left):
            raise CutError("the file was cut while it was read")

    def byte(self) -> int:
        if self.at == len(self.data):
            self.fill(1)
        self.at += 1
        return self.data[self.at - 1]

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            self.fill(count)
            end = self.at + count
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        """The bytes up to a line's end, which is passed over."""
        reach = LONG
        while (found := self.data.find(b"\n", self.at)) < 0:
            if len(self.data) - self.at >= self.left:
                raise CutError("a line without its end: the file was cut")
            reach *= 4
            self._hold(reach)
            self._read(reach)
        return self.take(found + 1 - self.at)[:-1]

    def payload(self, count: int, *, is_text: bool) -> bytes | Stretch:
        """So many bytes; where they are many and lie in a file, only their place."""
        if self._path is None or count < LONG or count > self.left:
            data = self.take(count)
            self._hold(count)
            return data
        found = Stretch(self._path, self.position, count, is_text)
        if self.at + count <= len(self.data):
            self.at += count
        else:
            self._base, self.at, self.data = self.position + count, 0, b""
        return found

    def _hold(self, count: int) -> None:
        """Counts bytes that stay in memory."""
        self._held += count
        if self._held > MAX_HELD:
            raise CheckpointError(f"holds over {MAX_HELD} bytes of texts; no more are read")
