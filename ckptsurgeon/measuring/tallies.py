"""Numbers of 16 bits and fewer, counted by their bits: all that is told of them follows from that.

Nothing is computed with a number until all are counted, so that large tensors take half as long.
"""

from __future__ import annotations

import numpy as np

from ckptsurgeon.measuring.bins import count_bins
from ckptsurgeon.measuring.histograms import Histogram
from ckptsurgeon.measuring.numbers import numbers_of
from ckptsurgeon.measuring.scratch import Scratch
from ckptsurgeon.measuring.statistics import Moments, Statistics
from ckptsurgeon.ops.carriers import Array
from ckptsurgeon.specs import BITS

WIDEST = 16
"""Bits of the widest number that is counted so."""

PATTERNS = 1 << WIDEST
"""Counts of a table. That of numbers of 8 bits counts two at a time, as the bins do."""

FEWEST = 1 << 18
"""Numbers from which on a table is worth its own size."""


class Tally:
    """How often each pattern of bits stands in a tensor. Not for several threads at once."""

    def __init__(self, code: str, scratch: Scratch) -> None:
        self._code, self._scratch = code, scratch
        self._numbers = numbers_of(code)
        self._is_paired = BITS[code] == 8
        self._zeros = np.flatnonzero(self._numbers == 0)
        self._counts: Array = np.zeros(len(self._numbers), np.int64)

    def add(self, run: Array) -> int:
        """Takes in the bytes of a chunk; how many of its numbers are zero."""
        pairs = run[: len(run) & ~1].view("<u2")
        patterns = self._scratch.take(np.dtype(np.intp), len(pairs))
        np.copyto(patterns, pairs)
        counts = np.bincount(patterns, minlength=PATTERNS)
        if self._is_paired:
            counts = counts.reshape(256, 256).sum(0) + counts.reshape(256, 256).sum(1)
            if len(run) & 1:
                counts[run[-1]] += 1
        self._counts += counts
        return int(counts[self._zeros].sum())

    @property
    def statistics(self) -> Statistics:
        """What is known of the numbers."""
        counts, numbers = self._counts, self._numbers
        finite = weigh(numbers, np.where(np.isfinite(numbers), counts, 0), self._scratch)
        return Statistics(
            int(counts.sum()),
            int(counts[np.isnan(numbers)].sum()),
            int(counts[numbers == np.inf].sum()),
            int(counts[numbers == -np.inf].sum()),
            int(counts[self._zeros].sum()),
            *finite,
        )


def weigh(
    numbers: Array, counts: Array, scratch: Scratch
) -> tuple[float | None, float | None, Moments, Histogram]:
    """The range, the moments and the histogram of numbers that stand so many times each."""
    there = counts > 0
    if not there.any():
        return None, None, Moments(), Histogram()
    some, times = numbers[there], counts[there]
    total = int(times.sum())
    mean = float((some * times).sum()) / total
    apart = some - mean
    rest = float((apart * times).sum())
    squares = float((apart * apart * times).sum()) - rest * (rest / total)
    least, most = float(some.min()), float(some.max())
    moments = Moments(total, mean + rest / total, max(squares, 0.0))
    return least, most, moments, count_bins(some, times, least, most, scratch)
