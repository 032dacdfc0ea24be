"""Files that are open for all threads, to be read or filled, and never too many of them at once."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

MOST_OPEN = 32
"""Files that stay open while nobody uses them: an OS lets a process have a few hundred."""


class OpenFiles:
    """Descriptors of files by path, each opened once; those longest unused are closed first.

    Safe to use from several threads. `most` bounds the files that stay open, but for those that
    are in use. `open_file` gives a descriptor of a path.
    """

    def __init__(self, open_file: Callable[[Path], int], most: int = MOST_OPEN) -> None:
        self._open_file, self._most = open_file, most
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._users: Counter[Path] = Counter()

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[int]:
        """The file's descriptor, which stays open at least as long as the block."""
        with self._lock:
            descriptor = self._found(path)
            self._users[path] += 1
        try:
            yield descriptor
        finally:
            with self._lock:
                self._users[path] -= 1

    def close(self) -> None:
        """Let go of all files, which nobody uses now; one that is asked for is opened again."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])

    def _found(self, path: Path) -> int:
        if path not in self._open:
            self._close_idle()
            self._open[path] = self._open_file(path)
        self._open.move_to_end(path)
        return self._open[path]

    def _close_idle(self) -> None:
        """Make room for one more, if a file is open that nobody uses."""
        idle = (path for path in self._open if not self._users[path])
        if len(self._open) >= self._most and (path := next(idle, None)) is not None:
            os.close(self._open.pop(path))
