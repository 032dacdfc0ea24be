"""The header of a `.npy` array, read without NumPy and without trusting what it says."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from ckptsurgeon.checkpoints.counts import are_counts
from ckptsurgeon.checkpoints.strict_json import shorten
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import BITS, UnreadableSpec, unreadable_spec

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000
"""Longest text of a header; NumPy reads no longer one either."""

TEXT_KINDS = "USMm"
"""NumPy's kinds of dtypes that hold texts, dates and times."""

LONGEST_HEADER = MAX_HEADER + 12
"""With what stands before its text."""

MASKED = ("a masked NumPy array", "save its data and its mask as two arrays")
"""What it is, and the way out."""

SAVE_PLAIN = "convert it to a dtype such as float32 where it was made, and save it again"

CODES: Mapping[str, str] = {
    "b1": "BOOL",
    "u1": "U8",
    "i1": "I8",
    "u2": "U16",
    "i2": "I16",
    "f2": "F16",
    "u4": "U32",
    "i4": "I32",
    "f4": "F32",
    "u8": "U64",
    "i8": "I64",
    "f8": "F64",
    "c8": "C64",
    "c16": "C128",
}
"""Dtype codes by NumPy's type strings, without the byte order."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a `.npy` says of its items, which begin `start` bytes behind its own beginning."""

    descr: object
    fortran: bool
    shape: tuple[int, ...]
    start: int

    @property
    def dtype(self) -> str | None:
        """The dtype code of the items, or None where they are no plain numbers."""
        descr = self.descr
        return CODES.get(descr[1:]) if isinstance(descr, str) and descr[:1] in "<>|" else None

    @property
    def is_text(self) -> bool:
        """Whether the items are texts, dates or times, which are no weights."""
        return isinstance(self.descr, str) and kind_of(self.descr) in TEXT_KINDS

    @property
    def swapped(self) -> bool:
        """Whether the items are big-endian."""
        return str(self.descr)[:1] == ">" and BITS[self.dtype or "U8"] > 8


def kind_of(name: str) -> str:
    """NumPy's letter for the kind of a dtype, by its type string."""
    return name.lstrip("<>|=")[:1]


def explain_dtype(descr: object, shape: tuple[int, ...]) -> UnreadableSpec:
    """Why an array of no checkpoint dtype can't be read; `descr` is its type string, or fields."""
    kind = kind_of(descr) if isinstance(descr, str) else ""
    if kind == "O":
        what = "an array of Python objects, which are never loaded"
        return unreadable_spec(what, "save arrays of numbers, a key for each", None, shape)
    if kind == "V":
        what = (
            f"an array of {shorten(descr)}, raw bytes without a type: NumPy's files lose that of "
            "bfloat16 and float8 arrays (ml_dtypes)"
        )
        remedy = "save it as float32, or all as safetensors (`safetensors.numpy.save_file`)"
        return unreadable_spec(what, remedy, None, shape)
    size = re.fullmatch(r"[<>|=]?[fc](\d+)", descr) if isinstance(descr, str) else None
    width = f", of {size[1]} bytes a number" if size else ""
    what = f"an array of the NumPy type {shorten(descr)}{width}, which no checkpoint dtype holds"
    return unreadable_spec(what, SAVE_PLAIN, None, shape)


def read_header(stream: IO[bytes]) -> Header:
    """The header that a `.npy` begins with; raises CheckpointError where there is none."""
    prefix = stream.read(8)
    width = 2 if prefix[6:7] == b"\x01" else 4
    length = int.from_bytes(stream.read(width), "little")
    if len(prefix) < 8 or prefix[:6] != MAGIC or prefix[6] not in (1, 2, 3):
        raise CheckpointError(f"begins with {prefix!r}, which is no .npy array")
    if length > MAX_HEADER:
        raise CheckpointError(f"a header of {length} bytes, at most {MAX_HEADER} are read")
    try:
        text = stream.read(length).decode("utf-8" if prefix[6] == 3 else "latin-1")
    except UnicodeDecodeError:
        raise CheckpointError("a header that is no UTF-8") from None
    return Header(*_parse(text), 8 + width + length)


def _parse(text: str) -> tuple[Any, bool, tuple[int, ...]]:
    """The dtype, order and shape that a header's text gives."""
    try:
        header = ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"a header that is no literal: {shorten(text)}") from error
    match header:
        case {"descr": descr, "fortran_order": bool(fortran), "shape": tuple(shape)} if (
            are_counts(shape) and len(header) == 3
        ):
            return descr, fortran, shape
    raise CheckpointError(f"header {shorten(text)}, wanted descr, fortran_order and shape")
