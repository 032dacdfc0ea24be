"""The steps of a rule: matches grouped by the captures that name a step, and laid out as grids."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.errors import PlanError, Problem
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import Capture, Formula, Kind, Literal, Pattern, Piece
from ckptsurgeon.language.problems import Folded, Problems
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Vars
from ckptsurgeon.planner.stage.reading_keys import Match, holds

SPARE_STEPS = 100_000
"""How many more steps than keys a rule may make by combining each key with each other."""

SHOWN_KEYS = 5

Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Layout:
    """The matches of one reference in one step, row-major over its gathered captures."""

    dims: tuple[tuple[str, int], ...]
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """One step before its ops: its captures' values and the matches of each reference."""

    values: Values
    layouts: tuple[Layout, ...]


def group_steps(
    rule: CompiledRule, found: Sequence[Sequence[Match]], vars: Vars, problems: Problems
) -> list[Group]:
    """The rule's steps; tells references without partner, holes, and two keys in one place.

    Incomplete steps of an `optional` rule are left out; a hole in integers never is.
    """
    complete = _with_partners(rule, found, problems)
    failures = Folded(problems, "step", "of this rule")
    by_step = rule.where_by_step
    groups = []
    for values, per_reader in _joined(rule, complete):
        if by_step and not holds(rule, _raw(per_reader), vars):
            continue
        layouts = [
            _lay_out(rule, reader, own, failures)
            for reader, own in zip(rule.readers, per_reader, strict=True)
        ]
        known = tuple(layout for layout in layouts if layout is not None)
        if len(known) == len(layouts):
            groups.append(Group(values, known))
    failures.tell()
    return groups


def _raw(per_reader: Iterable[Sequence[Match]]) -> Values:
    """The captures of a whole step as they stand in the source."""
    return {name: value for own in per_reader for name, value in own[0].raw.items()}


# --- partners -------------------------------------------------------------------------------------


def _with_partners(
    rule: CompiledRule, found: Sequence[Sequence[Match]], problems: Problems
) -> list[list[Match]]:
    """The matches whose shared captures every other reference has as well."""
    kept = [list(matches) for matches in found]
    for (i, one), (j, other) in itertools.permutations(enumerate(rule.readers), 2):
        shared = sorted(one.names & other.names)
        if not shared or not found[j]:
            continue
        there = {_projected(match, shared) for match in found[j]}
        lonely = [match for match in found[i] if _projected(match, shared) not in there]
        if lonely and not rule.options.optional:
            _tell_missing(rule, other, lonely, problems)
        if lonely:
            alone = {id(match) for match in lonely}
            kept[i] = [match for match in kept[i] if id(match) not in alone]
    return kept


def _projected(match: Match, names: Sequence[str]) -> tuple[Value, ...]:
    return tuple(match.values[name] for name in names)


def _tell_missing(
    rule: CompiledRule, reader: Reader, lonely: Sequence[Match], problems: Problems
) -> None:
    missing = list(dict.fromkeys(expected_key(reader.pattern, match.raw) for match in lonely))
    problems.add(
        f"`{reader.text}` has no partner for {_some(m.address[1] for m in lonely)}: "
        f"missing {_some(missing)}",
        reader.place,
        "`optional: true` skips incomplete steps",
    )


def expected_key(pattern: Pattern, raw: Values) -> str:
    """The key that a reference would have read for these captures; unknown ones stay as written."""
    return "".join(_expected(piece, raw) for piece in pattern.pieces)


def _expected(piece: Piece, raw: Values) -> str:
    if isinstance(piece, Literal):
        return piece.text
    if isinstance(piece, Capture) and piece.name in raw:
        value = raw[piece.name]
        return f"{value:0{piece.width}d}" if isinstance(value, int) else str(value)
    return str(piece) if isinstance(piece, Capture | Formula) else f"re:{piece.text}"


def _some(keys: Iterable[str]) -> str:
    """The first few keys, and how many more there are."""
    listed = list(dict.fromkeys(keys))
    shown = ", ".join(f"`{key}`" for key in listed[:SHOWN_KEYS])
    return shown if len(listed) <= SHOWN_KEYS else f"{shown} and {len(listed) - SHOWN_KEYS} more"


# --- joining --------------------------------------------------------------------------------------


def _joined(
    rule: CompiledRule, found: Sequence[Sequence[Match]]
) -> Iterator[tuple[Values, list[list[Match]]]]:
    """Each step's values with its matches by reference: a natural join on the step's captures."""
    steps: list[tuple[dict[str, Value], list[list[Match]]]] = [({}, [])]
    known: frozenset[str] = frozenset()
    most = SPARE_STEPS + sum(map(len, found))
    for reader, matches in zip(rule.readers, found, strict=True):
        names = sorted(rule.steps_by & reader.names)
        shared = [name for name in names if name in known]
        steps = _extended(rule, steps, matches, names, shared, most)
        known |= frozenset(names)
    yield from steps


