"""The integers of a `.npy` file, in order; `take` has its indices from there."""

from __future__ import annotations

import io
import struct
from pathlib import Path

from ckptsurgeon.checkpoints.npy import Header, read_header
from ckptsurgeon.errors import CheckpointError, ShapeError
from ckptsurgeon.files import read_regular
from ckptsurgeon.specs import BITS, human_bytes

MAX_INDEX_BYTES = 16 * 2**20
"""Largest file of indices: two million of 64 bits, several times any vocabulary."""

_LETTERS = {8: "b", 16: "h", 32: "i", 64: "q"}


def load_indices(path: str | Path) -> tuple[int, ...]:
    """The integers of a one-dimensional `.npy`, in order; raises ShapeError naming the file."""
    content = _content(path)
    header, dtype = _header(path, content)
    (count,), bits = header.shape, BITS[dtype]
    found = len(content) - header.start
    if found != count * bits // 8:
        raise _refusal(path, f"its header speaks of {count * bits // 8} bytes, it has {found}")
    letter = _LETTERS[bits] if dtype[0] == "I" else _LETTERS[bits].upper()
    order = ">" if header.swapped else "<"
    return struct.unpack_from(f"{order}{count}{letter}", content, header.start)


def _content(path: str | Path) -> bytes:
    try:
        content = read_regular(path, MAX_INDEX_BYTES)
    except OSError as error:
        raise _refusal(path, str(error.strerror)) from None
    if len(content) > MAX_INDEX_BYTES:
        raise _refusal(path, f"it is larger than {human_bytes(MAX_INDEX_BYTES)}")
    return content


def _header(path: str | Path, content: bytes) -> tuple[Header, str]:
    """The header, and the dtype of its integers."""
    try:
        header = read_header(io.BytesIO(content))
        if header.dtype is not None and header.dtype[0] in "IU" and len(header.shape) == 1:
            return header, header.dtype
    except (CheckpointError, ValueError):
        pass
    raise _refusal(path, "it is no .npy of integers with one dim, as numpy.save writes it")


def _refusal(path: str | Path, reason: str) -> ShapeError:
    return ShapeError(f"take: can't read indices from {str(path)!r}: {reason}")
