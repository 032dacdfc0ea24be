"""The line at the end of a write: what was moved, how long it took, and how much memory."""

from __future__ import annotations

import sys
import time
from typing import Any

from ckptsurgeon.specs import human_bytes


class Summary:
    """Counts seconds from when it is made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def of(self, moved: Any) -> str:
        """`, 3.0 MiB copied, 1.2 MiB rearranged or computed, 0.4 s, peak memory 31.2 MiB`.

        What there was none of is left out, as is memory where the OS doesn't tell it.
        """
        told = {"copied": moved.copied, "rearranged or computed": moved.computed}
        parts = [f"{human_bytes(nbytes)} {word}" for word, nbytes in told.items() if nbytes]
        parts.append(f"{time.perf_counter() - self._start:.1f} s")
        peak = peak_memory()
        parts += [f"peak memory {human_bytes(peak)}"] if peak else []
        return "".join(f", {part}" for part in parts)


def peak_memory() -> int:
    """The most bytes that this process has held in memory; 0 where nobody counts them."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            lines = [line.split() for line in file if line.startswith("VmHWM:")]
        return int(lines[0][1]) * 1024
    except (OSError, IndexError, ValueError):
        return _usage()


def _usage() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024
