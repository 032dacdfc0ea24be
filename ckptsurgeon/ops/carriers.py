"""From carriers to numbers and back: the only place that knows how to compute with dtype codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ckptsurgeon.specs import BITS, CARRIERS, DTYPE_NAMES

Array = np.ndarray[Any, Any]

ML_DTYPES = ("BF16", *(code for code in DTYPE_NAMES if code.startswith("F8_")))
"""The codes that only ml_dtypes can compute with."""

OF_ML_DTYPES = 2
"""What NumPy's `isbuiltin` says of a dtype that a library has registered."""

NOT_FINITE_FROM = {
    "F16": (0x7FFF, 0x7C00),
    "BF16": (0x7FFF, 0x7F80),
    "F8_E4M3": (0x7F, 0x7F),
    "F8_E5M2": (0x7F, 0x7C),
    "F8_E8M0": (0xFF, 0xFF),
}
"""Bits of an item without its sign, and from where on they mean an infinity or NaN."""

BLOCK = 2**20
"""Items that are computed with at a time, so that temporaries stay at a few MB."""


def numpy_dtype(code: str) -> np.dtype[Any]:
    """The NumPy dtype that computes with a code; ml_dtypes' for bfloat16 and float8."""
    if code not in ML_DTYPES:
        return np.dtype(DTYPE_NAMES[code])
    import ml_dtypes  # only casts of these few dtypes need it

    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, DTYPE_NAMES[code]))
    return dtype


def decode(array: Array, code: str) -> Array:
    """The same memory seen as numbers of dtype `code`."""
    return array.view(numpy_dtype(code))


def encode(numbers: ArrayLike, code: str) -> Array:
    """Numbers, or one number, in the carrier of a dtype code, rounded once."""
    return convert(np.asarray(numbers), code).view(CARRIERS[BITS[code]])


def blocks(*arrays: Array, writes: bool = False) -> Iterator[tuple[Array, ...]]:
    """The arrays' items in row order, as flat runs of at most BLOCK of each.

    With `writes`, what is put into a run of the last array lands in that array.
    """
    flags: Any = [["readonly", "contig"] for _ in arrays]  # numpy's stub misspells "contig"
    if writes:
        flags[-1][0] = "writeonly"
    iterator = np.nditer(
        arrays,
        ["external_loop", "buffered", "zerosize_ok"],
        flags,
        order="C",
        buffersize=BLOCK,
    )
    with iterator:
        for runs in iterator:
            yield runs if isinstance(runs, tuple) else (runs,)


def convert(numbers: Array, code: str) -> Array:
    """The numbers in the dtype of a code, rounded once, to nearest even.

    ml_dtypes rounds by way of float32, which would round wide numbers twice: those get the bits
    that they lose there folded into float32's last bit first ("round to odd").
    """
    with np.errstate(all="ignore"):  # overflow is counted by whoever asked, not warned of
        if code in ML_DTYPES or numbers.dtype.isbuiltin == OF_ML_DTYPES:
            numbers = _single(numbers)
        return numbers.astype(numpy_dtype(code), copy=False)


def _single(numbers: Array) -> Array:
    """float32 of numbers, exact, or else odd in the last bit and next to the true value."""
    if numbers.dtype.kind in "iu" and numbers.dtype.itemsize == 8:
        numbers = _fold(numbers)
    if numbers.dtype.itemsize <= 2 or numbers.dtype == np.float32:
        return numbers.astype(np.float32, copy=False)
    wide = numbers.astype(np.float64, copy=False)
    result = wide.astype(np.float32)
    back = result.astype(np.float64)
    bits = result.view(np.uint32)
    inexact = (back != wide) & ~np.isnan(wide) & (bits & 1 == 0)
    nearer_zero = np.abs(back) > np.abs(wide)
    bits[inexact & nearer_zero] -= 1
    bits[inexact & ~nearer_zero] += 1
    return result


def _fold(numbers: Array) -> Array:
    """64-bit integers, those beyond 2**53 with their low 16 bits folded into the next one.

    float64 then holds them exactly, and no dtype of ml_dtypes is fine enough to see a difference.
    """
    low, places = numbers.dtype.type(0xFFFF), numbers.dtype.type(16)
    beyond = (numbers > 2**53) | (numbers < -(2**53) if numbers.dtype.kind == "i" else False)
    sticky = ((numbers & low) != 0).astype(numbers.dtype) << places
    return np.where(beyond, (numbers & ~low) | sticky, numbers)


def all_finite(array: Array, code: str) -> bool:
    """Whether no item of a carrier is infinite or NaN; many times as fast as counting them."""
    if code not in NOT_FINITE_FROM:
        return bool(np.isfinite(decode(array, code)).all())
    mask, least = NOT_FINITE_FROM[code]
    return not array.size or int((array & array.dtype.type(mask)).max()) < least


def count_finite(array: Array, code: str) -> int:
    """How many items of a carrier are neither infinite nor NaN, read as dtype `code`."""
    with np.errstate(invalid="ignore"):  # ml_dtypes' test of a NaN warns of it
        return int(np.isfinite(decode(array, code)).sum())
