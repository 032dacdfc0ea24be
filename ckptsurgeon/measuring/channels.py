"""Channels whose values are all zero: rows of dim 0, also where one comes in several runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ckptsurgeon.ops.carriers import Array


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of the rows in some numbers that follow each other.

    `zero` counts rows that lie in them whole, and are zero. `parts` are those of which but a part
    may lie in them, each with whether that part is zero.
    """

    zero: int = 0
    parts: tuple[tuple[int, bool], ...] = ()


def find_rows(zeros: Array, at: int, size: int) -> Rows:
    """Rows of so many numbers, the first number being that of place `at`; flags say which are 0."""
    first = at // size
    starts = np.arange(first, -(-(at + len(zeros)) // size)) * size - at
    starts[0] = 0
    are_zero = np.logical_and.reduceat(zeros, starts)
    ends = sorted({0, len(starts) - 1})
    parts = tuple((first + place, bool(are_zero[place])) for place in ends)
    return Rows(int(np.count_nonzero(are_zero[1:-1])), parts)


def skip_rows(count: int, at: int, size: int) -> Rows:
    """The same of numbers none of which is 0."""
    ends = sorted({at // size, (at + count - 1) // size})
    return Rows(0, tuple((row, False) for row in ends))


def count_zero_rows(found: Iterable[Rows]) -> int:
    """How many rows are zero, by what is known of all their parts."""
    total, parts = 0, dict[int, bool]()
    for rows in found:
        total += rows.zero
        for row, is_zero in rows.parts:
            parts[row] = parts.get(row, True) and is_zero
    return total + sum(parts.values())
