"""How far the values of one tensor are from those of another, as sums that add up."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import NamedTuple

NEAR = 0.01
"""How much of the smaller vector's square |Δ|² is, up to which two vectors are near."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was counted and summed up over pairs of elements; of two parts it is their sum.

    Of `count` pairs `equal` are equal, and `close` are within the tolerance (equal ones too).
    `largest` is the largest |Δ|, infinite where an infinity stands against another value. The sums
    are over `summed` pairs of finite values: `base` of a², `other` of b², `product` of ab,
    `squares` of Δ², where Δ = b - a. `lost` are not, and differ: NaN or an infinity takes part. A
    complex element is two pairs; where an item of either is less than a byte, pairs are of bytes,
    and none is summed.
    `nans` and `infinities` are of either side. `is_rounded` says that every value of B is that of
    A, rounded to B's dtype. `sizes` counts |Δ| by powers of two, 2**n <= |Δ| < 2**(n + 1) at n,
    where that was asked for.
    """

    count: int = 0
    equal: int = 0
    close: int = 0
    largest: float = 0.0
    summed: int = 0
    lost: int = 0
    base: float = 0.0
    other: float = 0.0
    product: float = 0.0
    squares: float = 0.0
    nans: tuple[int, int] = (0, 0)
    infinities: tuple[int, int] = (0, 0)
    is_rounded: bool = True
    sizes: Mapping[int, int] = field(default_factory=dict)

    @property
    def is_measured(self) -> bool:
        """Whether it is known how far the values moved: some were summed up, or all are equal."""
        return self.summed > 0 or self.are_equal

    @property
    def _is_beyond(self) -> bool:
        """Whether squares of what differs are beyond float64: above 1e154 or below 1e-162."""
        is_tiny = self.largest > 0 == self.largest * self.largest
        is_huge = not math.isfinite(self.base + self.other + self.squares)
        return (is_tiny or is_huge) and not self.are_equal

    @property
    def relative(self) -> float:
        """The relative L2 distance, |Δ| / |a|; infinite where A is zero and B is not.

        Where pairs are lost it is infinite, too, or with NaN alone not a number; nor is it one
        where squares are beyond float64.
        """
        if self.lost:
            return math.inf if math.isinf(self.largest) else math.nan
        if self._is_beyond:
            return math.nan
        if not self.squares:
            return 0.0
        return math.sqrt(self.squares / self.base) if self.base else math.inf

    @property
    def distance(self) -> float:
        """The relative L2 distance to compare by: infinite where NaN or an infinity takes part.

        Of what differs by no distance that is known (in bits, or beyond float64) it is the least.
        """
        if self.lost or self.are_equal:
            return math.inf if self.lost else 0.0
        return self.relative if self.relative > 0 else sys.float_info.min

    @property
    def cosine(self) -> float:
        """The cosine of the two as vectors; not a number where one of them is zero."""
        return 1 - self.cosine_distance

    @property
    def cosine_distance(self) -> float:
        """1 - cosine; of near vectors from their difference, so that nothing is lost.

        |a - b|² = (|b| - |a|)² + 2 |a| |b| (1 - cos): the law of cosines.
        """
        if self.lost or self._is_beyond:
            return math.nan
        if not self.squares:
            return 0.0
        a, b = math.sqrt(self.base), math.sqrt(self.other)
        if not (a and b):
            return math.nan
        if self.squares > NEAR * min(self.base, self.other):
            return min(max(1 - self.product / a / b, 0.0), 2.0)
        apart = (self.other - self.base) / (a + b)
        return max((self.squares - apart * apart) / (2 * a * b), 0.0)

    @property
    def share_equal(self) -> float:
        """The share of elements that are equal; 1 where there are none."""
        return self.equal / self.count if self.count else 1.0

    @property
    def are_equal(self) -> bool:
        """Whether all elements are."""
        return self.equal == self.count

    @property
    def are_close(self) -> bool:
        """Whether all elements are within the tolerance."""
        return self.close == self.count

    @property
    def counts(self) -> Change:
        """The change without sums and distances."""
        return Change(
            self.count,
            self.equal,
            self.close,
            lost=self.lost,
            nans=self.nans,
            infinities=self.infinities,
            is_rounded=self.is_rounded,
        )

    def __add__(self, other: Change) -> Change:
        return Change(
            self.count + other.count,
            self.equal + other.equal,
            self.close + other.close,
            max(self.largest, other.largest),
            self.summed + other.summed,
            self.lost + other.lost,
            self.base + other.base,
            self.other + other.other,
            self.product + other.product,
            self.squares + other.squares,
            (self.nans[0] + other.nans[0], self.nans[1] + other.nans[1]),
            (self.infinities[0] + other.infinities[0], self.infinities[1] + other.infinities[1]),
            self.is_rounded and other.is_rounded,
            _add_counts(self.sizes, other.sizes),
        )


def _add_counts(one: Mapping[int, int], other: Mapping[int, int]) -> Mapping[int, int]:
    if not (one and other):
        return one or other
    return {size: one.get(size, 0) + other.get(size, 0) for size in sorted({*one, *other})}


def add_changes(changes: Iterable[Change]) -> Change:
    """The change of all of them together."""
    return reduce(add, changes, Change())


class Compared(NamedTuple):
    """The change of a tensor, and the rank of its difference where that is low; else 0."""

    change: Change
    rank: int
