"""Which keys each reference of a rule reads: its pattern, then `where`, `map` and `pick`.

Captures are rows of values, in the order of the reference's `columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from ckptsurgeon.errors import ExpressionError, PlanError, Problem
from ckptsurgeon.language.expressions import OF_TENSOR, Value, kind_of
from ckptsurgeon.language.rows import OfRow, Row, pick_columns
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.tables import Table
from ckptsurgeon.planner.stage.varying import vary_rows
from ckptsurgeon.plans.graph import Address, Node, full_key
from ckptsurgeon.specs import UnreadableSpec


class Match(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A key that a reference reads. `raw` are its captures as read, `values` after map and pick."""

    table: Table
    key: str
    raw: Row
    values: Row

    @property
    def address(self) -> Address:
        return self.table.alias, self.key

    @property
    def name(self) -> str:
        """The key behind its source's alias, for errors."""
        return full_key(*self.address)

    @property
    def node(self) -> Node:
        return self.table.nodes[self.key]


SPARE_STEPS = 100_000
"""How many more steps than keys a rule may make by combining or repeating its keys."""

SHOWN_KEYS = 3
"""How many of a step's keys an error names."""


def name_keys(matches: Sequence[Match]) -> str:
    """The first keys of a step, for errors."""
    return ", ".join(f"`{match.name}`" for match in matches[:SHOWN_KEYS])


def name_conditions(rule: CompiledRule) -> list[str]:
    """The options of a rule, for errors, by which it may pass over a key whose name matches."""
    return [f"`{word}`" for word in ("where", "map", "pick") if word in rule.options.places]


def read_keys(
    rule: CompiledRule,
    reader: Reader,
    tables: Sequence[Table],
    vars: Vars,
    *,
    regardless: bool = False,
) -> list[Match]:
    """Every key that the reference matches, taken or not; raises PlanError.

    `regardless` of `where`, where that is not of interest.
    """
    holds = None
    if not regardless and rule.has_condition(reader):
        holds = _condition_of_keys(rule, reader, vars)
    found: list[Match] = []
    most = SPARE_STEPS + sum(len(table.nodes) for table in tables)
    vary = vary_rows(rule, reader, vars, most)
    for table, matched in match_keys(reader, tables):
        if holds is not None:
            matched = [(key, raw) for key, raw in matched if holds(table, key, raw)]
        if vary is None:
            found += [Match(table, key, raw, raw) for key, raw in matched]
            continue
        for key, raw in matched:
            varied = vary(full_key(table.alias, key), raw)
            found += [Match(table, key, raw, values) for values in varied]
            if len(found) > most:
                place = rule.options.places.get("pick", rule.place)
                raise PlanError([Problem(f"`pick` repeats keys more than {most} times", place)])
    return found


# --- patterns -------------------------------------------------------------------------------------


def match_keys(
    reader: Reader, tables: Iterable[Table]
) -> Iterator[tuple[Table, list[tuple[str, Row]]]]:
    """By table, each key that the pattern alone matches with its captures."""
    read_alias, read_key = reader.alias.row_reader(), reader.keys.row_reader()
    merge = _merge(reader)
    for table in tables:
        own = read_alias(table.alias)
        if own is None:
            continue
        keys = list(table.candidates(reader.keys))
        if reader.keys.flat:  # what another rule took need not be read, where it may be several
            keys = [key for key in keys if key not in table.held.whole]
        rows: Iterable[Row | None] = map(read_key, keys)
        if own:
            rows = (None if row is None else merge(own, row) for row in rows)
        yield table, [(key, row) for key, row in zip(keys, rows, strict=True) if row is not None]


def _merge(reader: Reader) -> Callable[[Row, Row], Row | None]:
    """What joins the captures of an alias and of a key; None where a name of both differs."""
    ours, theirs = reader.alias.columns, reader.keys.columns
    shared = [(ours.index(name), theirs.index(name)) for name in ours if name in theirs]
    further = [at for at, name in enumerate(theirs) if name not in ours]

    def merge(own: Row, row: Row) -> Row | None:
        if any(own[one] != row[other] for one, other in shared):
            return None
        return (*own, *(row[at] for at in further))

    return merge


