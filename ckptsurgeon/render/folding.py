"""Tensors told as few lines: those of a module on one, repeated modules folded into ranges.

Only what is equal folds: the label (rule, ops), the origin and the kind of the shapes. Entries are
read once, into *forms*. Those of a form differ in integers alone, which it holds in columns: a
million entries take little memory, and each step goes over whole columns.
"""

from __future__ import annotations

import itertools
import operator
from array import array
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeVar

from ckptsurgeon.keys import Box, KeyReader, Point, boxes, read_key, write_key
from ckptsurgeon.render.lines import Entry, Line, spec_range
from ckptsurgeon.specs import TensorSpec

T = TypeVar("T")

Column = Sequence[int]
"""The integers that entries have in one hole."""

Given = str | tuple["Pattern", ...]
"""The shape of the one origin, or the patterns of several."""

Follow = tuple[int | None, int]
"""How the integers of an origin are told: the key's hole that they go along with, and how far off
they are; or None, and the integer that they all are."""


def fold_entries(entries: Iterable[Entry]) -> list[Line]:
    """Lines that tell exactly these entries, in order of appearance.

    Entries that have both key and label in common are told once.
    """
    families: dict[Hashable, list[Form]] = {}
    for form in _read_forms(entries):
        families.setdefault(form.family, []).append(form)
    groups = itertools.chain.from_iterable(map(_join_modules, families.values()))
    lines = itertools.chain.from_iterable(map(_fold_group, groups))
    return [line for _, line in sorted(lines, key=operator.itemgetter(0))]


# --- entries are read into columns ----------------------------------------------------------------


class Pattern(NamedTuple):
    """Keys of one shape. A hole has a column of integers (None), or the same set in every key."""

    shape: str
    holes: tuple[Point | None, ...]

    @classmethod
    def read(cls, shape: str) -> Pattern:
        """That of keys which differ in every integer."""
        return cls(shape, (None,) * len(read_key(shape)[1]))

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.holes.count(None)

    @property
    def module(self) -> Pattern:
        """The modules that the keys stand in."""
        module = self.shape.rpartition(".")[0]
        return Pattern(module, self.holes[: len(read_key(module)[1])])

    def fill(self, axes: Iterator[Point]) -> Box:
        """The box of keys that have these integers in their columns."""
        filled = tuple(next(axes) if hole is None else hole for hole in self.holes)
        return Box(read_key(self.shape)[0], filled)


@dataclass(frozen=True, slots=True)
class Form:
    """Entries that differ in sizes and integers alone: those of the key, then of the origins.

    `patterns` are of these. `is_alike` says that the origins' modules have tensors of the key's own
    name. `numbers` are the places in the order, `befores` are held where a spec changes.
    """

    patterns: tuple[Pattern, ...]
    is_alike: bool
    label: tuple[str, ...]
    changed: bool
    numbers: array[int] = field(default_factory=lambda: array("q"))
    integers: array[int] = field(default_factory=lambda: array("q"))
    afters: list[TensorSpec | None] = field(default_factory=list)
    befores: list[TensorSpec | None] = field(default_factory=list)

    @property
    def in_modules(self) -> bool:
        return bool(self.patterns[0].module.shape)

    @property
    def modules(self) -> tuple[Pattern, ...]:
        """The patterns of the modules; those of whole keys where there are none."""
        key, *origins = self.patterns
        if not self.in_modules:
            return self.patterns
        return (key.module, *(one.module if self.is_alike else one for one in origins))

    @property
    def family(self) -> Hashable:
        """What forms have in common that may have entries of one module."""
        return self.in_modules, self.modules, self.label, self.is_alike, self.changed

    @property
    def names_differ(self) -> bool:
        """Whether there are integers in the last pieces of the keys."""
        return self.modules[0].width < self.patterns[0].width

    @property
    def names(self) -> Iterator[str]:
        """The last piece of each key."""
        shape = self.patterns[0].shape
        if not self.names_differ:
            return itertools.repeat(shape.rpartition(".")[2], len(self.numbers))
        template = read_key(shape)[0]
        points = _rows(self.columns(self.patterns[:1]), len(self.numbers))
        return (write_key(template, point).rpartition(".")[2] for point in points)

    @property
    def identity(self) -> list[Sequence[object]]:
        """What entries of one module have in common, in columns."""
        change = (self.befores, self.afters) if self.changed else ()
        return [*self.columns(self.modules), *change]

    def columns(self, patterns: Sequence[Pattern]) -> list[array[int]]:
        """The columns of patterns, which are the form's own or of the modules."""
        width = sum(one.width for one in self.patterns)
        found, start = [], 0
        for pattern, whole in zip(patterns, self.patterns, strict=False):
            found += [self.integers[start + hole :: width] for hole in range(pattern.width)]
            start += whole.width
        return found


