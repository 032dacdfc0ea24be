"""Entries of very many tensors, read once into columns of integers.

Those of a *form* differ in integers alone, and in sizes: a million entries are few forms, take
little memory, and each step of folding goes over whole columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from ckptsurgeon.keys import Box, KeyReader, Point, has_digits, mask_key, read_key, write_key
from ckptsurgeon.render.lines import Lot
from ckptsurgeon.specs import TensorSpec

T = TypeVar("T")

Column = Sequence[int]
"""The integers that entries have in one hole."""


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


@dataclass(slots=True)
class Form:
    """Entries that differ in sizes and integers alone: those of the key, then of the origins.

    `patterns` are of these, and `modules` of what they stand in. `is_alike` says that the origins
    have the key's own name, in modules. `numbers` are the places in the order; `befores` are held
    where a spec changes.
    """

    patterns: tuple[Pattern, ...]
    modules: tuple[Pattern, ...]
    is_alike: bool
    label: tuple[str, ...]
    changed: bool
    numbers: list[int] = field(default_factory=list)
    integers: list[list[int]] = field(default_factory=list)
    afters: list[TensorSpec | None] = field(default_factory=list)
    befores: list[TensorSpec | None] = field(default_factory=list)

    def add(self, lot: Lot, rows: Sequence[int], columns: Sequence[list[int]]) -> None:
        """Adds rows of a lot, and the integers of their keys and origins."""
        self.numbers += [lot.numbers[row] for row in rows]
        self.integers = self.integers or [[] for _ in columns]
        for column, more in zip(self.integers, columns, strict=True):
            column += more
        self.afters += [lot.after] * len(rows)
        if self.changed:
            self.befores += [lot.before] * len(rows)

    def sort(self) -> None:
        """Puts all in order."""
        order = sorted(range(len(self.numbers)), key=self.numbers.__getitem__)
        self.numbers = pick(self.numbers, order)
        self.integers = [pick(column, order) for column in self.integers]
        self.afters, self.befores = pick(self.afters, order), pick(self.befores, order)

    @property
    def in_modules(self) -> bool:
        return self.modules is not self.patterns

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
        points = rows_of(self.columns(self.patterns[:1]), len(self.numbers))
        return (write_key(template, point).rpartition(".")[2] for point in points)

    @property
    def identity(self) -> list[Sequence[object]]:
        """What entries of one module have in common, in columns."""
        change = (self.befores, self.afters) if self.changed else ()
        return [*self.columns(self.modules), *change]

    def columns(self, patterns: Sequence[Pattern]) -> list[Column]:
        """The columns of patterns, which are the form's own or of the modules."""
        found, start = list[Column](), 0
        for pattern, whole in zip(patterns, self.patterns, strict=False):
            found += self.integers[start : start + pattern.width]
            start += whole.width
        return found


def pick(column: Sequence[T], rows: Iterable[int]) -> list[T]:
    """These rows of a column; none of one that is empty."""
    return list(map(column.__getitem__, rows)) if column else []


def rows_of(columns: Sequence[Sequence[T]], number: int) -> Iterable[tuple[T, ...]]:
    """The columns' entries, of which there is a number."""
    return zip(*columns, strict=True) if columns else itertools.repeat((), number)


def read_forms(lots: Iterable[Lot]) -> list[Form]:
    """The forms of all entries, in order of appearance."""
    reader, forms = KeyReader(), dict[Hashable, Form]()
    for lot in lots:
        for rows, is_alike in _split_rows(lot, reader):
            patterns, columns = _read_rows(lot, rows, reader)
            kind = patterns, is_alike, lot.label, lot.kinds
            if kind not in forms:
                modules = _cut_names(patterns, is_alike)
                forms[kind] = Form(patterns, modules, is_alike, lot.label, lot.changed)
            forms[kind].add(lot, rows, columns)
    for form in forms.values():
        form.sort()
    return sorted(forms.values(), key=lambda form: form.numbers[0])


def _split_rows(lot: Lot, reader: KeyReader) -> Iterator[tuple[list[int], bool]]:
    """The rows of a lot that are read at once, and whether their origins are alike.

    They have one mask, and so have their origins, none of which can fold with another.
    """
    by_mask: dict[Hashable, list[int]] = {}
    for row, (key, origins) in enumerate(zip(lot.keys, lot.origins, strict=True)):
        by_mask.setdefault((mask_key(key), *map(mask_key, origins)), []).append(row)
    for rows in by_mask.values():
        key, origins = lot.keys[rows[0]], lot.origins[rows[0]]
        is_told = all(map(reader.tells, (key, *origins))) and not has_digits(_name_of(key))
        if len(rows) == 1 or (is_told and _differ(reader.read(one)[0] for one in origins)):
            yield rows, _is_alike(key, origins)
        else:
            yield from (([row], _is_alike(lot.keys[row], lot.origins[row])) for row in rows)


def _read_rows(
    lot: Lot, rows: Sequence[int], reader: KeyReader
) -> tuple[tuple[Pattern, ...], list[list[int]]]:
    """The patterns of keys that are read at once and of their origins, and all columns."""
    shape, columns = reader.read_alike([lot.keys[row] for row in rows])
    patterns = [Pattern.read(shape)]
    origins = list(zip(*(lot.origins[row] for row in rows), strict=True))
    shapes = [reader.read(one[0])[0] for one in origins]
    if _differ(shapes):
        patterns += map(Pattern.read, shapes)
        columns += itertools.chain(*(reader.read_alike(one)[1] for one in origins))
        return tuple(patterns), columns
    for old, axes in reader.fold(one for (one,) in origins):
        patterns.append(Pattern(old, tuple(None if len(axis) == 1 else axis for axis in axes)))
        columns += [[axis[0]] for axis in axes if len(axis) == 1]
    return tuple(patterns), columns


def _differ(shapes: Iterable[str]) -> bool:
    """Whether keys of these shapes can't fold."""
    listed = list(shapes)
    return len(set(listed)) == len(listed)


def _cut_names(patterns: tuple[Pattern, ...], is_alike: bool) -> tuple[Pattern, ...]:
    """The modules of the key, and those of origins that are alike; a key of none stays whole."""
    key, *origins = patterns
    module = key.module
    if not module.shape:
        return patterns
    return (module, *(one.module if is_alike else one for one in origins))


def _is_alike(key: str, origins: Iterable[str]) -> bool:
    """Whether the origins have the name that the key has in its module, in modules of their own."""
    name = _name_of(key)
    return all(origin.rfind(".") > 0 and _name_of(origin) == name for origin in origins)


def _name_of(key: str) -> str:
    return key[key.rfind(".") + 1 :]
