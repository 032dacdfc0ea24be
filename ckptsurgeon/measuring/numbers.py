"""The numbers of a run of bytes, as dtypes that NumPy is fast with."""

from __future__ import annotations

from functools import cache

import numpy as np

from ckptsurgeon.ops.carriers import Array, decode
from ckptsurgeon.ops.ranges import COMPLEX
from ckptsurgeon.specs import BITS, CARRIERS

SINGLE = frozenset({"U8", "I8", "U16", "I16", "F16", "F32", "C64"})
"""Codes whose numbers float32 holds exactly, and that NumPy converts."""

BITS_BELOW = 16
"""How many bits of a float32 stand below those of a bfloat16."""

BYTES = np.arange(1 << 8, dtype=np.uint8)
PAIRS = np.arange(1 << 16, dtype="<u2")


def read_numbers(run: Array, code: str) -> Array:
    """The numbers of uint8 memory that holds items of a dtype: two of each complex item."""
    if code in COMPLEX:
        return run.view(f"<f{BITS[code] // 16}")
    return decode(run.view(CARRIERS[BITS[code]]), code)


def to_floats(run: Array, code: str) -> Array:
    """The numbers of uint8 memory as float32 where that holds each exactly, else as float64.

    64-bit integers are rounded to float64.
    """
    found: Array
    if code == "BOOL":
        found = (run != 0).astype(np.float32)
    elif code == "BF16":
        bits = run.view("<u2").astype(np.uint32)
        found = np.left_shift(bits, BITS_BELOW, out=bits).view(np.float32)
    elif code.startswith("F8"):
        found = _numbers_of_bytes(code).take(run)
    else:
        numbers = read_numbers(run, code)
        found = numbers.astype(np.float32 if code in SINGLE else np.float64, copy=False)
    return found


@cache
def numbers_of(code: str) -> Array:
    """The number of each pattern of bits of a dtype of one or two bytes, as float64."""
    patterns = BYTES if BITS[code] == 8 else PAIRS.view(np.uint8)
    with np.errstate(invalid="ignore"):  # a NaN may be one that signals
        return to_floats(patterns, code).astype(np.float64)


@cache
def _numbers_of_bytes(code: str) -> Array:
    """The number of each byte of a float8, as float32."""
    with np.errstate(invalid="ignore"):  # ml_dtypes converts a NaN with a warning
        return decode(BYTES, code).astype(np.float32)
