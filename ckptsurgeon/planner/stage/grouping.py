"""The steps of a rule: matches grouped by the captures that name a step, and laid out as grids."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import PlanError, Problem
from ckptsurgeon.language.expressions import Expression, Value
from ckptsurgeon.language.patterns import Capture, Formula, Kind, Literal, Piece
from ckptsurgeon.language.problems import Folded, Problems
from ckptsurgeon.language.rows import Row, pick_columns
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.compiling.grids import Dims
from ckptsurgeon.planner.scope import Vars
from ckptsurgeon.planner.stage.reading_keys import SPARE_STEPS, Match, condition, spec_values
from ckptsurgeon.planner.stage.varying import table_of
from ckptsurgeon.plans.graph import full_key

SHOWN_KEYS = 5

Values = Mapping[str, Value]


class Group(msgspec.Struct, frozen=True, gc=False):
    """One step before its ops: its values, by the rule's `step_columns`, and what it reads.

    `matches` are the keys, reference by reference, each of them row-major over its own `dims`.
    """

    values: Row
    matches: Sequence[Match]
    dims: Sequence[Dims]

    @property
    def first(self) -> Sequence[Match]:
        """What the first reference reads."""
        return self.of_reference(0)

    def of_reference(self, number: int) -> Sequence[Match]:
        """What one of the references reads."""
        counts = [math.prod([size for _, size in dims]) for dims in self.dims[: number + 1]]
        return self.matches[sum(counts[:-1]) : sum(counts)]


def group_steps(
    rule: CompiledRule,
    found: Sequence[Sequence[Match]],
    names: Sequence[Sequence[Match]],
    vars: Vars,
    problems: Problems,
) -> list[Group]:
    """The rule's steps; tells references without partner, holes, and two keys in one place.

    `names` are the keys of `for`, which make steps and go into none. Incomplete steps of an
    `optional` rule are left out; a hole in integers never is.
    """
    if len(found) == 1 and not (rule.gathered or names):  # as of most rules: a step for each key
        (matches,) = found
        if len({match.values for match in matches}) == len(matches):
            return [Group(match.values, (match,), ((),)) for match in matches]
    complete = _with_partners(rule, found, problems)
    failures = Folded(problems, "step", "of this rule")
    holds = _condition(rule, vars)
    layers = [_Layer(rule, reader, failures) for reader in rule.readers]
    groups = []
    for values, per_reader in _joined(rule, [*complete, *names]):
        if holds is not None and not holds(per_reader):
            continue
        laid = [layer.lay_out(own) for layer, own in zip(layers, per_reader, strict=False)]
        known = [one for one in laid if one is not None]
        if len(known) == len(laid):
            matches = [match for _, own in known for match in own]
            groups.append(Group(values, matches, [dims for dims, _ in known]))
    failures.tell()
    return groups


def named_steps(
    rule: CompiledRule, names: Sequence[Sequence[Match]], vars: Vars
) -> Iterator[tuple[Row, list[Match]]]:
    """The steps of a rule that reads names alone, each with the keys of the first reference."""
    holds = _condition(rule, vars)
    for values, per_reader in _joined(rule, names):
        if holds is None or holds(per_reader):
            yield values, per_reader[0]


def _condition(
    rule: CompiledRule, vars: Vars
) -> Callable[[Sequence[Sequence[Match]]], bool] | None:
    """What tells whether `where` is true of a whole step; None where a reference alone tells."""
    looks = sorted(rule.where_looks)
    columns = [name for reader in rule.all_readers for name in reader.columns]
    holds = condition(rule, (*columns, *looks), vars) if rule.where_by_step else None
    if holds is None:
        return None

    def holds_of_step(per_reader: Sequence[Sequence[Match]]) -> bool:
        values = tuple(value for own in per_reader for value in own[0].raw)
        return holds((*values, *spec_values(per_reader[0][0], looks)))

    return holds_of_step


# --- partners -------------------------------------------------------------------------------------


def _with_partners(
    rule: CompiledRule, found: Sequence[Sequence[Match]], problems: Problems
) -> list[Sequence[Match]]:
    """The matches whose shared captures every other reference has as well."""
    kept = list(found)
    for (i, one), (j, other) in itertools.permutations(enumerate(rule.readers), 2):
        shared = sorted(one.names & other.names)
        if not shared or not found[j]:
            continue
        ours, theirs = _project(one.columns, shared), _project(other.columns, shared)
        there = {theirs(match.values) for match in found[j]}
        lonely = {match.key: match for match in found[i] if ours(match.values) not in there}
        if lonely and not rule.options.optional:
            _tell_missing(one, other, list(lonely.values()), problems)
        if lonely:
            kept[i] = [match for match in kept[i] if ours(match.values) in there]
    return kept


def _project(columns: Sequence[str], names: Sequence[str]) -> Callable[[Row], Row]:
    """What takes the values of some names out of a row."""
    if list(columns) == list(names):
        return lambda row: row
    return pick_columns([columns.index(name) for name in names])


def _tell_missing(
    reader: Reader,
    other: Reader,
    lonely: Sequence[Match],
    problems: Problems,
) -> None:
    raws = (dict(zip(reader.columns, match.raw, strict=True)) for match in lonely)
    missing = list(dict.fromkeys(expected_name(other, raw) for raw in raws))
    problems.add(
        f"`{other.text}` has no partner for {_some(match.name for match in lonely)}: "
        f"missing {_some(missing)}",
        other.place,
        "`optional: true` skips incomplete steps",
    )


def expected_name(reader: Reader, raw: Values) -> str:
    """The key that a reference would have read for these captures, behind its source's alias.

    Unknown captures stay as written.
    """
    alias, key = (
        "".join(_expected(piece, raw) for piece in pattern.pieces)
        for pattern in (reader.alias_pattern, reader.pattern)
    )
    return full_key(alias, key)


def _expected(piece: Piece, raw: Values) -> str:
    if isinstance(piece, Literal):
        return piece.text
    if isinstance(piece, Capture) and piece.name in raw:
        value = raw[piece.name]
        return f"{value:0{piece.width}d}" if isinstance(value, int) else piece.flatten(str(value))
    return str(piece) if isinstance(piece, Capture | Formula) else f"re:{piece.text}"


def _some(keys: Iterable[str]) -> str:
    """The first few keys, and how many more there are."""
    return list_some((f"`{key}`" for key in dict.fromkeys(keys)), SHOWN_KEYS)


# --- joining --------------------------------------------------------------------------------------


Joined = tuple[Row, list[list[Match]]]
"""A step's values, and its matches by reference."""


