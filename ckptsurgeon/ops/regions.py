"""Slices of one tensor held against each other: which of them share elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops.indexing import Taken

MAX_COMPARISONS = 1_000_000
"""How often parts of one tensor are compared with each other, which takes a second or two."""


def overlap(one: Taken, other: Taken) -> bool:
    """Whether two slices of one tensor share an element: they do where every dim does."""
    return all(_meet(a, b) for a, b in zip(one, other, strict=True))


def _meet(one: int | range, other: int | range) -> bool:
    a = range(one, one + 1) if isinstance(one, int) else one
    b = range(other, other + 1) if isinstance(other, int) else other
    if not a or not b:
        return False
    first, last = max(a[0], b[0]), min(a[-1], b[-1])
    if a.step == 1 and b.step == 1:
        return first <= last
    divisor = math.gcd(a.step, b.step)
    if (b[0] - a[0]) % divisor:
        return False
    period = b.step // divisor
    turns = ((b[0] - a[0]) // divisor * pow(a.step // divisor, -1, period)) % period
    common = a[0] + turns * a.step
    lcm = a.step * period
    if common < first:
        common += -(-(first - common) // lcm) * lcm
    return common <= last


def overlapping(regions: Sequence[Taken]) -> tuple[int, int] | None:
    """Two regions of one tensor that share an element, by their numbers; None where none do.

    The regions are passed in order of one dim, and only those are compared that reach each other
    there. Raises ShapeError where that would still take too long.
    """
    if len(regions) < 2:
        return None
    extents = _extents(regions)
    work, reaching = 0, list[int]()
    for at in sorted(range(len(regions)), key=extents.__getitem__):
        reaching = [other for other in reaching if extents[other][1] >= extents[at][0]]
        work += len(reaching)
        if work > MAX_COMPARISONS:
            raise ShapeError(f"{len(regions)} parts of one tensor that interleave are too many")
        for other in reaching:
            if overlap(regions[at], regions[other]):
                return min(at, other), max(at, other)
        reaching.append(at)
    return None


def _extents(regions: Sequence[Taken]) -> list[tuple[int, int]]:
    """First and last position of each region on the dim that tells most of them apart."""
    dims = [[_extent(region[dim]) for region in regions] for dim in range(len(regions[0]))]
    return max(dims, key=lambda extents: len(set(extents)), default=[(0, 0)] * len(regions))


def _extent(item: int | range) -> tuple[int, int]:
    if isinstance(item, int):
        return item, item
    return (item[0], item[-1]) if item else (0, 0)


def taken_count(region: Taken) -> int:
    """How many elements a slice takes."""
    return math.prod(1 if isinstance(item, int) else len(item) for item in region)
