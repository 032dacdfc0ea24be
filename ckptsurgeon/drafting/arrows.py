"""Steps as arrows between patterns: what many steps have in common, with captures for the rest."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.drafting.integers import Row, fit_rows
from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step, UnitKind
from ckptsurgeon.drafting.units import (
    LIST,
    Capture,
    Formula,
    Number,
    Open,
    Unit,
    Units,
    cut_key,
    forms_of,
    join_list,
    pattern_of,
    regex_of_units,
    sort_by_form,
)
from ckptsurgeon.ops.indexing import Index

SAMPLES = 4
"""Keys of an arrow that other patterns are tried on."""

MOST_DROPPED = 512
"""Dropped items of a list that are told one by one, where other items are given."""

MOST_PIECES = 24
"""Pieces of a pattern that is compared with others; keys of more have rules of their own."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """A rule to be: a pattern of sources, one of targets, and what stands behind the colon.

    An empty target drops, an empty source keeps. `first` is the number of its first step,
    `samples` are source keys that it takes, `targets` such that it gives, `sizes` those of both
    grids; `pick` are the integers of a capture (by its place)
    that are taken in this order and numbered anew, `parts` the arrows that it was made of.
    Several patterns of one side are divided by `LIST`. `unit` is the kind of a rule for whole
    modules, and the words for its sources.
    """

    source: Units
    target: Units
    calls: tuple[Call, ...] = ()
    index: Index = ()
    degree: Degree = Degree.PROVED
    remark: str = ""
    first: int = 0
    samples: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    sizes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    pick: tuple[int, tuple[int, ...]] | None = None
    reuse: bool = False
    parts: tuple[Arrow, ...] = ()
    unit: UnitKind | None = None

    @property
    def is_deep(self) -> bool:
        """Whether a pattern has so many pieces that its rule is shared with no other."""
        return max(self.source.count("."), self.target.count(".")) >= MOST_PIECES

    @property
    def has_list(self) -> bool:
        """Whether a side has several patterns."""
        return LIST in self.source or LIST in self.target

    @property
    def is_move(self) -> bool:
        """Whether it only gives other names."""
        whole = not any(self.told)
        return whole and bool(self.source and self.target)

    @property
    def behind(self) -> tuple[object, ...]:
        """All that arrows must share to become one, besides their patterns."""
        return (*self.told, self.doubt, self.remark)

    @property
    def doubt(self) -> Degree | None:
        """The degree of a rule that wants a user's eye: it stands alone."""
        return self.degree if self.degree >= Degree.LIKELY else None

    @property
    def told(self) -> tuple[object, ...]:
        """All that stands in its rule besides the patterns."""
        return (self.calls, self.index, self.pick, self.reuse, self.unit)


def is_drop(arrow: Arrow) -> bool:
    """Whether it only drops."""
    return bool(arrow.source) and not arrow.target and not arrow.calls


def arrows_of(
    steps: Iterable[Step], left: Collection[str] = (), *, apart: bool = False
) -> list[Arrow] | None:
    """The arrows that make just these steps; None where keys can't be written as patterns.

    `left` are keys that none is to take; `apart` says that none takes keys of another either.
    Of lists whose items are dropped in part the dropped ones are told: others may be wanted.
    """
    families: dict[tuple[object, ...], list[tuple[int, Step, Row]]] = defaultdict(list)
    patterns: dict[tuple[object, ...], tuple[Units, Units]] = {}
    for number, step in enumerate(steps):
        kind = None if step.unit is None else step.unit.kind
        source = _pattern(step.sources, listed=kind is not None)
        target = _pattern(step.targets, listed=kind is not None or not step.calls)
        if source is None or target is None:
            return None
        blank = (_blanked(source), _blanked(target), step.calls, step.index)
        doubt = step.degree if step.degree >= Degree.LIKELY else None
        family = (*blank, kind, doubt, step.remark)
        patterns.setdefault(family, (source, target))
        families[family].append((number, step, (_numbers(source), _numbers(target))))
    steps_taken = (step for members in families.values() for _, step, _ in members)
    firsts = (key for step in steps_taken for key in step.sources.keys[:1])
    spared, taken = sort_by_form(left), sort_by_form(firsts) if apart else {}
    given = {one[0] for one in families if one[1]}
    arrows: list[Arrow] = []
    for one, members in families.items():
        if not one[1] and one[0] in given and len(members) <= MOST_DROPPED:
            for member in members:
                arrows += _arrows_of_family(*patterns[one], [member], ())
            continue
        barred: list[str] = []
        if len(members) > 1:
            form = next(forms_of(patterns[one][0]))
            own = {key for _, step, _ in members for key in step.sources.keys}
            barred += spared.get(form, ())
            barred += (key for key in taken.get(form, ()) if key not in own)
        arrows += _arrows_of_family(*patterns[one], members, barred)
    return arrows


