"""Statistics of numbers that come in chunks, each of which stays in a processor's cache."""

from __future__ import annotations

import math

import numpy as np

from ckptsurgeon.measuring.bins import Bins
from ckptsurgeon.measuring.moments import find_moments
from ckptsurgeon.measuring.scratch import Scratch
from ckptsurgeon.measuring.statistics import Moments, Statistics
from ckptsurgeon.ops.carriers import Array


def find_range(numbers: Array) -> tuple[float, float]:
    """The least and the most of some numbers; not a number where one is none."""
    return float(np.minimum.reduce(numbers)), float(np.maximum.reduce(numbers))


class Gauge:
    """What is known of the numbers so far. Not for several threads at once."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._count = self._nans = self._positive_infinities = self._negative_infinities = 0
        self._zeros = 0
        self._least, self._most = math.inf, -math.inf
        self._moments, self._bins = Moments(), Bins()

    def add(self, numbers: Array) -> int:
        """Takes in a chunk of float32 or float64 numbers; how many of them are zero."""
        self._count += len(numbers)
        least, most = find_range(numbers)
        if not (math.isfinite(least) and math.isfinite(most)):
            numbers = self._take_finite(numbers)
            if not len(numbers):
                return 0
            least, most = find_range(numbers)
        self._least, self._most = min(self._least, least), max(self._most, most)
        zeros = self._count_zeros(numbers) if least <= 0 <= most else 0
        self._zeros += zeros
        self._moments += find_moments(numbers, self._scratch)
        self._bins.add(numbers, least, most, self._scratch)
        return zeros

    def _count_zeros(self, numbers: Array) -> int:
        flags = self._scratch.flags[: len(numbers)]
        return len(numbers) - int(np.count_nonzero(np.not_equal(numbers, 0, out=flags)))

    def _take_finite(self, numbers: Array) -> Array:
        """The finite ones of some numbers; the others are counted."""
        self._nans += int(np.count_nonzero(np.isnan(numbers)))
        self._positive_infinities += int(np.count_nonzero(numbers == np.inf))
        self._negative_infinities += int(np.count_nonzero(numbers == -np.inf))
        finite: Array = numbers[np.isfinite(numbers)]
        return finite

    @property
    def statistics(self) -> Statistics:
        """What is known, as a value."""
        has_any = self._least <= self._most
        return Statistics(
            self._count,
            self._nans,
            self._positive_infinities,
            self._negative_infinities,
            self._zeros,
            self._least if has_any else None,
            self._most if has_any else None,
            self._moments,
            self._bins.histogram,
        )
