"""The rank of a difference, as a merged LoRA leaves it, told from a corner of the matrix."""

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

HIGHEST = 64
"""The highest rank that is told: a corner of full rank tells nothing."""

GAP = 100.0
"""How many times as large as the next a pivot is, behind which only rounding comes."""


MOST = 0.75
"""The share of the corner's rows, and of its columns, that must differ somewhere."""


ROUNDINGS = 16
"""How many roundings of the largest value may be left where a difference has its rank."""


class Corner:
    """Some differences of a matrix, kept while all of them come by in order.

    They are the first ones of rows that lie evenly from the first to the last.
    """

    def __init__(self, shape: tuple[int, ...], rounding: float) -> None:
        self._stride, self._rounding = math.prod(shape[1:]), rounding
        count = min(shape[0], ROWS)
        self._firsts = [shape[0] * row // count * self._stride for row in range(count)]
        self._kept = np.zeros((count, min(self._stride, COLUMNS)))
        self._at, self._largest = 0, 0.0

    def add(self, delta: Array, x: Array, y: Array) -> None:
        """Keeps what the next differences, of these values, have of the corner."""
        start, end = self._at, self._at + len(delta)
        self._at, columns = end, self._kept.shape[1]
        for row in range(bisect_right(self._firsts, start - columns), len(self._firsts)):
            first = self._firsts[row]
            if first >= end:
                break
            part = slice(max(start, first) - start, min(end, first + columns) - start)
            place = start - first
            self._kept[row, part.start + place : part.stop + place] = delta[part]
            sizes = np.abs(x[part]).max(initial=0), np.abs(y[part]).max(initial=0)
            self._largest = max(self._largest, *map(float, sizes))

    def skip(self, count: int) -> None:
        """Counts differences that are all zero."""
        self._at += count

    @property
    def rank(self) -> int:
        """The rank, where it is low and only rounding is left; else 0, also where few rows differ.

        What is left behind the pivots is held against the rounding of the values.
        """
        differ = self._kept != 0
        if min(differ.any(0).mean(), differ.any(1).mean()) < MOST:
            return 0
        if not np.isfinite(self._kept).all():
            return 0
        sizes = _pivots(self._kept, min(HIGHEST, min(self._kept.shape) // 2))
        noise = ROUNDINGS * self._rounding * self._largest
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
