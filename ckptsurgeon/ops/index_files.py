"""The integers of a `.npy` file, read without NumPy and without trusting what its header says."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.files import read_regular
from ckptsurgeon.specs import human_bytes

MAX_INDEX_BYTES = 16 * 2**20
"""Largest file of indices: two million of 64 bits, several times any vocabulary."""

_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{'descr': '(?P<order>[<>|=])(?P<kind>[iu])(?P<width>[1248])', "
    rb"'fortran_order': (?:True|False), 'shape': \((?P<count>\d{1,12}),\), *\} *\n"
)
_LETTERS = {1: "b", 2: "h", 4: "i", 8: "q"}


def load_indices(path: str | Path) -> tuple[int, ...]:
    """The integers of a one-dimensional `.npy`, in order; raises ShapeError naming the file."""
    content = _content(path)
    start, header = _header(content)
    match = _HEADER.fullmatch(header)
    if match is None:
        raise _refusal(path, "it is no .npy of integers with one dim, as numpy.save writes it")
    count, width = int(match["count"]), int(match["width"])
    if len(content) - start != count * width:
        raise _refusal(
            path, f"its header speaks of {count * width} bytes, it has {len(content) - start}"
        )
    letter = _LETTERS[width] if match["kind"] == b"i" else _LETTERS[width].upper()
    order = ">" if match["order"] == b">" else "<"
    return struct.unpack_from(f"{order}{count}{letter}", content, start)


def _content(path: str | Path) -> bytes:
    try:
        content = read_regular(path, MAX_INDEX_BYTES)
    except OSError as error:
        raise _refusal(path, str(error.strerror)) from None
    if len(content) > MAX_INDEX_BYTES:
        raise _refusal(path, f"it is larger than {human_bytes(MAX_INDEX_BYTES)}")
    return content


def _header(content: bytes) -> tuple[int, bytes]:
    """Where the numbers begin, and the header's text; empty where there is none."""
    if len(content) < 12 or not content.startswith(_MAGIC):
        return 0, b""
    begin, form = (10, "<H") if content[6] == 1 else (12, "<I")
    (length,) = struct.unpack_from(form, content, 8)
    return begin + length, content[begin : begin + length]


def _refusal(path: str | Path, reason: str) -> ShapeError:
    return ShapeError(f"take: can't read indices from {str(path)!r}: {reason}")
