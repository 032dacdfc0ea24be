"""Very many tensors folded with little memory for each, to the lines that `lines.py` gives.

Most of a million keys are experts and layers of which every tensor stands alone in its module and
goes along with its origin. Those are folded as numbers; the rest goes the long way.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar, overload

from ckptsurgeon.folding import Box, Point, Run, Template, boxes, read_key
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
        if _lie_apart(buckets) and all(bucket.simple and bucket.distinct for bucket in buckets):
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

    def __init__(self, entry: Entry, template: Template, origin: Template | None) -> None:
        self.first, self.template, self.origin = entry, template, origin
        module, dot, _ = entry.key.rpartition(".")
        self.module, integers = read_key(module)
        named_alike = bool(dot) and len(integers) == len(template[1])
        self.simple = named_alike and len(entry.origins) < 2
        self.members = array("q")
        self._points = array("q")
        self._run: Run | None = None
        self._afters: dict[int, TensorSpec | None] = {}
        self._befores: dict[int, TensorSpec | None] = {}

    def add(self, number: int, entry: Entry, point: Point, origin: Point | None) -> None:
        """Notes an entry with its key's integers, and those of its origin's key."""
        self.members.append(number)
        self._points.extend(point)
        self._afters.setdefault(id(entry.after), entry.after)
        self._befores.setdefault(id(entry.before), entry.before)
        if self.simple and origin is not None and not self._alike(point, origin):
            self.simple = self._follow(point, origin)

    def _alike(self, point: Point, origin: Point) -> bool:
        """Whether the origins' integers are the first ones of the keys', as they mostly are."""
        return self._run is None and origin == point[: len(origin)]

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


def _buckets(entries: Sequence[Entry]) -> Iterator[Bucket]:
    found: dict[Hashable, Bucket] = {}
    kinds: dict[int, Hashable] = {}
    for number, entry in enumerate(entries):
        template, point = read_key(entry.key)
        origin, origin_point = read_key(entry.origins[0]) if entry.origins else (None, None)
        specs = tuple(
            kinds.get(id(spec)) or kinds.setdefault(id(spec), _kind(spec))
            for spec in (entry.before, entry.after)
        )
        kind = (template, origin, entry.label, specs, entry.changed, entry.origins[1:])
        bucket = found.get(kind)
        if bucket is None:
            bucket = found[kind] = Bucket(entry, template, origin)
        bucket.add(number, entry, point, origin_point)
    return iter(found.values())


def _kind(spec: TensorSpec | None) -> Hashable:
    return None if spec is None else (spec.dtype, len(spec.shape))
