"""Files that tensors are read from, open for all threads, and never too many of them at once."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from pathlib import Path

from ckptsurgeon.checkpoints.transfer import naming, open_source

MOST_OPEN = 32
"""Files that stay open while nobody reads them: an OS lets a process have a few hundred."""


class SourceFiles:
    """Descriptors of files by path, each opened once; those longest unused are closed first.

    Safe to use from several threads. `most` bounds the files that stay open, but for those that
    are being read.
    """

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._readers: Counter[Path] = Counter()

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[int]:
        """The file's descriptor, which stays open at least as long as the block.

        Raises CheckpointError where the OS gives none; one that the block raises is named by it.
        """
        with self._lock:
            descriptor = self._found(path)
            self._readers[path] += 1
        try:
            with naming(path):
                yield descriptor
        finally:
            with self._lock:
                self._readers[path] -= 1

    def close(self) -> None:
        """Let go of all files; nobody reads them any more."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    def _found(self, path: Path) -> int:
        if path not in self._open:
            self._close_idle()
            self._open[path] = open_source(path)
        self._open.move_to_end(path)
        return self._open[path]

    def _close_idle(self) -> None:
        """Make room for one more, if a file is open that nobody reads."""
        idle = (path for path in self._open if not self._readers[path])
        if len(self._open) >= self._most and (path := next(idle, None)) is not None:
            os.close(self._open.pop(path))
