"""The numbers of a run of bytes, as dtypes that NumPy is fast with."""

from __future__ import annotations

import numpy as np

from ckptsurgeon.ops.carriers import Array, decode
from ckptsurgeon.specs import BITS, CARRIERS

SINGLE = frozenset({"U8", "I8", "U16", "I16", "F16", "F32", "C64"})
"""Codes whose numbers float32 holds exactly, and that NumPy converts."""

BITS_BELOW = 16
"""How many bits of a float32 stand below those of a bfloat16."""

_TABLES: dict[str, Array] = {}


def read_numbers(run: Array, code: str) -> Array:
    """The numbers of uint8 memory that holds items of a dtype: two of each complex item."""
    if code.startswith("C"):
        return run.view(f"<f{BITS[code] // 16}")
    return decode(run.view(CARRIERS[BITS[code]]), code)


def to_floats(run: Array, code: str) -> Array:
    """The numbers of uint8 memory as float32 where that holds each exactly, else as float64.

    64-bit integers are rounded to float64.
    """
    if code == "BOOL":
        return (run != 0).astype(np.float32)
    if code == "BF16":
        bits = run.view("<u2").astype(np.uint32)
        return np.left_shift(bits, BITS_BELOW, out=bits).view(np.float32)
    if code.startswith("F8"):
        found: Array = _table(code).take(run)
        return found
    numbers = read_numbers(run, code)
    return numbers.astype(np.float32 if code in SINGLE else np.float64, copy=False)


def _table(code: str) -> Array:
    """The number of each byte, by its dtype."""
    if code not in _TABLES:
        with np.errstate(invalid="ignore"):  # ml_dtypes converts a NaN with a warning
            _TABLES[code] = decode(np.arange(256, dtype=np.uint8), code).astype(np.float32)
    return _TABLES[code]
