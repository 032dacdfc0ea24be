"""How far values moved, drawn: a heat strip of what repeats, and differences by their size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptsurgeon.comparing.change import Change
from ckptsurgeon.render.changes import (
    ChangeLine,
    find_heights,
    list_figures,
    tell_number,
    tell_share,
)
from ckptsurgeon.specs import plural

MOST_BINS = 32
"""Powers of two that a histogram has room for: what is smaller is counted with the smallest."""

TALLEST = 20


class Block(NamedTuple):
    """A bar of a histogram, in its own units."""

    x: int
    height: float


@dataclass(frozen=True, slots=True)
class SizeChart:
    """Differences by powers of two; `least` and `most` are where it begins and ends."""

    blocks: tuple[Block, ...]
    bins: int
    least: str
    most: str
    label: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A line: how deep it stands, its figures, the strip of its siblings, its differences."""

    label: str
    depth: int
    figures: tuple[str, ...]
    heights: tuple[int, ...]
    strip_label: str
    histogram: SizeChart | None
    told: str


@dataclass(frozen=True, slots=True)
class Scale:
    """The powers of two, from the first to behind the last, that all histograms of a page have."""

    first: int
    end: int

    @classmethod
    def of(cls, whole: Change) -> Scale:
        """That of all values: as far down from the largest difference as there is room."""
        end = max(whole.sizes, default=0) + 1
        return cls(max(min(whole.sizes, default=0), end - MOST_BINS), end)

    def draw(self, sizes: Mapping[int, int]) -> SizeChart | None:
        """The histogram of some differences; None where there is none."""
        counts = [0] * (self.end - self.first)
        for size, count in sizes.items():
            counts[max(size, self.first) - self.first] += count
        highest = max(counts, default=0)
        if not highest:
            return None
        blocks = (Block(x, TALLEST * count / highest) for x, count in enumerate(counts) if count)
        commonest = tell_number(2.0 ** (self.first + counts.index(highest)))
        ends = tell_number(2.0**self.first), tell_number(2.0**self.end)
        label = f"|Δ| from {ends[0]} to {ends[1]}, most of them about {commonest}"
        return SizeChart(tuple(blocks), len(counts), *ends, label)


def draw_line(line: ChangeLine, scale: Scale) -> Moved:
    """The line with its drawings."""
    whole = line.whole
    return Moved(
        line.label,
        line.depth,
        list_figures(whole),
        tuple(find_heights(line.changes)),
        _describe(line.changes),
        scale.draw(line.counted.sizes),
        line.told,
    )


def _describe(changes: Sequence[Change]) -> str:
    """`relative L2 of 12 siblings, 0.25% to 2.4%, the most in number 12`."""
    moved = [one.relative for one in changes]
    known = [one for one in moved if math.isfinite(one)] or [0.0]
    ends = f"{tell_share(min(known))} to {tell_share(max(known))}"
    most = moved.index(max(moved)) + 1 if moved else 0
    return f"relative L2 of {plural(len(moved), 'sibling')}, {ends}, the most in number {most}"
