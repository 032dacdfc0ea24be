"""Regions of one tensor: boxes that tile it, and what slices of it share and leave."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops.indexing import Region
from ckptsurgeon.specs import row_strides

MAX_COMPARISONS = 1_000_000
"""How often parts of one tensor are compared with each other, which takes a second or two."""


def boxes(shape: tuple[int, ...], items: int) -> Iterator[Region]:
    """A tensor cut in row order into boxes of about so many items, each a stretch of the order."""
    inner, dim = 1, len(shape)
    while dim and inner * shape[dim - 1] <= items:
        dim -= 1
        inner *= shape[dim]
    if dim == 0:
        yield tuple(map(range, shape))
        return
    behind = tuple(map(range, shape[dim:]))
    rows = max(1, items // inner)
    for leading in itertools.product(*map(range, shape[: dim - 1])):
        for start in range(0, shape[dim - 1], rows):
            stop = min(start + rows, shape[dim - 1])
            yield (*(range(at, at + 1) for at in leading), range(start, stop), *behind)


def grained_boxes(shape: tuple[int, ...], grain: Sequence[int], items: int) -> Iterator[Region]:
    """A tensor cut into boxes of about so many items, which begin at multiples of a grain.

    They are no smaller than a grain, but for the last on each dim. Where the grain is 1 on all
    dims, each is a stretch of the row order.
    """
    sizes = list(shape)
    for dim, least in enumerate(grain):
        others = math.prod(sizes) // max(sizes[dim], 1)
        fitting = items // max(others, 1) // least * least
        sizes[dim] = min(max(fitting, least), shape[dim])
    starts = (range(0, size, max(own, 1)) for size, own in zip(shape, sizes, strict=True))
    for at in itertools.product(*starts):
        ends = zip(at, sizes, shape, strict=True)
        yield tuple(range(start, min(start + own, size)) for start, own, size in ends)


def stretches(box: Region, shape: tuple[int, ...]) -> Iterator[Region]:
    """A box of a tensor of that shape as stretches of the row order, as few as there are."""
    whole = len(shape)
    while whole and len(box[whole - 1]) == shape[whole - 1]:
        whole -= 1
    before = box[: max(whole - 1, 0)]
    for leading in itertools.product(*before):
        yield (*(range(at, at + 1) for at in leading), *box[len(before) :])


def within(region: Region, box: Region) -> Region:
    """A region of a tensor as one of the box that it lies in."""
    pairs = zip(region, box, strict=True)
    return tuple(range(own.start - of.start, own.stop - of.start) for own, of in pairs)


def first_item(box: Region, shape: tuple[int, ...]) -> int:
    """The number of the first item of a box, in the row order of its tensor."""
    strides = row_strides(shape)
    return sum(own.start * stride for own, stride in zip(box, strides, strict=True))


def overlap(one: Region, other: Region) -> bool:
    """Whether two slices of one tensor share an element: they do where every dim does."""
    return all(_common(a, b) for a, b in zip(one, other, strict=True))


def _common(a: range, b: range) -> range:
    """The positions that are in both."""
    if a.step == 1 and b.step == 1:
        return range(max(a.start, b.start), min(a.stop, b.stop))
    divisor = math.gcd(a.step, b.step)
    if not a or not b or (b[0] - a[0]) % divisor:
        return range(0)
    first, last = max(a[0], b[0]), min(a[-1], b[-1])
    period = b.step // divisor
    turns = ((b[0] - a[0]) // divisor * pow(a.step // divisor, -1, period)) % period
    common = a[0] + turns * a.step
    lcm = a.step * period
    if common < first:
        common += -(-(first - common) // lcm) * lcm
    return range(common, last + 1, lcm)


def overlapping(regions: Sequence[Region]) -> tuple[int, int] | None:
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


def _extents(regions: Sequence[Region]) -> list[tuple[int, int]]:
    """First and last position of each region on the dim that tells most of them apart."""
    dims = [
        [(part[0], part[-1]) if part else (0, 0) for part in dim]
        for dim in zip(*regions, strict=True)
    ]
    return max(dims, key=lambda extents: len(set(extents)), default=[(0, 0)] * len(regions))


MOST_PIECES = 10_000
"""Into how many regions what is left of one is cut."""


def uncovered(region: Region, others: Iterable[Region]) -> list[Region]:
    """What of a region no other takes, as regions that share nothing; none if they are too many."""
    left = [region]
    for other in (other for other in others if overlap(other, region)):
        pieces = (_around(other, one) if overlap(one, other) else (one,) for one in left)
        left = list(itertools.islice(itertools.chain.from_iterable(pieces), MOST_PIECES + 1))
        if len(left) > MOST_PIECES:
            return []
    return left


def _around(hole: Region, region: Region) -> Iterator[Region]:
    """What is left of a region around a hole that meets it, dim by dim."""
    inner = list(region)
    for dim, (own, cut) in enumerate(zip(region, hole, strict=True)):
        common = _common(own, cut)
        first, last = own.index(common[0]), own.index(common[-1])
        turn = common.step // own.step if len(common) > 1 else 1
        between = (own[first + at : last : turn] for at in range(1, turn))
        for side in itertools.chain((own[:first], own[last + 1 :]), between):
            if side:
                yield (*inner[:dim], side, *inner[dim + 1 :])
        inner[dim] = common


def taken_count(region: Region) -> int:
    """How many elements a slice takes."""
    return math.prod(map(len, region))


MOST_REGIONS = 1000
"""Most overlapping regions of one tensor whose elements are counted."""


def covered_count(regions: Sequence[Region]) -> int:
    """How many elements any of the regions takes; where that takes too long, never too many."""
    if len(regions) < 2 or overlapping(regions) is None:
        return sum(map(taken_count, regions))
    largest_first = sorted(dict.fromkeys(regions), key=taken_count, reverse=True)[:MOST_REGIONS]
    added = (uncovered(one, largest_first[:at]) for at, one in enumerate(largest_first))
    return sum(taken_count(piece) for pieces in added for piece in pieces)
