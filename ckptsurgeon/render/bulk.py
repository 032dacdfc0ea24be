"""Very many tensors folded with little memory for each, to the lines that `lines.py` gives.

Most of a million keys are experts and layers of which every tensor stands alone in its module and
goes along with its origin. Those are folded as numbers; the rest goes the long way.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar, overload

from ckptsurgeon.folding import (
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
        if all(bucket.simple and bucket.distinct for bucket in buckets) and _lie_apart(buckets):
            found += itertools.chain(*(bucket.lines() for bucket in buckets))
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
        self._afters: dict[int, TensorSpec | None] = {}
        self._befores: dict[int, TensorSpec | None] = {}
        self._alike = "%s".join(_quoted(self.origin[0])) if self.origin else ""
        self._count = len(self.origin[1]) if self.origin else 0

    def takes(self, entry: Entry, digits: list[str]) -> bool:
        """Whether an entry of the same form of key has the same form of origin, too.

        Origins with the first integers of their keys, as most have, are told without reading them.
        """
        if self.origin is None:
            return True
        return self._goes_along(entry, digits) or read_key(entry.origins[0])[0] == self.origin

    def _goes_along(self, entry: Entry, digits: list[str]) -> bool:
        """Whether the origin has the first integers of the key."""
        alike = len(digits) >= self._count
        return alike and self._alike % tuple(digits[: self._count]) == entry.origins[0]

    def add(self, number: int, entry: Entry, digits: list[str]) -> None:
        """Notes an entry with the integers of its key."""
        self.members.append(number)
        self._points.extend(map(int, digits))
        self._afters[id(entry.after)] = entry.after
        self._befores[id(entry.before)] = entry.before
        if not self.simple or self.origin is None:
            return
        if self._run is not None or not self._goes_along(entry, digits):
            self.simple = self._follow(tuple(map(int, digits)), read_key(entry.origins[0])[1])

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

    @property
    def distinct(self) -> bool:
        """Whether no key stands twice, as one of several stages can."""
        return len(set(self._all_points())) == len(self.members)

    def lines(self) -> Iterator[tuple[int, Line]]:
        """The lines of the entries, each with the number of its first one."""
        points = self._all_points()
        found = boxes(sorted(points))
        if len(found) == 1:
            numbers = [self.members[0]]
        else:
            by_point = dict(zip(points, self.members, strict=True))
            numbers = [min(map(by_point.__getitem__, itertools.product(*axes))) for axes in found]
        for number, axes in zip(numbers, found, strict=True):
            yield number, self._line(axes)

    def _line(self, axes: tuple[Point, ...]) -> Line:
        origins: tuple[Box, ...] = ()
        if self.origin is not None:
            number = len(self.origin[1])
            taken = axes[:number] if self._run is None else tuple(self._run.origin_axes(axes))
            origins = (Box(self.origin, taken),)
        box = Box(self.template, axes)
        before = spec_range(self._befores.values()) if self.first.changed else ""
        after = spec_range(self._afters.values())
        return Line(box, (), origins, self.first.label, box.count, before, after)


def _axes(point: Point) -> list[Point]:
    return [(value,) for value in point]


def _quoted(texts: Sequence[str]) -> Iterator[str]:
    return (text.replace("%", "%%") for text in texts)


def _buckets(entries: Sequence[Entry]) -> Iterator[Bucket]:
    found: dict[Hashable, list[Bucket]] = {}
    kinds: dict[int, Hashable] = {}
    for number, entry in enumerate(entries):
        parts = INTEGER.split(entry.key, MAX_HOLES)
        digits = parts[1::2]
        before, after = id(entry.before), id(entry.after)
        if before not in kinds or after not in kinds:
            kinds[before], kinds[after] = _kind(entry.before), _kind(entry.after)
        specs = kinds[before], kinds[after], before != after and entry.changed
        kind = (
            *parts[::2],
            widths_of(digits),
            entry.label,
            specs,
            len(entry.origins),
            entry.origins[1:],
        )
        alike = found.setdefault(kind, [])
        bucket = next((one for one in alike if one.takes(entry, digits)), None)
        if bucket is None:
            bucket = Bucket(entry)
            alike.append(bucket)
        bucket.add(number, entry, digits)
    return itertools.chain.from_iterable(found.values())


def _kind(spec: TensorSpec | None) -> Hashable:
    return None if spec is None else (spec.dtype, len(spec.shape))
