"""What a tensor is before a byte of it is read: its dtype, its shape and its size.

Dtypes are written in safetensors' codes. Only a code's width matters to ops that move elements, so
every code has a *carrier*: the NumPy dtype that holds its items without knowing what they mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ckptsurgeon.errors import CheckpointError

BITS: Mapping[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
    "C128": 128,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
"""Width of one element, in bits, by dtype code."""

DTYPE_NAMES: Mapping[str, str] = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
    "C128": "complex128",
}
"""The names that torch, NumPy and ml_dtypes share, by dtype code."""

FLOATING: frozenset[str] = frozenset(code for code in BITS if code.startswith(("F", "BF")))
"""The codes that `output: {dtype: …}` casts."""

CARRIERS: Mapping[int, str] = {8: "u1", 16: "<u2", 32: "<u4", 64: "<u8", 128: "<c16"}
"""NumPy dtype, by width in bits, that carries the items of whole-byte dtypes."""

MAX_BYTES = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The dtype and shape of a tensor; prints as `F32[64, 3, 7, 7]`.

    Raises CheckpointError for an unknown dtype, a negative size, or one beyond 2**63 bytes.
    """

    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        bits = BITS.get(self.dtype)
        if bits is None:
            raise CheckpointError(f"unknown dtype {self.dtype!r}; known: {', '.join(BITS)}")
        if any(size < 0 for size in self.shape):
            raise CheckpointError(f"a shape with a negative size: {list(self.shape)}")
        if math.prod(self.shape) * bits > MAX_BYTES * 8:
            raise CheckpointError(f"a shape too large for any file: {list(self.shape)}")

    @property
    def count(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes of the dense tensor."""
        return (self.count * BITS[self.dtype] + 7) // 8

    @property
    def carrier(self) -> str | None:
        """NumPy dtype of the items as plain bits, or None where an item is less than a byte."""
        return CARRIERS.get(BITS[self.dtype])

    @property
    def floating(self) -> bool:
        return self.dtype in FLOATING

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


UNKNOWN = "?"
"""The dtype of a tensor that can't be read, where that is not known."""


@dataclass(frozen=True, slots=True)
class UnreadableSpec(TensorSpec):
    """What is known of a tensor that has a key, but no values that can be read.

    `what` continues "it is …"; `remedy` says what makes a readable tensor of it. Where its shape is
    not known, `shape` is empty.
    """

    what: str
    remedy: str = "load it where it was made, and save it as a plain dense tensor"
    has_shape: bool = True

    def __post_init__(self) -> None:
        """Nothing is asked of what is not read."""

    @property
    def is_whole(self) -> bool:
        """Whether dtype and shape are both known."""
        return self.has_shape and self.dtype in BITS

    @property
    def count(self) -> int:
        """Number of elements; 0 where that is not known."""
        return math.prod(self.shape) if self.has_shape else 0

    @property
    def nbytes(self) -> int:
        """Number of bytes that the dense tensor would take; 0 where that is not known."""
        return (self.count * BITS[self.dtype] + 7) // 8 if self.is_whole else 0

    @property
    def carrier(self) -> None:
        """None: there are no items."""

    def __str__(self) -> str:
        shape = ", ".join(map(str, self.shape)) if self.has_shape else UNKNOWN
        return f"{self.dtype}[{shape}]"


def shapes_agree(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether two tensors have one shape; also where that of either is not known."""
    unknown = (isinstance(s, UnreadableSpec) and not s.has_shape for s in (one, other))
    return one.shape == other.shape or any(unknown)


def unreadable_spec(
    what: str,
    remedy: str | None = None,
    dtype: str | None = None,
    shape: tuple[int, ...] | None = None,
) -> UnreadableSpec:
    """The spec of a tensor that can't be read, with what is known of its dtype and shape."""
    given = {} if remedy is None else {"remedy": remedy}
    return UnreadableSpec(dtype or UNKNOWN, shape or (), what, has_shape=shape is not None, **given)


Specs = tuple[TensorSpec, ...]

T = TypeVar("T")


def with_item(items: tuple[T, ...], dim: int, item: T) -> tuple[T, ...]:
    """The shape, or what there is of each dim, with another item for one dim (counted from 0)."""
    return (*items[:dim], item, *items[dim + 1 :])


def with_new(items: tuple[int, ...], dim: int, item: int) -> tuple[int, ...]:
    """The shape, or what there is of each dim, with an item for a new dim before that one."""
    return (*items[:dim], item, *items[dim:])


def number_width(dtype: str) -> int:
    """Bytes of one number of a dtype of whole bytes; a complex item is two."""
    return BITS[dtype] // (16 if dtype.startswith("C") else 8)


def row_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Items from one to the next on each dim of a dense tensor; a size of 0 counts as 1."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def human_bytes(count: int) -> str:
    """A size for people, as `44.7 MiB`; exact below 1 KiB."""
    if count < 1024:
        return f"{count} B"
    if count >= 1 << 70:
        return "over 1,048,576 PiB"  # what only a made-up shape takes
    size = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        size /= 1024
        if size < 1024 or unit == "PiB":
            break
    return f"{size:.1f} {unit}"


def plural(number: int, noun: str) -> str:
    """`1 tensor`, `1,000 tensors`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


UNITS: Mapping[str, int] = {
    "": 1,
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", 1)},
    **{f"{letter}IB": 1024**power for power, letter in enumerate("KMGTP", 1)},
}
"""Bytes by unit, in capitals: decimal (5GB, as at the Hugging Face hub) and binary (128MiB)."""


def percent(part: float, whole: int) -> str:
    """A share that says 100% and 0% only where they are exact."""
    if not whole or part in (0, whole):
        return "100%" if whole and part == whole else "0%"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f}%"


def parse_bytes(text: str) -> int:
    """The bytes that a size says, as `5GB`, `128MiB` or `1000`; raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Za-z]*)", text.strip())
    unit = UNITS.get(found[2].upper()) if found else None
    nbytes = int(float(found[1]) * unit) if found and unit else 0
    if not 0 < nbytes <= MAX_BYTES:
        raise ValueError(f"{text!r} is no size; wanted one as 128MiB or 5GB")
    return nbytes