def _pattern(grid: Grid, *, listed: bool) -> Units | None:
    """The pattern of a grid; a list where it has one dim and its keys have nothing in common.

    The prefixes of a rule for modules are always `listed`, as are targets of one tensor.
    """
    if not listed and grid.sizes and (pattern := pattern_of(grid.keys, grid.sizes)) is not None:
        return pattern
    if len(grid.sizes) > 1:
        return None
    return join_list([cut_key(key) for key in grid.keys])


def _blanked(units: Units) -> Units:
    return tuple(Number(0, one.width) if isinstance(one, Number) else one for one in units)


def _numbers(units: Units) -> tuple[int, ...]:
    return tuple(unit.value for unit in units if isinstance(unit, Number))


def _arrows_of_family(
    source: Units,
    target: Units,
    members: Sequence[tuple[int, Step, Row]],
    left: Collection[str],
) -> list[Arrow]:
    """The arrows of steps whose keys differ in integers alone, which take none of what is left."""
    rows = [row for _, _, row in members]
    fit = fit_rows(rows)
    groups: Sequence[Sequence[tuple[int, Step, Row]]] = ()
    if fit is None:
        groups = _divided(members)
    elif left and len(members) > 1 and fit.pick is None and _is_single(source):
        groups = _spared(_filled(source, fit.source), members, left)
    if groups or fit is None:
        return [
            arrow for group in groups for arrow in _arrows_of_family(source, target, group, left)
        ]
    number, step, _ = members[0]
    some = [one for _, one, _ in _spread(members)]
    return [
        Arrow(
            source=_filled(source, fit.source),
            target=_filled(target, fit.target),
            calls=step.calls,
            index=step.index,
            degree=max(one.degree for _, one, _ in members),
            remark=step.remark,
            first=number,
            samples=tuple(key for one in some for key in one.takes),
            targets=tuple(key for one in some for key in one.gives),
            sizes=(step.sources.sizes, step.targets.sizes),
            pick=fit.pick,
            unit=None if step.unit is None else step.unit.kind,
        )
    ]


def _is_single(units: Units) -> bool:
    """Whether a pattern is of one key, not of several that are gathered."""
    return not any(isinstance(unit, Open) or unit == LIST for unit in units)


def _divided(
    members: Sequence[tuple[int, Step, Row]],
) -> list[list[tuple[int, Step, Row]]]:
    """The members by one integer of their sources, that of the fewest values; else each alone."""
    columns = list(zip(*(row[0] for _, _, row in members), strict=True))
    counts = {place: len(set(column)) for place, column in enumerate(columns)}
    varying = [place for place, count in counts.items() if count > 1]
    if not varying:
        return [[member] for member in members]
    return _by_column(members, min(varying, key=counts.__getitem__))


def _by_column(
    members: Sequence[tuple[int, Step, Row]], at: int
) -> list[list[tuple[int, Step, Row]]]:
    """The members by one integer of their sources."""
    groups: dict[int, list[tuple[int, Step, Row]]] = defaultdict(list)
    for member in members:
        groups[member[2][0][at]].append(member)
    return list(groups.values())


def _spared(
    pattern: Units, members: Sequence[tuple[int, Step, Row]], left: Collection[str]
) -> list[list[tuple[int, Step, Row]]]:
    """The members in groups whose patterns take fewer of the keys that are left; none if all may.

    They are divided by the integer that tells them from these, else one by one.
    """
    expression = re.compile(regex_of_units(pattern))
    taken = [_numbers(cut_key(key)) for key in left if expression.fullmatch(key)]
    if not taken:
        return []
    columns = list(zip(*(row[0] for _, _, row in members), strict=True))
    varied = [at for at, column in enumerate(columns) if len(set(column)) > 1]
    telling = [at for at in varied if {row[at] for row in taken}.isdisjoint(columns[at])]
    return _by_column(members, (telling or varied)[0])


def _spread(members: Sequence[tuple[int, Step, Row]]) -> list[tuple[int, Step, Row]]:
    """A few members from all over."""
    last = len(members) - 1
    chosen = sorted({last * at // (SAMPLES - 1) for at in range(SAMPLES)})
    return [members[at] for at in chosen]


def _filled(units: Units, holes: Sequence[Unit]) -> Units:
    """The pattern with what stands in the place of its integers."""
    waiting = iter(holes)
    return tuple(
        _with_width(next(waiting), unit.width) if isinstance(unit, Number) else unit
        for unit in units
    )


def _with_width(unit: Unit, width: int) -> Unit:
    if isinstance(unit, Number | Capture | Formula) and unit.width != width:
        return replace(unit, width=width)
    return unit
