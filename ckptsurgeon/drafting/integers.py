"""The integers of target keys, as made of those of source keys: captures, formulas and picks."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ckptsurgeon.drafting.units import Capture, Formula, Number, Unit, places_of

LEAST_PICKED = 4
"""Integers of a `pick`; fewer read better one by one."""

Row = tuple[tuple[int, ...], tuple[int, ...]]
"""The integers of a step's source and target patterns, in order."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What stands for the integers of both patterns, and the `pick` of an arrow."""

    source: tuple[Unit, ...]
    target: tuple[Unit, ...]
    pick: tuple[int, tuple[int, ...]] | None = None


def fit_rows(rows: Sequence[Row]) -> Fit | None:
    """Captures and formulas that give every target integer; None where these rows have none."""
    sources = list(zip(*(row[0] for row in rows), strict=True))
    targets = list(zip(*(row[1] for row in rows), strict=True))
    holes = _source_holes(sources)
    captured = {hole.place: sources[hole.place] for hole in holes if isinstance(hole, Capture)}
    given: list[Unit] = []
    pick = None
    for column in targets:
        formula = _formula(column, captured)
        if formula is None and pick is None:
            pick = _picked(column, captured)
            formula = None if pick is None else Capture(pick[0])
        if formula is None:
            return None
        given.append(formula)
    used = places_of(given)
    if any(place not in used and len(targets) > 0 for place in captured):
        return None
    return Fit(holes, tuple(given), pick)


def _source_holes(columns: Sequence[tuple[int, ...]]) -> tuple[Unit, ...]:
    """A capture for each column that varies, the same one for equal columns."""
    holes: list[Unit] = []
    for place, column in enumerate(columns):
        same = next((at for at in range(place) if columns[at] == column), place)
        varies = len(set(column)) > 1
        holes.append(Capture(same) if varies else Number(column[0]))
    return tuple(holes)


def _formula(column: tuple[int, ...], captured: dict[int, tuple[int, ...]]) -> Unit | None:
    """What gives a column of integers: a number, a capture with an offset, or two with factors."""
    if len(set(column)) == 1:
        return Number(column[0])
    for place, values in captured.items():
        if values == column:
            return Capture(place)
    for place, values in captured.items():
        offset = column[0] - values[0]
        if all(one - offset == value for one, value in zip(column, values, strict=True)):
            return Formula(((place, 1),), offset)
    for place, values in captured.items():
        if found := _line(column, values):
            return Formula(((place, found[0]),), found[1])
    for one, other in itertools.combinations(captured, 2):
        if plane := _plane(column, captured[one], captured[other]):
            return Formula(((one, plane[0]), (other, plane[1])), plane[2])
    return None


def _line(column: tuple[int, ...], values: tuple[int, ...]) -> tuple[int, int] | None:
    """(factor, offset) of three values or more on a line."""
    return _line_of_any(column, values) if len(set(values)) > 2 else None


def _plane(
    column: tuple[int, ...], first: tuple[int, ...], second: tuple[int, ...]
) -> tuple[int, int, int] | None:
    """(factor, factor, offset) where two columns and an offset give the third."""
    rows = dict.fromkeys(zip(first, second, column, strict=True))
    by_first: dict[int, dict[int, int]] = defaultdict(dict)
    for x, y, z in rows:
        by_first[x][y] = z
    steps = {
        (z1 - z0) / (y1 - y0)
        for line in by_first.values()
        for (y0, z0), (y1, z1) in itertools.pairwise(sorted(line.items()))
    }
    if len(steps) != 1 or not (inner := steps.pop()).is_integer():
        return None
    rests = {x: {z - int(inner) * y for y, z in line.items()} for x, line in by_first.items()}
    if any(len(rest) > 1 for rest in rests.values()) or len(rests) < 2:
        return None
    values = tuple(rests)
    found = _line_of_any(tuple(rest.pop() for rest in rests.values()), values)
    return None if found is None else (found[0], int(inner), found[1])


def _line_of_any(column: tuple[int, ...], values: tuple[int, ...]) -> tuple[int, int] | None:
    """(factor, offset) of two values or more on a line."""
    low, high = values.index(min(values)), values.index(max(values))
    factor, rest = divmod(column[high] - column[low], values[high] - values[low])
    offset = column[0] - factor * values[0]
    fits = all(factor * x + offset == y for x, y in zip(values, column, strict=True))
    return (factor, offset) if fits and not rest and factor > 0 else None


def _picked(
    column: tuple[int, ...], captured: dict[int, tuple[int, ...]]
) -> tuple[int, tuple[int, ...]] | None:
    """The capture of which some integers are taken, and these in the order of the target's."""
    for place, values in captured.items():
        pairs = set(zip(column, values, strict=True))
        taken = tuple(value for _, value in sorted(pairs))
        counted = len(pairs) == len(set(column)) == max(column) + 1 >= LEAST_PICKED
        if counted and len(set(taken)) == len(taken):
            return place, taken
    return None
