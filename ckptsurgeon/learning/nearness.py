"""Numbers that are equal but for rounding, and numbers as people write them."""

from __future__ import annotations

import numpy as np

from ckptsurgeon.learning.words import Array
from ckptsurgeon.ops import carriers

TOLERANCES = {"F64": 1e-12, "F32": 1e-5, "F16": 2e-3, "BF16": 2e-2}
"""How far numbers may be off that were computed in a dtype, as a part of the largest."""

ROUNDING = {"F16": 2**-10, "BF16": 2**-7}
"""The distance of neighbouring numbers of dtypes that ops round to at last, as a part of them."""

OWN = 100
"""How many times as far a number may be off, as a part of itself."""

MOST = 0.9
"""The share of numbers that are no farther off than that."""

STEPS = 10
"""Computations of which each is rounded to a dtype."""


def numbers_of(array: Array, dtype: str) -> Array | None:
    """The values of a carrier in float64; None for dtypes that have no tolerance."""
    if dtype not in TOLERANCES:
        return None
    return carriers.decode(array, dtype).astype(np.float64)


def are_near(made: Array, wanted: Array, dtype: str) -> bool:
    """Whether numbers are equal but for rounding: all to the largest, and most to themselves.

    They are those of one op, which computes in F32, of F64 in F64, and rounds once to the dtype.
    """
    finite = np.isfinite(wanted)
    if not np.array_equal(made[~finite], wanted[~finite], equal_nan=True):
        return False
    made, wanted = made[finite], wanted[finite]
    if not np.isfinite(made).all():
        return False
    if not made.size:
        return True
    apart, size = np.abs(made - wanted), np.abs(wanted)
    least = TOLERANCES["F64" if dtype == "F64" else "F32"]
    rounding = ROUNDING.get(dtype, 0.0) * size
    closely = apart <= OWN * least * size + rounding
    return bool((apart <= least * size.max(initial=0) + rounding).all() and closely.mean() >= MOST)


def are_near_after_steps(made: Array, wanted: Array, dtype: str) -> bool:
    """Whether numbers are equal to the largest but for several roundings to the dtype."""
    allowed = STEPS * TOLERANCES[dtype] * float(np.abs(wanted).max(initial=0))
    return bool((np.abs(made - wanted) <= allowed).all())


def is_bfloat(numbers: Array | None) -> bool:
    """Whether F32 values are such as BF16 has: the lower half of each word is empty."""
    return numbers is None or not (numbers.astype(np.float32).view(np.uint32) & 0xFFFF).any()


def shorten(number: float, dtype: str) -> float | int:
    """The number as people write it, where that is within the rounding of a dtype."""
    for digits in range(1, 7):
        short = float(f"{number:.{digits}g}")
        if abs(short - number) <= max(2e-6, TOLERANCES[dtype] / 4) * abs(number):
            return int(short) if short.is_integer() else short
    return number
