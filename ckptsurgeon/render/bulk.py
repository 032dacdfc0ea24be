"""Very many tensors folded with little memory for each, to the lines that `lines.py` gives.

Most of a million keys are experts and layers of which every tensor stands alone in its module and
goes along with its origin. Those are folded as numbers; the rest goes the long way.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar, overload

from ckptsurgeon.keys import (
    INTEGER,
    MAX_HOLES,
    Box,
    Point,
    Run,
    Template,
    boxes,
    read_key,
    widths_of,
)
from ckptsurgeon.render.lines import Entry, Line, fold_entries, join, spec_range
from ckptsurgeon.specs import TensorSpec

MANY = 5_000
"""Entries from which on this way is taken."""

T = TypeVar("T")


class Entries(Sequence[Entry], Generic[T]):
    """Entries that are made of other things whenever they are looked at."""

    def __init__(self, things: Sequence[T], make: Callable[[T], Entry]) -> None:
        self._things, self._make = things, make

    def __len__(self) -> int:
        return len(self._things)

    def __iter__(self) -> Iterator[Entry]:
        return map(self._make, self._things)

    @overload
    def __getitem__(self, at: int) -> Entry: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Entry]: ...

    def __getitem__(self, at: int | slice) -> Entry | Sequence[Entry]:
        if isinstance(at, slice):
            return Entries(self._things[at], self._make)
        return self._make(self._things[at])


def fold(entries: Sequence[Entry]) -> list[Line]:
    """The lines of `fold_entries`, whatever the number of entries."""
    if len(entries) < MANY:
        return fold_entries(entries)
    by_module: dict[Template, list[Bucket]] = {}
    for bucket in _buckets(entries):
        by_module.setdefault(bucket.module, []).append(bucket)
    found: list[tuple[int, Line]] = []
    rest: list[int] = []
    for buckets in by_module.values():
        folded = [bucket.folded() for bucket in buckets]
        if all(folded) and _lie_apart(buckets):
            for bucket, axes in zip(buckets, folded, strict=True):
                found += bucket.lines(axes)
        else:
            rest += itertools.chain(*(bucket.members for bucket in buckets))
    return [line for _, line in sorted([*found, *_long_way(entries, sorted(rest))], key=_first)]


def _lie_apart(buckets: Sequence[Bucket]) -> bool:
    """Whether buckets of alike modules surely share no module: they differ in one integer."""
    if len(buckets) == 1:
        return True
    holes = zip(*(bucket.values for bucket in buckets), strict=True)
    return any(sum(map(len, values)) == len(set().union(*values)) for values in holes)


def _first(item: tuple[int, Line]) -> int:
    return item[0]


def _long_way(entries: Sequence[Entry], members: Sequence[int]) -> Iterator[tuple[int, Line]]:
    """The lines of some entries, each with the number of its first one."""
    chosen = [entries[number] for number in members]
    numbers = {entry.key: number for entry, number in zip(chosen, members, strict=True)}
    for line in fold_entries(chosen):
        names = line.names[:1]
        firsts = (join(key, names[0]) if names else key for key in line.box.keys)
        yield min(numbers[key] for key in firsts), line


class Bucket:
    """Entries of one form: they differ in the integers of their keys alone."""

    def __init__(self, entry: Entry) -> None:
        self.first = entry
        self.template: Template = read_key(entry.key)[0]
        self.origin: Template | None = read_key(entry.origins[0])[0] if entry.origins else None
        module, dot, _ = entry.key.rpartition(".")
        self.module, integers = read_key(module)
        named_alike = bool(dot) and len(integers) == len(self.template[1])
        self.simple = named_alike and len(entry.origins) < 2
        self.members = array("q")
        self._points = array("q")
        self._run: Run | None = None
        self._specs: dict[tuple[int, int], Entry] = {}
        self._alike = "%s".join(_quoted(self.origin[0])) if self.origin else ""
        self._count = len(self.origin[1]) if self.origin else 0

    def take(self, number: int, entry: Entry, digits: list[str], specs: tuple[int, int]) -> bool:
        """Whether an entry of the same form of key has the same form of origin; it is then noted.

        Origins with the first integers of their keys, as most have, are told without reading them.
        `digits` are the integers of the key, `specs` tells apart what may differ in size alone.
        """
        alike = self.origin is None or (
            len(digits) >= self._count
            and self._alike % tuple(digits[: self._count]) == entry.origins[0]
        )
        if not alike and read_key(entry.origins[0])[0] != self.origin:
            return False
        self.members.append(number)
        self._points.extend(map(int, digits))
        self._specs[specs] = entry
        if self.simple and self.origin is not None and not (alike and self._run is None):
            self.simple = self._follow(tuple(map(int, digits)), read_key(entry.origins[0])[1])
        return True

    def _follow(self, point: Point, origin: Point) -> bool:
        """Whether the origins' integers still go along with the keys'; up to here they equalled."""
        if self._run is None:
            before = self._all_points()[:-1]
            number = len(origin)
            self._run = Run.start(0, point, _axes(origin))
            if not all(self._run.take(0, one, _axes(one[:number])) for one in before):
                return False
        return self._run.take(0, point, _axes(origin))

    def _all_points(self) -> list[Point]:
        width = len(self.template[1])
        if not width:
            return [()] * len(self.members)
        numbers = iter(self._points)
        return list(zip(*[numbers] * width, strict=True))

    @property
    def values(self) -> list[set[int]]:
        """The integers in each hole."""
        width = len(self.template[1])
        return [set(self._points[hole::width]) for hole in range(width)]

    def folded(self) -> list[tuple[Point, ...]]:
        """The boxes of the integers, none where the bucket must go the long way.

        That is where a key stands twice, as one of several stages can, and where boxes would have
        to tell their sizes apart.
        """
        points = self._all_points()
        if not self.simple or len(set(points)) != len(points):
            return []
        found = boxes(sorted(points))
        return found if len(found) == 1 or self._is_of_one_size() else []

    def _is_of_one_size(self) -> bool:
        return len({(entry.before, entry.after) for entry in self._specs.values()}) == 1

    def lines(self, found: list[tuple[Point, ...]]) -> Iterator[tuple[int, Line]]:
        """The line of each box, with the number of its first entry."""
        if len(found) == 1:
            yield self.members[0], self._line(found[0])
            return
        numbers = dict(zip(self._all_points(), self.members, strict=True))
        for axes in found:
            first = min(map(numbers.__getitem__, itertools.product(*axes)))
            yield first, self._line(axes)

    def _line(self, axes: tuple[Point, ...]) -> Line:
        origins: tuple[Box, ...] = ()
        if self.origin is not None:
            number = len(self.origin[1])
            taken = axes[:number] if self._run is None else tuple(self._run.origin_axes(axes))
            origins = (Box(self.origin, taken),)
        box = Box(self.template, axes)
        told = self._specs.values()
        before = spec_range(entry.before for entry in told) if self.first.changed else ""
        after = spec_range(entry.after for entry in told)
        return Line(box, (), origins, self.first.label, box.count, before, after)


def _axes(point: Point) -> list[Point]:
    return [(value,) for value in point]


def _quoted(texts: Sequence[str]) -> Iterator[str]:
    return (text.replace("%", "%%") for text in texts)


def _buckets(entries: Sequence[Entry]) -> Iterator[Bucket]:
    found: dict[Hashable, list[Bucket]] = {}
    kinds: dict[tuple[int, int], Hashable] = {}
    for number, entry in enumerate(entries):
        parts = INTEGER.split(entry.key, MAX_HOLES)
        digits = parts[1::2]
        specs = id(entry.before), id(entry.after)
        if specs not in kinds:
            kinds[specs] = _kind(entry.before), _kind(entry.after), entry.changed
        others = len(entry.origins), entry.origins[1:]
        kind = (*parts[::2], widths_of(digits), entry.label, kinds[specs], others)
        alike = found.setdefault(kind, [])
        for bucket in alike:
            if bucket.take(number, entry, digits, specs):
                break
        else:
            alike.append(Bucket(entry))
            alike[-1].take(number, entry, digits, specs)
    return itertools.chain.from_iterable(found.values())


def _kind(spec: TensorSpec | None) -> Hashable:
    return None if spec is None else (spec.dtype, len(spec.shape))
