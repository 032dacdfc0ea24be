"""The line at the end of a write: what was moved, how long it took, and how much memory."""

from __future__ import annotations

import sys
from typing import Any

from ckptsurgeon.specs import human_bytes, plural


def summarise(tensors: int, moved: Any, seconds: float) -> str:
    """`3 tensors written, 3.0 MiB copied, 12 B rearranged or computed, 0.4 s, peak memory 9 MiB`.

    What there was none of is left out, as is memory where the OS doesn't tell it.
    """
    told = {"copied": moved.copied, "rearranged or computed": moved.computed}
    parts = [f"{human_bytes(nbytes)} {word}" for word, nbytes in told.items() if nbytes]
    parts.append(f"{seconds:.1f} s")
    peak = _peak_memory()
    parts += [f"peak memory {human_bytes(peak)}"] if peak else []
    return ", ".join([f"{plural(tensors, 'tensor')} written", *parts])


def _peak_memory() -> int:
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