def _read_forms(entries: Iterable[Entry]) -> Iterable[Form]:
    reader = KeyReader()
    forms: dict[Hashable, Form] = {}
    for number, entry in enumerate(entries):
        shape, integers = reader.read(entry.key)
        given, others = _read_origins(entry.origins, reader)
        is_alike = _is_alike(entry.key, entry.origins)
        kinds = _kind(entry.after), _kind(entry.before) if entry.changed else ()
        kind = shape, given, is_alike, entry.label, kinds
        form = forms.get(kind)
        if form is None:
            patterns = (Pattern.read(given),) if isinstance(given, str) else given
            patterns = Pattern.read(shape), *patterns
            form = forms[kind] = Form(patterns, is_alike, entry.label, entry.changed)
        form.numbers.append(number)
        form.integers.fromlist(integers + others)
        form.afters.append(entry.after)
        if form.changed:
            form.befores.append(entry.before)
    return forms.values()


def _read_origins(origins: Sequence[str], reader: KeyReader) -> tuple[Given, list[int]]:
    """Of which form the origins are, and the integers in their columns."""
    if len(origins) == 1:
        return reader.read(origins[0])
    patterns: list[Pattern] = []
    integers: list[int] = []
    for shape, axes in reader.fold(origins):
        patterns.append(Pattern(shape, tuple(None if len(axis) == 1 else axis for axis in axes)))
        integers += [axis[0] for axis in axes if len(axis) == 1]
    return tuple(patterns), integers


def _kind(spec: TensorSpec | None) -> Hashable:
    return None if spec is None else (spec.dtype, len(spec.shape))


def _is_alike(key: str, origins: Sequence[str]) -> bool:
    """Whether the origins have the name that the key has in its module, in modules of their own."""
    name = key[key.rfind(".") + 1 :]
    for origin in origins:
        dot = origin.rfind(".")
        if dot < 1 or origin[dot + 1 :] != name:
            return False
    return True


# --- entries are joined to modules ----------------------------------------------------------------


class Group(NamedTuple):
    """Entries of a form, by their rows in it, with their columns; modules where there are `names`.

    A module has one entry in the form, and those of its further names in others.
    """

    form: Form
    names: tuple[str, ...]
    rows: Column
    columns: Sequence[Column]

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        return self.form.modules if self.names else self.form.patterns

    @property
    def own(self) -> Sequence[Column]:
        """The columns of the keys."""
        return self.columns[: self.patterns[0].width]

    @property
    def given(self) -> Sequence[Column]:
        """The columns of the origins."""
        return self.columns[self.patterns[0].width :]

    def pick(self, rows: Sequence[int]) -> Group:
        """These of the group."""
        columns = [_pick(column, rows) for column in self.columns]
        return self._replace(rows=_pick(self.rows, rows), columns=columns)

    def cut(self, start: int, stop: int) -> Group:
        """Those from one to another."""
        columns = [column[start:stop] for column in self.columns]
        return self._replace(rows=self.rows[start:stop], columns=columns)


def _pick(column: Column, rows: Sequence[int]) -> array[int]:
    return array("q", map(column.__getitem__, rows))


def _rows(columns: Sequence[Sequence[T]], number: int) -> Iterable[tuple[T, ...]]:
    """The columns' entries, of which there is a number."""
    return zip(*columns, strict=True) if columns else itertools.repeat((), number)


def _join_modules(forms: Sequence[Form]) -> Iterator[Group]:
    """The modules of a family's forms, grouped by the names that they have."""
    if not forms[0].in_modules:
        yield from (_group(form, ()) for form in forms)
    elif _agree(forms):
        yield _group(forms[0], [next(form.names) for form in forms])
    else:
        yield from _group_modules(forms)


def _group(form: Form, names: Sequence[str]) -> Group:
    """All entries of a form, the first of their modules' names."""
    names = tuple(names) if len(names) > 1 else ()
    columns = form.columns(form.modules if names else form.patterns)
    return Group(form, names, range(len(form.numbers)), columns)


