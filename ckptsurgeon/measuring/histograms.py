"""Counts of numbers in bins of one width, of a range that nobody knows before the last number.

Bins lie on a grid: their width is a power of two, and 0 is an edge. A wider grid has every second
edge of the next finer one, so bins of two histograms merge exactly. Which grid a histogram has
follows from its least and its most number alone: parts merged in any order are the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_BINS = 64
"""Bins of one histogram."""

FINEST = 20
"""Bits of the number of a bin: the width is never less than this part of the largest number."""

LEAST_EXPONENT = -1000
"""The width's exponent where all numbers are zero, or nearly: 2**1000 is still a float64."""


def choose_exponent(least: float, most: float) -> int:
    """The exponent of the width by which at most MOST_BINS bins hold all of a range."""
    largest = max(abs(least), abs(most))
    exponent = LEAST_EXPONENT
    if largest:
        exponent = max(exponent, math.frexp(largest)[1] - 1 - FINEST)
    if span := most / 4 - least / 4:  # of the whole range float64 may have no number
        exponent = max(exponent, math.frexp(span)[1] + 2 - MOST_BINS.bit_length() - 1)
    while find_bin(most, exponent) - find_bin(least, exponent) >= MOST_BINS:
        exponent += 1
    return exponent


def find_bin(number: float, exponent: int) -> int:
    """The number of the bin that a number is in."""
    scaled = math.ldexp(number, -exponent)
    return -1 if scaled == 0 and number < 0 else math.floor(scaled)


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts` of bins that are 2**`exponent` wide; the first begins at `start` times that.

    A bin has its lower edge, and not its upper one. The first and the last have numbers in them.
    """

    exponent: int = LEAST_EXPONENT
    start: int = 0
    counts: tuple[int, ...] = ()

    @property
    def edges(self) -> tuple[float, ...]:
        """The edges of the bins, one more than there are bins; none without a number."""
        if not self.counts:
            return ()
        numbers = range(self.start, self.start + len(self.counts) + 1)
        return tuple(_scale(number, self.exponent) for number in numbers)

    def widen(self, exponent: int) -> Histogram:
        """The same numbers in bins of another, larger width."""
        steps = exponent - self.exponent
        if not steps or not self.counts:
            return self
        start = self.start >> steps
        counts = [0] * (((self.start + len(self.counts) - 1) >> steps) - start + 1)
        for number, count in enumerate(self.counts, self.start):
            counts[(number >> steps) - start] += count
        return Histogram(exponent, start, tuple(counts))

    def merge(self, other: Histogram, exponent: int) -> Histogram:
        """The numbers of both, in bins of a width that is at least that of either."""
        one, other = self.widen(exponent), other.widen(exponent)
        if not (one.counts and other.counts):
            return one if one.counts else other
        start = min(one.start, other.start)
        end = max(one.start + len(one.counts), other.start + len(other.counts))
        counts = [0] * (end - start)
        for part in (one, other):
            for number, count in enumerate(part.counts, part.start - start):
                counts[number] += count
        return Histogram(exponent, start, tuple(counts))

    def fit(self, bins: int) -> Histogram:
        """The same numbers in at most so many bins, two at least, no wider than that takes."""
        found = self
        while len(found.counts) > bins:
            found = found.widen(found.exponent + 1)
        return found


def _scale(number: int, exponent: int) -> float:
    try:
        return math.ldexp(number, exponent)
    except OverflowError:  # the edge behind the largest float64
        return math.copysign(math.inf, number)
