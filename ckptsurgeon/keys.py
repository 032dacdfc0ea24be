"""Many keys as few: `layer1.0.bn1`, `layer1.1.bn1`, … as `layer<1..4>.<0..1>.bn1`, and back.

A key is a *template* with integers in its holes. Keys of one template fold into *boxes*: products
of sets of integers, exact and disjoint, so that a box says no key that was not there.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

MAX_HOLES = 8
"""Integers of a key that fold; a key with more keeps the rest as text, and recursion ends."""

INTEGER = re.compile(r"(?<![0-9])([0-9]{1,18})(?![0-9])")

_NO_WIDTHS = (0,) * MAX_HOLES

Point = tuple[int, ...]
Template = tuple[tuple[str, ...], tuple[int, ...]]
"""The texts around the holes, and each hole's width (0, or the digits of a zero-padded integer)."""


_DIGITS = re.compile("[0-9]+")


def has_digits(text: str) -> bool:
    """Whether there are integers in a text."""
    return _DIGITS.search(text) is not None


def without_integers(key: str) -> str:
    """The key with `0` for each integer: few such forms stand for a million keys."""
    return _DIGITS.sub("0", key)


def read_key(key: str) -> tuple[Template, Point]:
    """The template of a key and the integers in its holes; `write_key` turns it around."""
    parts = INTEGER.split(key, maxsplit=MAX_HOLES)
    digits = parts[1::2]
    return (tuple(parts[0::2]), widths_of(digits)), tuple(map(int, digits))


def widths_of(digits: Sequence[str]) -> tuple[int, ...]:
    """The width of each integer: 0, or its number of digits where it begins with a zero."""
    for text in digits:
        if text[0] == "0" and text != "0":
            return tuple(len(d) if d[0] == "0" and d != "0" else 0 for d in digits)
    return _NO_WIDTHS[: len(digits)]


def write_key(template: Template, point: Point) -> str:
    """The key of a template with these integers."""
    texts, widths = template
    holes = (f"{value:0{width}d}" for value, width in zip(point, widths, strict=True))
    return _interleave(texts, holes)


def _interleave(texts: Sequence[str], holes: Iterable[str]) -> str:
    return texts[0] + "".join(hole + text for hole, text in zip(holes, texts[1:], strict=True))


@dataclass(frozen=True, slots=True)
class Box:
    """Keys of one template: all combinations of `axes`, a sorted set of integers per hole."""

    template: Template
    axes: tuple[Point, ...]

    @property
    def count(self) -> int:
        return math.prod(map(len, self.axes))

    @property
    def keys(self) -> Iterator[str]:
        """Every key of the box, none twice."""
        return (write_key(self.template, point) for point in itertools.product(*self.axes))

    def __str__(self) -> str:
        texts, widths = self.template
        return _interleave(texts, map(range_text, self.axes, widths))