def slice_of(reader: Reader, vars: Vars) -> Callable[[Match], Index | None]:
    """What gives the slice that a reference takes of a key, by the captures as they stand in it.

    It raises ExpressionError, which names the key.
    """
    if reader.index is None:
        return lambda match: None
    written = reader.index
    looks = sorted(name for name in written.names & OF_TENSOR if name not in vars)
    columns = (*reader.columns, *looks)
    evaluate = OfRow(written.names, columns, lambda c: written.evaluate(Scope(c, vars)))

    def index(match: Match) -> Index:
        try:
            return evaluate((*match.raw, *spec_values(match, looks)) if looks else match.raw)
        except ExpressionError as error:
            raise ExpressionError(f"`{match.name}`: {error}", help=error.help) from None

    return index


def leave_partners(
    reader: Reader,
    matches: Sequence[Match],
    other: Reader,
    kept: Sequence[Match],
    left_out: Sequence[Match],
) -> list[Match]:
    """The matches of a reference without those whose partners in another are all left out."""
    shared = sorted(reader.names & other.names)
    theirs = pick_columns([other.columns.index(name) for name in shared])
    ours = pick_columns([reader.columns.index(name) for name in shared])
    gone = {theirs(one.values) for one in left_out} - {theirs(one.values) for one in kept}
    return [match for match in matches if ours(match.values) not in gone]


def keep_shared(
    reader: Reader, matches: list[Match], other: Reader, known: Sequence[Match]
) -> list[Match]:
    """The matches of a reference whose captures that another has, too, have values of its own."""
    shared = sorted(reader.names & other.names)
    if not shared:
        return matches
    theirs = pick_columns([other.columns.index(name) for name in shared])
    ours = pick_columns([reader.columns.index(name) for name in shared])
    there = {theirs(one.values) for one in known}
    return [match for match in matches if ours(match.values) in there]


def spec_values(match: Match, names: Sequence[str]) -> Row:
    """The values of `shape` and `dtype` of a key's tensor; raises ExpressionError if unknown."""
    spec = match.node.spec
    if isinstance(spec, UnreadableSpec) and not spec.has_shape and "shape" in names:
        raise ExpressionError(f"`{match.name}` has no shape that is known: it is {spec.what}")
    return tuple([spec.shape if name == "shape" else spec.dtype for name in names])


# --- conditions -----------------------------------------------------------------------------------


def condition(
    rule: CompiledRule, columns: Sequence[str], vars: Vars
) -> Callable[[Row], bool] | None:
    """What tells whether `where` is true of rows; None where the rule has none."""
    where = rule.options.where
    if where is None:
        return None
    return OfRow(where.names, columns, lambda captures: holds(rule, captures, vars))


def _condition_of_keys(
    rule: CompiledRule, reader: Reader, vars: Vars
) -> Callable[[Table, str, Row], bool] | None:
    """What tells whether `where` is true of a key and its captures; None where there is none."""
    looks = sorted(rule.where_looks)
    asked = condition(rule, (*reader.columns, *looks), vars)
    if asked is None:
        return None
    if not looks:
        return lambda table, key, raw: asked(raw)

    def holds(table: Table, key: str, raw: Row) -> bool:
        match = Match(table, key, raw, raw)
        try:
            return asked((*raw, *spec_values(match, looks)))
        except PlanError as error:
            raise PlanError(
                replace(one, message=f"`{match.name}`: {one.message}") for one in error.problems
            ) from None

    return holds


def holds(rule: CompiledRule, captures: Mapping[str, Value], vars: Vars) -> bool:
    """Whether `where` is true of captures as they stand in the source.

    Raises PlanError at its place where it is no condition or can't be worked out.
    """
    where = rule.options.where
    if where is None:
        return True
    try:
        value = where.evaluate(Scope(captures, vars))
        if not isinstance(value, bool):
            raise ExpressionError(f"`{where}` is {kind_of(value)}, no condition")
    except ExpressionError as error:
        place = rule.options.places.get("where", rule.place)
        raise PlanError([Problem(f"where: {error}", place, error.help)]) from None
    return value
