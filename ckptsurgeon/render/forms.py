"""Entries of very many tensors, read once into columns of integers.

Those of a *form* differ in integers alone, and in sizes: a million entries are few forms, take
little memory, and each step of folding goes over whole columns.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from ckptsurgeon.keys import Box, KeyReader, Point, read_key, write_key
from ckptsurgeon.render.lines import Entry
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


Given = str | tuple[Pattern, ...]
"""The shape of the one origin, or the patterns of several."""


@dataclass(frozen=True, slots=True)
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
    numbers: array[int] = field(default_factory=lambda: array("q"))
    integers: array[int] = field(default_factory=lambda: array("q"))
    afters: list[TensorSpec | None] = field(default_factory=list)
    befores: list[TensorSpec | None] = field(default_factory=list)

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

    def columns(self, patterns: Sequence[Pattern]) -> list[array[int]]:
        """The columns of patterns, which are the form's own or of the modules."""
        width = sum(one.width for one in self.patterns)
        found, start = [], 0
        for pattern, whole in zip(patterns, self.patterns, strict=False):
            found += [self.integers[start + hole :: width] for hole in range(pattern.width)]
            start += whole.width
        return found


def rows_of(columns: Sequence[Sequence[T]], number: int) -> Iterable[tuple[T, ...]]:
    """The columns' entries, of which there is a number."""
    return zip(*columns, strict=True) if columns else itertools.repeat((), number)


def read_forms(entries: Iterable[Entry]) -> Iterable[Form]:
    """The forms of all entries, in order of appearance."""
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
            patterns = _read_patterns(shape, given)
            modules = _cut_names(patterns, is_alike)
            form = forms[kind] = Form(patterns, modules, is_alike, entry.label, entry.changed)
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


def _read_patterns(shape: str, given: Given) -> tuple[Pattern, ...]:
    origins = (Pattern.read(given),) if isinstance(given, str) else given
    return Pattern.read(shape), *origins


def _cut_names(patterns: tuple[Pattern, ...], is_alike: bool) -> tuple[Pattern, ...]:
    """The modules of the key, and those of origins that are alike; a key of none stays whole."""
    key, *origins = patterns
    module = key.module
    if not module.shape:
        return patterns
    return (module, *(one.module if is_alike else one for one in origins))


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