def _extended(
    rule: CompiledRule,
    steps: list[tuple[dict[str, Value], list[list[Match]]]],
    matches: Sequence[Match],
    names: Sequence[str],
    shared: Sequence[str],
    most: int,
) -> list[tuple[dict[str, Value], list[list[Match]]]]:
    by_values: dict[tuple[Value, ...], list[Match]] = {}
    for match in matches:
        by_values.setdefault(_projected(match, names), []).append(match)
    by_shared: dict[tuple[Value, ...], list[tuple[tuple[Value, ...], list[Match]]]] = {}
    places = [names.index(name) for name in shared]
    for values, own in by_values.items():
        by_shared.setdefault(tuple(values[at] for at in places), []).append((values, own))
    extended: list[tuple[dict[str, Value], list[list[Match]]]] = []
    for step, before in steps:
        partners = by_shared.get(tuple(step[name] for name in shared), ())
        if len(extended) + len(partners) > most:
            raise PlanError(
                [
                    Problem(
                        f"the rule combines its keys to more than {most} steps",
                        rule.place,
                        "references are joined on the captures that they share: let them share one",
                    )
                ]
            )
        for values, own in partners:
            extended.append(({**step, **dict(zip(names, values, strict=True))}, [*before, own]))
    return extended


# --- grids ----------------------------------------------------------------------------------------


def _lay_out(
    rule: CompiledRule, reader: Reader, matches: Sequence[Match], failures: Folded
) -> Layout | None:
    """The matches as a full grid; None, with a problem told, where they make none."""
    gathered = [capture for capture in rule.gathered if capture.name in reader.names]
    if len(matches) == 1 and not gathered:
        return Layout((), tuple(matches))
    cells: dict[tuple[Value, ...], Match] = {}
    for match in matches:
        cell = tuple(_coordinate(capture, match) for capture in gathered)
        first = cells.setdefault(cell, match)
        if first is not match:
            failures.add((reader.place, "two"), _two_in_one(reader, first, match))
            return None
    ranges = [_positions(rule, capture, at, cells) for at, capture in enumerate(gathered)]
    if math.prod(map(len, ranges)) == len(cells):
        dims = tuple((c.name, len(r)) for c, r in zip(gathered, ranges, strict=True))
        return Layout(dims, tuple(cells[cell] for cell in itertools.product(*ranges)))
    integers = any(capture.kind is Kind.INT for capture in gathered)
    if integers or not rule.options.optional:
        failures.add((reader.place, "hole"), _hole(reader, gathered, ranges, cells))
    return None


def _two_in_one(reader: Reader, first: Match, second: Match) -> Problem:
    return Problem(
        f"`{first.address[1]}` and `{second.address[1]}` are read as one: two producers",
        reader.place,
        "capture what tells them apart, and write it in the target",
    )


def _coordinate(capture: Capture, match: Match) -> Value:
    """Integers count after `pick`; words are those that were read."""
    values = match.values if capture.kind is Kind.INT else match.raw
    return values[capture.name]


def _positions(
    rule: CompiledRule,
    capture: Capture,
    at: int,
    cells: Mapping[tuple[Value, ...], Match],
) -> Sequence[Value]:
    if capture.kind is Kind.INT:
        integers = (value for cell in cells if isinstance(value := cell[at], int))
        return range(1 + max(integers, default=-1))
    listed = rule.options.map.get(capture.name)
    words = [word.left for word in capture.words if listed is None or word.left in listed]
    return [capture.value(word) for word in words]


def _hole(
    reader: Reader,
    gathered: Sequence[Capture],
    ranges: Sequence[Sequence[Value]],
    cells: Mapping[tuple[Value, ...], Match],
) -> Problem:
    names = [capture.name for capture in gathered]
    missing = (cell for cell in _all_cells(ranges) if cell not in cells)
    some = list(itertools.islice(missing, SHOWN_KEYS))
    example = next(iter(cells.values())).raw
    keys = [
        expected_key(reader.pattern, {**example, **dict(zip(names, cell, strict=True))})
        for cell in some
    ]
    return Problem(
        f"`{reader.text}` gathers {' and '.join(f'`{name}`' for name in names)} with a hole: "
        f"missing {', '.join(f'`{key}`' for key in keys)}",
        reader.place,
        "integers run from 0 without a hole, and every word is there",
    )


def _all_cells(ranges: Sequence[Sequence[Value]]) -> Iterator[tuple[Value, ...]]:
    """The cells one by one: `itertools.product` would hold a range of 10**18 integers."""
    if not ranges:
        yield ()
        return
    for value in ranges[0]:
        for rest in _all_cells(ranges[1:]):
            yield (value, *rest)