def _agree(forms: Sequence[Form]) -> bool:
    """Whether every module has one entry of each form, in the order of the forms."""
    identity = forms[0].identity
    return not any(form.names_differ or form.identity != identity for form in forms) and all(
        all(map(operator.lt, one.numbers, other.numbers)) for one, other in pairwise(forms)
    )


def _group_modules(forms: Sequence[Form]) -> Iterator[Group]:
    modules: dict[Hashable, list[tuple[int, int, int, str]]] = {}
    for at, form in enumerate(forms):
        identities = _rows(form.identity, len(form.numbers))
        found = zip(identities, form.numbers, form.names, strict=False)
        for row, (identity, number, name) in enumerate(found):
            modules.setdefault(identity, []).append((number, at, row, name))
    groups: dict[Hashable, tuple[int, list[str], list[int]]] = {}
    for members in map(sorted, modules.values()):
        _, at, row, _ = members[0]
        names = [name for *_, name in members]
        kind = tuple((at, name) for _, at, _, name in members) if len(members) > 1 else at
        groups.setdefault(kind, (at, names, []))[2].append(row)
    for at, names, rows in groups.values():
        yield _group(forms[at], names).pick(rows)


# --- columns fold to boxes ------------------------------------------------------------------------


def _fold_group(group: Group) -> Iterator[tuple[int, Line]]:
    """The lines of a group, each with the place of its first entry."""
    for run, follows in _find_runs(group):
        for axes, rows in _find_boxes(run):
            yield min(map(group.form.numbers.__getitem__, rows)), _line(group, axes, follows, rows)


def _find_runs(group: Group) -> Iterator[tuple[Group, list[Follow]]]:
    """The group where its origins go along with the keys; else runs, in the order of the keys."""
    follows = _follow(group)
    if follows is not None:
        yield group, follows
        return
    points = list(_rows(group.own, len(group.rows)))
    group = group.pick(sorted(range(len(points)), key=points.__getitem__))
    start = 0
    while start < len(points):
        run = _reach(group, start)
        yield run, _follow(run) or []
        start += len(run.rows)


def _reach(group: Group, start: int) -> Group:
    """The longest run that begins there: twice as far each time, then by halves."""
    end, size = len(group.rows), 1
    while start + size < end and _follow(group.cut(start, start + 2 * size)) is not None:
        size *= 2
    stops = range(min(start + size, end), min(start + 2 * size, end) + 1)
    too_far = bisect_left(stops, True, key=lambda stop: _follow(group.cut(start, stop)) is None)
    return group.cut(start, stops[too_far - 1])


def _follow(group: Group) -> list[Follow] | None:
    """How the integers of the origins go along with the keys'; None where they don't.

    Two of one origin never follow one: `<0..3>.<0..3>` would read as all combinations.
    """
    follows: list[Follow] = []
    given = iter(group.given)
    for pattern in group.patterns[1:]:
        free: dict[int | None, Column] = dict(enumerate(group.own))
        for origin in itertools.islice(given, pattern.width):
            follow = _follow_one(origin, free)
            if follow is None:
                return None
            follows.append(follow)
            free.pop(follow[0], None)
    return follows


def _follow_one(origin: Column, free: Mapping[int | None, Column]) -> Follow | None:
    if all(map(origin[0].__eq__, origin)):
        return None, origin[0]
    for hole, own in free.items():
        distance = origin[0] - own[0]
        if distance == 0 and origin == own:
            return hole, distance
        if distance and all(map(distance.__eq__, map(operator.sub, origin, own))):
            return hole, distance
    return None


def _find_boxes(run: Group) -> Iterator[tuple[tuple[Point, ...], Column]]:
    """The boxes of the run's keys, each with its rows."""
    rows = dict(zip(_rows(run.own, len(run.rows)), run.rows, strict=False))
    found = boxes(rows)
    for axes in found:
        points = itertools.product(*axes)
        yield axes, [rows[point] for point in points] if len(found) > 1 else run.rows


def _line(
    group: Group, axes: tuple[Point, ...], follows: Sequence[Follow], rows: Sequence[int]
) -> Line:
    form = group.form
    key, *origins = group.patterns
    given = (
        (far,) if hole is None else tuple(value + far for value in axes[hole])
        for hole, far in follows
    )
    return Line(
        box=key.fill(iter(axes)),
        names=group.names,
        origins=tuple(origin.fill(given) for origin in origins),
        label=form.label,
        before=spec_range(map(form.befores.__getitem__, rows)) if form.changed else "",
        after=spec_range(map(form.afters.__getitem__, rows)),
        of_modules=bool(group.names) and form.is_alike,
    )
