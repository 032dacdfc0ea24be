"""The steps that arrows would make of keys: a rule that was found once, at another index."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.steps import Grid, Step
from ckptsurgeon.drafting.units import (
    Capture,
    Formula,
    Number,
    Open,
    Unit,
    Units,
    cut_key,
    places_of,
    regex_of_unit,
    text_of,
)

Values = Mapping[int, int]
"""The integers that captures stand for, by their places."""


class Instances:
    """Arrows, looked up by the shape of a target key: its words, without its integers."""

    def __init__(self, arrows: Sequence[Arrow]) -> None:
        self._by_form: dict[tuple[str, ...], list[tuple[Arrow, re.Pattern[str]]]] = defaultdict(
            list
        )
        for arrow in arrows:
            if not arrow.target or arrow.has_list or arrow.pick:
                continue
            pattern = re.compile("".join(_group(at, one) for at, one in enumerate(arrow.target)))
            for target in arrow.targets:
                self._by_form[_form(target)].append((arrow, pattern))

    def steps_for(self, target: str) -> Iterator[Step]:
        """The steps of arrows that would give a target key."""
        for arrow, pattern in dict.fromkeys(self._by_form.get(_form(target), ())):
            found = pattern.fullmatch(target)
            values = None if found is None else _solve(arrow.target, found)
            if values is not None and places_of(arrow.source) <= values.keys():
                yield Step(
                    Grid(_keys(arrow.source, arrow.sizes[0], values), arrow.sizes[0]),
                    Grid(_keys(arrow.target, arrow.sizes[1], values), arrow.sizes[1]),
                    arrow.calls,
                    arrow.index,
                    arrow.degree,
                    arrow.remark,
                )


def _form(key: str) -> tuple[str, ...]:
    return tuple("#" if isinstance(unit, Number) else str(unit) for unit in cut_key(key))


def _group(at: int, unit: Unit) -> str:
    if isinstance(unit, Formula):
        return f"(?P<u{at}>[0-9]+)"
    return f"(?P<u{at}>{regex_of_unit(unit)})"


def _solve(units: Units, found: re.Match[str]) -> dict[int, int] | None:
    """What the captures of a target stand for in a key; None where a formula has no solution."""
    values: dict[int, int] = {}
    for at, unit in enumerate(units):
        place, factor, offset = _line(unit)
        if place is None:
            continue
        value, rest = divmod(int(found[f"u{at}"]) - offset, factor)
        if rest or value < 0 or values.setdefault(place, value) != value:
            return None
    return values


def _line(unit: Unit) -> tuple[int | None, int, int]:
    if isinstance(unit, Capture):
        return unit.place, 1, 0
    if isinstance(unit, Formula) and len(unit.terms) == 1:
        return unit.terms[0][0], unit.terms[0][1], unit.offset
    return None, 1, 0


def _keys(units: Units, sizes: tuple[int, ...], values: Values) -> tuple[str, ...]:
    """The keys of a pattern on its grid, for these integers."""
    points = itertools.product(*map(range, sizes))
    return tuple("".join(_text(unit, point, values) for unit in units) for point in points)


def _text(unit: Unit, point: Sequence[int], values: Values) -> str:
    if isinstance(unit, Open):
        at = point[unit.dim]
        return unit.words[at] if unit.words else f"{at:0{unit.width}d}"
    if isinstance(unit, Capture):
        return f"{values[unit.place]:0{unit.width}d}"
    if isinstance(unit, Formula):
        total = unit.offset + sum(factor * values[place] for place, factor in unit.terms)
        return f"{total:0{unit.width}d}"
    return text_of((unit,))