def _joined(rule: CompiledRule, found: Sequence[Sequence[Match]]) -> list[Joined]:
    """A natural join of the references' matches on the captures that name a step."""
    steps: list[Joined] = [((), [])]
    known: tuple[str, ...] = ()
    most = SPARE_STEPS + sum(map(len, found))
    for reader, matches in zip(rule.all_readers, found, strict=True):
        names = [name for name in reader.columns if name in rule.steps_by]
        steps = _extended(rule, steps, known, _by_values(reader, names, matches), names, most)
        known = (*known, *(name for name in names if name not in known))
    return steps


def _by_values(
    reader: Reader, names: Sequence[str], matches: Iterable[Match]
) -> dict[Row, list[Match]]:
    """The matches of a reference by the captures that name a step."""
    project = _project(reader.columns, names)
    found: dict[Row, list[Match]] = {}
    for match in matches:
        found.setdefault(project(match.values), []).append(match)
    return found


def _extended(
    rule: CompiledRule,
    steps: list[Joined],
    known: tuple[str, ...],
    found: Mapping[Row, list[Match]],
    names: Sequence[str],
    most: int,
) -> list[Joined]:
    """The steps with what one more reference reads for each."""
    if not known and len(steps) == 1:
        return [(values, [*steps[0][1], own]) for values, own in found.items()]
    shared = [name for name in names if name in known]
    ours, theirs = _project(known, shared), _project(names, shared)
    further = _project(names, [name for name in names if name not in known])
    partners: dict[Row, list[tuple[Row, list[Match]]]] = {}
    for values, own in found.items():
        partners.setdefault(theirs(values), []).append((further(values), own))
    extended: list[Joined] = []
    for step, before in steps:
        fitting = partners.get(ours(step), ())
        if len(extended) + len(fitting) > most:
            raise PlanError([_too_many(rule, most)])
        extended += [((*step, *values), [*before, own]) for values, own in fitting]
    return extended


def _too_many(rule: CompiledRule, most: int) -> Problem:
    return Problem(
        f"the rule combines its keys to more than {most} steps",
        rule.place,
        "references are joined on the captures that they share: let them share one",
    )


# --- grids ----------------------------------------------------------------------------------------


