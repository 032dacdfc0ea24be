"""Tensors told as few lines: those of a module on one, repeated modules folded into ranges.

Only what is equal folds: the label (rule, ops), the origin and the kind of the shapes.
"""

from __future__ import annotations

import itertools
import math
import operator
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from ckptsurgeon.keys import Point, boxes
from ckptsurgeon.render.forms import Column, Form, Pattern, pick, read_forms, rows_of
from ckptsurgeon.render.lines import Line, Lot, spec_range

Follow = tuple[int | None, Mapping[int, int]]
"""How the integers of an origin are told: the key's hole that they rise along with, and which of
them stands for which; or None, and the one that they all are for 0."""


def fold_lots(lots: Iterable[Lot]) -> list[Line]:
    """Lines that tell exactly the entries of these lots, in order of appearance.

    Entries that have both key and label in common are told once.
    """
    families: dict[Hashable, list[Form]] = {}
    for form in read_forms(lots):
        families.setdefault(form.family, []).append(form)
    groups = itertools.chain.from_iterable(map(_join_modules, families.values()))
    lines = itertools.chain.from_iterable(map(_fold_group, groups))
    return [line for _, line in sorted(lines, key=operator.itemgetter(0))]


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
        columns = [pick(column, rows) for column in self.columns]
        return self._replace(rows=pick(self.rows, rows), columns=columns)

    def cut(self, start: int, stop: int) -> Group:
        """Those from one to another."""
        columns = [column[start:stop] for column in self.columns]
        return self._replace(rows=self.rows[start:stop], columns=columns)


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
        identities = rows_of(form.identity, len(form.numbers))
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
            first = min(map(group.form.numbers.__getitem__, rows))
            yield first, _make_line(group, axes, follows, rows)


def _find_runs(group: Group) -> Iterator[tuple[Group, list[Follow]]]:
    """The group where its origins go along with the keys; else runs, in the order of the keys."""
    follows = _follow(group)
    if follows is not None:
        yield group, follows
        return
    points = list(rows_of(group.own, len(group.rows)))
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
        return None, {0: origin[0]}
    for hole, own in free.items():
        one_for = dict(zip(own, origin, strict=True))
        if all(map(operator.eq, map(one_for.get, own), origin)):
            rising = [one_for[value] for value in sorted(one_for)]
            if all(itertools.starmap(operator.lt, pairwise(rising))):
                return hole, one_for
    return None


def _find_boxes(run: Group) -> Iterator[tuple[tuple[Point, ...], Column]]:
    """The boxes of the run's keys, each with its rows."""
    axes = tuple(tuple(sorted(set(column))) for column in run.own)
    if math.prod(map(len, axes)) == len(run.rows) == _count_points(run.own, axes):
        yield axes, run.rows
        return
    rows = dict(zip(rows_of(run.own, len(run.rows)), run.rows, strict=False))
    found = boxes(rows)
    for axes in found:
        points = itertools.product(*axes)
        yield axes, [rows[point] for point in points] if len(found) > 1 else run.rows


def _count_points(columns: Sequence[Column], axes: Sequence[Point]) -> int:
    """How many different points the columns hold, each told by one integer."""
    codes: Iterable[int] = columns[0] if columns else (0,)
    for column, axis in zip(columns[1:], axes[1:], strict=True):
        size = axis[-1] + 1
        codes = [code * size + value for code, value in zip(codes, column, strict=True)]
    return len(set(codes))


def _make_line(
    group: Group, axes: tuple[Point, ...], follows: Sequence[Follow], rows: Sequence[int]
) -> Line:
    form = group.form
    key, *origins = group.patterns
    given = (
        tuple(map(one_for.__getitem__, (0,) if hole is None else axes[hole]))
        for hole, one_for in follows
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
