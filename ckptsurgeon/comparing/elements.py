"""Pairs of elements compared, as many at a time as stay in a processor's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ckptsurgeon.comparing.change import Change, Compared
from ckptsurgeon.comparing.conditions import Conditions
from ckptsurgeon.comparing.ranks import Corner
from ckptsurgeon.ops import carriers
from ckptsurgeon.ops.ranges import BEYOND_F64, COMPLEX, LARGEST_WHOLE
from ckptsurgeon.specs import FLOATING, TensorSpec

Array = np.ndarray[Any, Any]

ITEMS = 1 << 17
"""Items that are compared at a time.

Fewer would stay in a core's own cache; but threads of Python wait for each other between two calls,
and two of them are twice as fast with calls that are four times as long.
"""

HALF = 32
"""Bits of an integer of 64 that float64 computes with at a time."""


def compare_blocks(
    first: Iterator[Array],
    second: Iterator[Array],
    before: TensorSpec,
    after: TensorSpec,
    conditions: Conditions,
) -> Compared:
    """The change from the bytes of one tensor to those of another, as far as the shorter goes.

    Blocks end between items. Where an item of either is less than a byte, bytes are compared: such
    a change has no sums.
    """
    pairing = _Pairing(before, after, conditions)
    change = Change()
    for a, b in pair_items(first, second, before.carrier or "u1", after.carrier or "u1"):
        change += pairing.compare(a, b)
    rank = pairing.corner.rank if pairing.corner is not None and change.squares else 0
    return Compared(change, rank)


def _corner_of(before: TensorSpec, after: TensorSpec) -> Corner | None:
    """What tells the rank of a difference, of real matrices of one shape."""
    is_real = before.dtype in FLOATING and after.dtype in FLOATING
    is_matrix = len(after.shape) > 1 and before.shape == after.shape
    has_items = before.carrier is not None and after.carrier is not None and after.count > 0
    if not (is_real and is_matrix and has_items):
        return None
    return Corner(after.shape, max(_rounding_of(before.dtype), _rounding_of(after.dtype)))


def _rounding_of(dtype: str) -> float:
    """Half the distance of neighbouring numbers of a floating dtype, as a part of them."""
    return 0.5 / LARGEST_WHOLE[dtype]


def pair_items(
    first: Iterator[Array], second: Iterator[Array], one: str, other: str
) -> Iterator[tuple[Array, Array]]:
    """The items of two tensors side by side, in whatever blocks of bytes they come."""
    a, b = np.zeros(0, one), np.zeros(0, other)
    while True:
        a = a if len(a) else next(first, np.zeros(0, np.uint8)).view(one)
        b = b if len(b) else next(second, np.zeros(0, np.uint8)).view(other)
        size = min(len(a), len(b), ITEMS)
        if not size:
            return
        yield a[:size], b[:size]
        a, b = a[size:], b[size:]


EXPONENT, BIAS, NOT_FINITE = 52, 1023, 2047
"""Where the exponent of a float64 stands, what is added to it, and that of infinities and NaN."""


class _Pairing:
    """What is known of every pair of two tensors' elements, with memory to compute in."""

    def __init__(self, before: TensorSpec, after: TensorSpec, conditions: Conditions) -> None:
        self.before, self.after, self.conditions = before, after, conditions
        self.is_of_one_dtype = before.dtype == after.dtype
        self.corner = _corner_of(before, after)
        self._is_complex = not COMPLEX.isdisjoint((before.dtype, after.dtype))
        size = min(ITEMS, after.count) * (1 + self._is_complex)
        self._x, self._y, self._delta, self._apart = np.empty((4, size))

    def compare(self, a: Array, b: Array) -> Change:
        """The change of items in their carriers."""
        if self.before.carrier is None or self.after.carrier is None:
            return self._compare_bytes(a, b)
        with np.errstate(all="ignore"):  # what is not finite is counted
            x = self._put(a, self.before.dtype, self._x)
            base = _product(x, x)
            if self.is_of_one_dtype and np.isfinite(base) and self._are_same(a, b):
                if self.corner is not None:
                    self.corner.skip(len(a))
                return Change(len(x), len(x), len(x), 0.0, len(x), 0, base, base, base)
            return self._compare_numbers(a, b, x, self._put(b, self.after.dtype, self._y), base)

    def _put(self, items: Array, dtype: str, place: Array) -> Array:
        """The values of a carrier in float64; a complex one is two, and others beside it, too."""
        numbers = carriers.decode(items, dtype)
        if self._is_complex:
            numbers = numbers.astype(np.complex128).view(np.float64)
        place = place[: len(numbers)]
        place[...] = numbers
        return place

    def _compare_bytes(self, a: Array, b: Array) -> Change:
        same = int(np.count_nonzero(a == b)) if self.is_of_one_dtype else 0
        return Change(len(a), same, same, is_rounded=same == len(a))

    def _compare_numbers(self, a: Array, b: Array, x: Array, y: Array, base: float) -> Change:
        delta = np.subtract(y, x, out=self._delta[: len(x)])
        if self.corner is not None:
            self.corner.add(delta, x, y)
        distances = self._measure_distances(a, b, x, y, delta)
        same = distances == 0
        summed, sums = len(x), (base, _product(y, y), _product(x, y), _product(delta, delta))
        lost = 0
        nans = infinities = (0, 0)
        if not np.isfinite(sums).all():
            same |= (np.isinf(x) & (x == y)) | (np.isnan(x) & np.isnan(y))
            distances[same] = 0
            nans = _count(np.isnan(x)), _count(np.isnan(y))
            infinities = _count(np.isinf(x)), _count(np.isinf(y))
            summed, sums = _sum_finite(x, y)
            lost = len(x) - summed - _count(same & ~(np.isfinite(x) & np.isfinite(y)))
        largest = float(np.fmax.reduce(distances, initial=0))  # NaN is counted, and no distance
        if self.conditions.exact and self.is_of_one_dtype:
            same = self._are_equal_bits(a, b)
        is_rounded = infinities[0] == infinities[1] and self._is_rounded(a, y, same)
        close = self._are_close(same, distances, y)
        counts = len(x), _count(same), _count(close)
        sizes = _count_sizes(distances) if self.conditions.sizes else {}
        return Change(*counts, largest, summed, lost, *sums, nans, infinities, is_rounded, sizes)

    def _are_same(self, a: Array, b: Array) -> bool:
        """Whether all items are equal, of one dtype and finite."""
        if self.conditions.exact:
            return bool(self._are_equal_bits(a, b).all())
        return np.array_equal(a, b)

    def _measure_distances(self, a: Array, b: Array, x: Array, y: Array, delta: Array) -> Array:
        """|Δ| of each pair; where 64-bit integers take part, it is 0 of equal ones alone."""
        distances = self._apart[: len(delta)]
        if BEYOND_F64.isdisjoint((self.before.dtype, self.after.dtype)):
            return np.abs(delta, out=distances)
        high, low = self._split(a, x, self.before.dtype)
        other_high, other_low = self._split(b, y, self.after.dtype)
        distances[...] = np.abs((other_high - high) * 2.0**HALF + (other_low - low))
        return distances

    def _split(self, items: Array, values: Array, dtype: str) -> tuple[Array, Array]:
        """Numbers in units of 2**32, and what that leaves: both of their sign, and exact."""
        numbers = carriers.decode(items, dtype) if dtype in BEYOND_F64 else values
        if len(numbers) < len(values):  # the real parts of complex ones
            numbers = np.column_stack((numbers, np.zeros_like(numbers))).reshape(-1)
        rest = np.where(np.isfinite(numbers), np.fmod(numbers, numbers.dtype.type(2**HALF)), 0)
        return (numbers - rest) / 2.0**HALF, rest.astype(np.float64)

    def _are_close(self, same: Array, distances: Array, y: Array) -> Array:
        """Which elements are within the tolerance; those that are equal always."""
        if not self.conditions.is_loose:
            return same
        allowed = self.conditions.atol + self.conditions.rtol * np.abs(y)
        close: Array = same | ((distances <= allowed) & np.isfinite(y))
        return close

    def _are_equal_bits(self, a: Array, b: Array) -> Array:
        """Which numbers are equal in every bit; of a complex one two are told."""
        if self._is_complex:
            half = f"u{a.dtype.itemsize // 2}"
            a, b = a.view(half), b.view(half)
        equal: Array = a == b
        return equal

    def _is_rounded(self, a: Array, y: Array, same: Array) -> bool:
        """Whether B's values are A's, rounded to B's dtype."""
        if same.all():
            return True
        is_cast = not (self.is_of_one_dtype or self._is_complex) and self.after.floating
        if not is_cast:
            return False
        rounded = carriers.encode(carriers.decode(a, self.before.dtype), self.after.dtype)
        numbers = carriers.decode(rounded, self.after.dtype).astype(np.float64)
        return np.array_equal(numbers, y, equal_nan=True)


def _count_sizes(distances: Array) -> dict[int, int]:
    """How many differences there are of each power of two: by the exponents in their bits."""
    counts = np.bincount(distances.view(np.int64) >> EXPONENT & NOT_FINITE, minlength=1)
    found = np.flatnonzero(counts)
    return {int(one) - BIAS: int(counts[one]) for one in found if 0 < one < NOT_FINITE}


def _sum_finite(x: Array, y: Array) -> tuple[int, tuple[float, float, float, float]]:
    """How many pairs are of finite values, and their sums of a², b², ab and Δ²."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    delta = y - x
    return len(x), (_product(x, x), _product(y, y), _product(x, y), _product(delta, delta))


def _product(x: Array, y: Array) -> float:
    """The sum of the products; not BLAS's, which would start threads beside those there are."""
    return float(np.einsum("i,i->", x, y))


def _count(mask: Array) -> int:
    return int(np.count_nonzero(mask))