class _Layer:
    """Lays the matches of one reference out as grids over its gathered captures."""

    def __init__(self, rule: CompiledRule, reader: Reader, failures: Folded) -> None:
        self._rule, self._reader, self._failures = rule, reader, failures
        self._gathered = [capture for capture in rule.gathered if capture.name in reader.names]
        self._numbers = [reader.columns.index(capture.name) for capture in self._gathered]

    def lay_out(self, matches: Sequence[Match]) -> tuple[Dims, Sequence[Match]] | None:
        """The dims of a full grid, and the matches over them; None, told, where they make none."""
        if len(matches) == 1 and not self._gathered:
            return (), matches
        cells: dict[Row, Match] = {}
        for match in matches:
            first = cells.setdefault(self._cell(match), match)
            if first is not match:
                self._tell("two", _two_in_one(self._reader, first, match))
                return None
        ranges = [self._positions(capture, at, cells) for at, capture in enumerate(self._gathered)]
        if math.prod(map(len, ranges)) == len(cells):
            sizes = zip(self._gathered, ranges, strict=True)
            dims = tuple((capture.name, len(positions)) for capture, positions in sizes)
            return dims, [cells[cell] for cell in itertools.product(*ranges)]
        integers = any(capture.kind is Kind.INT for capture in self._gathered)
        if integers or not self._rule.options.optional:
            picked = any(capture.name in self._rule.options.pick for capture in self._gathered)
            one_step = len(self._gathered) == len(self._reader.columns)
            help = _tell_pick(self._gathered, cells) if one_step and not picked else ""
            self._tell("hole", _hole(self._reader, self._gathered, ranges, cells, help))
        return None

    def _cell(self, match: Match) -> Row:
        """Where a match stands: integers count after `pick`, words are those that were read."""
        return tuple(
            [
                (match.values if capture.kind is Kind.INT else match.raw)[number]
                for capture, number in zip(self._gathered, self._numbers, strict=True)
            ]
        )

    def _positions(self, capture: Capture, at: int, cells: Mapping[Row, Match]) -> Sequence[Value]:
        if capture.kind is Kind.INT:
            integers = (value for cell in cells if isinstance(value := cell[at], int))
            return range(1 + max(integers, default=-1))
        renamed = self._rule.options.map.get(capture.name)
        is_fixed = renamed is not None and not isinstance(renamed, Expression)
        listed = table_of(renamed, {}) if renamed is not None and is_fixed else None
        words = [word.left for word in capture.words if listed is None or word.left in listed]
        return [capture.value(word) for word in words]

    def _tell(self, kind: str, problem: Problem) -> None:
        self._failures.add((self._reader.place, kind), problem)


MOST_PICKED = 32
"""Numbers in a `pick` that a help writes."""


def _two_in_one(reader: Reader, first: Match, second: Match) -> Problem:
    return Problem(
        f"`{first.name}` and `{second.name}` are read as one: two producers",
        reader.place,
        "capture what tells them apart, and write it in the target",
    )


def _hole(
    reader: Reader,
    gathered: Sequence[Capture],
    ranges: Sequence[Sequence[Value]],
    cells: Mapping[Row, Match],
    more_help: str,
) -> Problem:
    names = [capture.name for capture in gathered]
    missing = (cell for cell in _all_cells(ranges) if cell not in cells)
    some = list(itertools.islice(missing, SHOWN_KEYS))
    example = dict(zip(reader.columns, next(iter(cells.values())).raw, strict=True))
    keys = [
        expected_name(reader, {**example, **dict(zip(names, cell, strict=True))}) for cell in some
    ]
    return Problem(
        f"`{reader.text}` gathers {' and '.join(f'`{name}`' for name in names)} with a hole: "
        f"missing {', '.join(f'`{key}`' for key in keys)}",
        reader.place,
        "integers run from 0 without a hole, and every word is there: is a shard missing?"
        + more_help,
    )


def _tell_pick(gathered: Sequence[Capture], cells: Mapping[Row, Match]) -> str:
    """How to join just what is there, where one integer is gathered of few."""
    if len(gathered) > 1 or gathered[0].kind is not Kind.INT or len(cells) > MOST_PICKED:
        return ""
    numbers = sorted(value for (value,) in cells if isinstance(value, int))
    return f" To join just those that are there: `pick: {{{gathered[0].name}: {numbers}}}`"


def _all_cells(ranges: Sequence[Sequence[Value]]) -> Iterator[tuple[Value, ...]]:
    """The cells one by one: `itertools.product` would hold a range of 10**18 integers."""
    if not ranges:
        yield ()
        return
    for value in ranges[0]:
        for rest in _all_cells(ranges[1:]):
            yield (value, *rest)
