"""Numbers counted in the bins of a histogram, a chunk of them at a time."""

from __future__ import annotations

import math

import numpy as np

from ckptsurgeon.measuring.histograms import (
    LEAST_EXPONENT,
    MOST_BINS,
    Histogram,
    choose_exponent,
    find_bin,
)
from ckptsurgeon.measuring.scratch import Scratch
from ckptsurgeon.ops.carriers import Array

PAIRED = 1 << 14
"""Numbers from which on two are counted at a time: the table of pairs has as many counts."""

PLAIN = range(-125, 1)
"""Exponents of widths that float32 divides by without an overflow, or an underflow to zero."""


class Bins:
    """The histogram of the numbers added so far. Not for several threads at once."""

    def __init__(self) -> None:
        self._exponent = LEAST_EXPONENT
        self._start = 0
        self._counts: Array = np.zeros(0, np.int64)
        self._range = math.inf, -math.inf

    def add(self, numbers: Array, least: float, most: float, scratch: Scratch) -> None:
        """Counts finite numbers of a float dtype, whose least and most these are."""
        if least < self._range[0] or most > self._range[1]:
            self._widen(min(least, self._range[0]), max(most, self._range[1]))
        bins = _find_bins(numbers, self._exponent, self._start, scratch)
        self._counts += _count(bins, scratch)[: len(self._counts)]

    def _widen(self, least: float, most: float) -> None:
        """Makes room for a larger range."""
        before, self._range = self.histogram, (least, most)
        self._exponent = choose_exponent(least, most)
        self._start = find_bin(least, self._exponent)
        bins = find_bin(most, self._exponent) - self._start + 1
        self._counts = np.zeros(bins, np.int64)
        known = before.widen(self._exponent)
        at = known.start - self._start
        if known.counts:
            self._counts[at : at + len(known.counts)] = known.counts

    @property
    def histogram(self) -> Histogram:
        """The counts of all numbers."""
        return Histogram(self._exponent, self._start, tuple(self._counts.tolist()))


def count_bins(
    numbers: Array, times: Array, least: float, most: float, scratch: Scratch
) -> Histogram:
    """The histogram of finite float64 numbers that stand so many times each."""
    exponent = choose_exponent(least, most)
    start = find_bin(least, exponent)
    counts = np.zeros(MOST_BINS, np.int64)
    np.add.at(counts, _find_bins(numbers, exponent, start, scratch), times)
    bins = find_bin(most, exponent) - start + 1
    return Histogram(exponent, start, tuple(counts[:bins].tolist()))


def _find_bins(numbers: Array, exponent: int, start: int, scratch: Scratch) -> Array:
    """The number of each number's bin, from that of the first one on, as uint8."""
    if numbers.dtype == np.float32 and exponent not in PLAIN:
        numbers = numbers.astype(np.float64)
    spare = scratch.take(numbers.dtype, len(numbers))
    np.multiply(numbers, numbers.dtype.type(math.ldexp(1.0, -exponent)), out=spare)
    np.floor(spare, out=spare)
    if exponent > 0:  # a small negative number may have become -0
        spare[(spare == 0) & (numbers < 0)] = -1
    np.subtract(spare, numbers.dtype.type(start), out=spare)
    bins = scratch.bytes[: len(numbers)]
    np.copyto(bins, spare, casting="unsafe")
    return bins


def _count(bins: Array, scratch: Scratch) -> Array:
    """How often each number below MOST_BINS stands among some."""
    if len(bins) < PAIRED:
        return np.bincount(bins, minlength=MOST_BINS)
    # Increments of one count wait for each other: pairs have 64 times as many counts, and are half
    # as many.
    pairs = scratch.take(np.dtype(np.intp), len(bins) // 2)
    np.copyto(pairs, bins[: len(bins) & ~1].view(np.uint16))
    table = np.bincount(pairs, minlength=MOST_BINS << 8).reshape(MOST_BINS, 256)
    found: Array = table.sum(1) + table.sum(0)[:MOST_BINS]
    if len(bins) & 1:
        found[bins[-1]] += 1
    return found
