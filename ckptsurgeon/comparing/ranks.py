"""The rank of a difference, as a merged LoRA leaves it, told from a part of the matrix."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

ROWS, COLUMNS = 80, 160
"""The rows and columns that are kept: they have the rank of the whole, if that is below both.

So it is of any matrix but those that are made to be otherwise.
"""

HIGHEST = ROWS // 2 - 1
"""The highest rank that is looked for: below that of half of the rows."""

GAP = 100.0
"""How many times as large as the next a pivot is, behind which only rounding comes."""

MOST = 0.75
"""The share of the corner's rows, and of its columns, that must differ somewhere."""

ROUNDINGS = 16
"""How many roundings of the largest value may be left where a difference has its rank."""


class Corner:
    """Some differences of a matrix, kept while all of them come by in order.

    They stand in rows, and in columns, that lie evenly from the first to the last.
    """

    def __init__(self, shape: tuple[int, ...], rounding: float) -> None:
        self._stride, self._rounding = math.prod(shape[1:]), rounding
        count = min(shape[0], ROWS)
        self._firsts = [shape[0] * row // count * self._stride for row in range(count)]
        width = min(self._stride, COLUMNS)
        self._columns = np.arange(width) * self._stride // max(width, 1)
        self._kept = np.zeros((count, width))
        self._at, self._largest = 0, 0.0

    def add(self, delta: Array, x: Array, y: Array) -> None:
        """Keeps what the next differences, of these values, have of the corner."""
        start, end = self._at, self._at + len(delta)
        self._at = end
        for row in range(bisect_right(self._firsts, start - self._stride), len(self._firsts)):
            first = self._firsts[row]
            if first >= end:
                break
            low, high = np.searchsorted(self._columns, (start - first, end - first))
            places = self._columns[low:high] + (first - start)
            self._kept[row, low:high] = delta[places]
            sizes = np.abs(x[places]).max(initial=0), np.abs(y[places]).max(initial=0)
            self._largest = max(self._largest, *map(float, sizes))

    def skip(self, count: int) -> None:
        """Counts differences that are all zero."""
        self._at += count

    @property
    def rank(self) -> int:
        """The rank, where it is low and only rounding is left; else 0, also where few rows differ.

        What is left behind the pivots is held against the rounding of the values. Half of the rows
        and columns must have the same rank: else some of them have one of their own.
        """
        differ = self._kept != 0
        if min(differ.any(0).mean(), differ.any(1).mean()) < MOST:
            return 0
        if not np.isfinite(self._kept).all():
            return 0
        noise = ROUNDINGS * self._rounding * self._largest
        rank, half = (_find_rank(some, noise) for some in (self._kept, self._kept[::2, ::2]))
        return rank if rank == half else 0


def _find_rank(matrix: Array, noise: float) -> int:
    """The rank of a matrix but for noise, where it is low and plain; else 0."""
    sizes = _pivots(matrix, min(HIGHEST, min(matrix.shape) - 1))
    ranks = (
        number
        for number, (size, behind) in enumerate(itertools.pairwise(sizes), 1)
        if behind <= noise and size > GAP * behind
    )
    return next(ranks, 0)


def _pivots(matrix: Array, most: int) -> list[float]:
    """The sizes of so many pivots and one more, by Gaussian elimination with the largest first.

    Behind as many as the rank only rounding is left. (No LAPACK, which would start threads.)
    """
    left, sizes = matrix.copy(), []
    for _ in range(most + 1):
        row, column = np.unravel_index(np.abs(left).argmax(), left.shape)
        pivot = left[row, column]
        sizes.append(abs(float(pivot)))
        if not pivot:
            break
        left -= np.outer(left[:, column], left[row] / pivot)
    return sizes
