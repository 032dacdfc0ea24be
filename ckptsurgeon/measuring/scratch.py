"""Memory of a thread for what it computes with a chunk of numbers, used over and over.

Fresh memory takes longer than most of what is computed here, for the OS clears each page of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ckptsurgeon.ops.carriers import Array

CHUNK = 1 << 18
"""Numbers of a chunk: all that is held of them at a time stays in a processor's cache."""

WIDEST = 8
"""Bytes of the widest number."""

ROOM = 32 << 20
"""Bytes that a thread takes at most for a chunk, with what is inflated and what is computed."""


class Scratch:
    """Room for a chunk as it is read, and as float64, bytes and flags.

    Not for several threads at once.
    """

    def __init__(self, chunk: int = CHUNK) -> None:
        self.buffer: Array = np.empty(chunk * WIDEST, np.uint8)
        self._wide = np.empty(chunk, np.float64)
        self.bytes: Array = np.empty(chunk, np.uint8)
        self.flags: Array = np.empty(chunk, np.bool_)

    def take(self, dtype: np.dtype[Any], count: int) -> Array:
        """Room for so many items of at most 8 bytes, over what was taken before."""
        found: Array = self._wide.view(dtype)[:count]
        return found