def range_text(values: Point, width: int = 0) -> str:
    """`7` for one integer, `<0..11>` for a run, `<0..2,5>` for a set with gaps."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    texts = [f"{a:0{width}d}" if a == b else f"{a:0{width}d}..{b:0{width}d}" for a, b in runs]
    return texts[0] if len(values) == 1 else f"<{','.join(texts)}>"


def boxes(points: Iterable[Point]) -> list[tuple[Point, ...]]:
    """Disjoint boxes that hold exactly these points, in the order of their first ones."""
    by_first: dict[int, list[Point]] = {}
    points = list(points)
    if len(points) == 1:
        return [tuple((value,) for value in points[0])]
    if points and len(points[0]) == 1:
        return [(tuple(sorted(point[0] for point in points)),)]
    for point in points:
        if not point:
            return [()]
        by_first.setdefault(point[0], []).append(point[1:])
    by_rest: dict[tuple[tuple[Point, ...], ...], list[int]] = {}
    for first, rests in by_first.items():
        by_rest.setdefault(tuple(sorted(boxes(rests))), []).append(first)
    return [(tuple(sorted(firsts)), *box) for rest, firsts in by_rest.items() for box in rest]


def fold_keys(keys: Iterable[str]) -> list[Box]:
    """Boxes that hold exactly these keys, in the order in which the templates come first."""
    by_template: dict[Template, list[Point]] = {}
    for key in keys:
        template, point = read_key(key)
        by_template.setdefault(template, []).append(point)
    return [Box(t, axes) for t, points in by_template.items() for axes in boxes(points)]


# --- keys with what they come from ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """A key to fold, the boxes of keys that it comes from, and a label that must agree."""

    key: str
    origins: tuple[Box, ...]
    label: Hashable


@dataclass(frozen=True, slots=True)
class Folded:
    """Items whose keys fill a box. The integers of `origins` go along with the box's own.

    `members` are the numbers of the items, in the order of the box's keys.
    """

    box: Box
    origins: tuple[Box, ...]
    label: Hashable
    members: tuple[int, ...]


@dataclass(slots=True)
class Run:
    """Items in a row whose origins hold the same integers, or the key's own plus a constant."""

    members: dict[Point, int]
    fixed: list[Point | None]
    shifts: list[dict[int, int]]

    @classmethod
    def start(cls, number: int, point: Point, axes: Sequence[Point]) -> Run:
        shifts = [
            {hole: axis[0] - value for hole, value in enumerate(point)} if len(axis) == 1 else {}
            for axis in axes
        ]
        return cls({point: number}, list(axes), shifts)

    def take(self, number: int, point: Point, axes: Sequence[Point]) -> bool:
        """Whether the item fits; it is then part of the run."""
        fixed = [axis if axis == old else None for axis, old in zip(axes, self.fixed, strict=True)]
        shifts = [
            {h: d for h, d in old.items() if axis[0] == point[h] + d}
            for axis, old in zip(axes, self.shifts, strict=True)
        ]
        if _followed(fixed, shifts) is None:
            return False
        self.members[point], self.fixed, self.shifts = number, fixed, shifts
        return True

    def origin_axes(self, box: tuple[Point, ...]) -> list[Point]:
        """The origins' integers for a box of the run's keys."""
        holes = _followed(self.fixed, self.shifts) or {}
        return [
            tuple(value + shifts[holes[number]] for value in box[holes[number]])
            if fixed is None
            else fixed
            for number, (fixed, shifts) in enumerate(zip(self.fixed, self.shifts, strict=True))
        ]


def _followed(
    fixed: Sequence[Point | None], shifts: Sequence[dict[int, int]]
) -> dict[int, int] | None:
    """The key's hole that each origin's hole goes along with; None where there is none.

    Two never follow one: `<0..3>.<0..3>` would read as all combinations.
    """
    holes: dict[int, int] = {}
    for number, (constant, offsets) in enumerate(zip(fixed, shifts, strict=True)):
        free = offsets.keys() - holes.values()
        if constant is None and not free:
            return None
        if constant is None:
            holes[number] = min(free, key=lambda hole: (abs(offsets[hole]), abs(hole - number)))
    return holes


def fold_items(items: Sequence[Item]) -> list[Folded]:
    """The items folded where labels agree and origins follow the keys; in order of appearance.

    Items differ in key or label. The work is linear in their number, but for sorting.
    """
    groups: dict[Hashable, list[tuple[Point, int]]] = {}
    for number, item in enumerate(items):
        template, point = read_key(item.key)
        kind = (template, tuple(origin.template for origin in item.origins), item.label)
        groups.setdefault(kind, []).append((point, number))
    folded = [one for group in groups.values() for one in _fold_group(items, sorted(group))]
    return sorted(folded, key=lambda one: min(one.members))


def _fold_group(items: Sequence[Item], group: list[tuple[Point, int]]) -> Iterator[Folded]:
    runs: list[Run] = []
    for point, number in group:
        axes = [axis for origin in items[number].origins for axis in origin.axes]
        if not runs or not runs[-1].take(number, point, axes):
            runs.append(Run.start(number, point, axes))
    for run in runs:
        yield from _fold_run(items, run)


def _fold_run(items: Sequence[Item], run: Run) -> Iterator[Folded]:
    example = items[next(iter(run.members.values()))]
    template, _ = read_key(example.key)
    for axes in boxes(run.members):
        members = tuple(run.members[point] for point in itertools.product(*axes))
        origin_axes = iter(run.origin_axes(axes))
        origins = tuple(
            Box(origin.template, tuple(itertools.islice(origin_axes, len(origin.axes))))
            for origin in example.origins
        )
        yield Folded(Box(template, axes), origins, example.label, members)
