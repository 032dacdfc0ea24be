"""The rank of a difference, as a merged LoRA leaves it, told from a corner of the matrix."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

ROWS, COLUMNS = 80, 160
"""The corner that is kept: its rank is that of the whole, where the whole has less than its rows.

So it is of any matrix but those that are made to be otherwise.
"""

HIGHEST = 64
"""The highest rank that is told: a corner of full rank tells nothing."""

GAP = 100.0
"""How many times as large as the next a pivot is, behind which only rounding comes."""


MOST = 0.75
"""The share of the corner's rows, and of its columns, that must differ somewhere."""


class Corner:
    """The first differences of a matrix's first rows, kept while all of them come by in order."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        rows, columns = shape[0], math.prod(shape[1:])
        self._stride = columns
        self._kept = np.zeros((min(rows, ROWS), min(columns, COLUMNS)))
        self._at = 0

    def add(self, delta: Array) -> None:
        """Keeps what the next differences have of the corner."""
        start, end = self._at, self._at + len(delta)
        self._at = end
        rows, columns = self._kept.shape
        for row in range(start // self._stride, min(rows, -(-end // self._stride))):
            first = row * self._stride
            low, high = max(start, first), min(end, first + columns)
            if low < high:
                self._kept[row, low - first : high - first] = delta[low - start : high - start]

    def skip(self, count: int) -> None:
        """Counts differences that are all zero."""
        self._at += count

    @property
    def rank(self) -> int:
        """The rank, where it is low and plain: 0 where it is not, or where few rows differ."""
        differ = self._kept != 0
        if not np.isfinite(self._kept).all():
            return 0
        if min(differ.any(0).mean(), differ.any(1).mean()) < MOST:
            return 0
        sizes = _pivots(self._kept, min(HIGHEST, min(self._kept.shape) // 2))
        falls = [size > GAP * behind for size, behind in itertools.pairwise(sizes)]
        return falls.index(True) + 1 if True in falls else 0


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
