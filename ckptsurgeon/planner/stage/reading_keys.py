"""Which keys each reference of a rule reads: its pattern, then `where`, `map` and `pick`.

Captures are rows of values, in the order of the reference's `columns`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from ckptsurgeon.errors import ExpressionError, PlanError, Problem
from ckptsurgeon.language.expressions import Value, kind_of
from ckptsurgeon.language.patterns import Kind, is_plain_integer
from ckptsurgeon.language.rows import Memo, OfRow, Row
from ckptsurgeon.language.rules import Span
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.tables import Table
from ckptsurgeon.plans.graph import Address, Node, full_key


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
    rule: CompiledRule, reader: Reader, tables: Sequence[Table], vars: Vars
) -> list[Match]:
    """Every key that the reference matches, taken or not; raises PlanError."""
    holds = condition(rule, reader.columns, vars) if rule.where_names <= reader.names else None
    found: list[Match] = []
    most = SPARE_STEPS + sum(len(table.nodes) for table in tables)
    vary = vary_rows(rule, reader.columns, most)
    for table, matched in match_keys(reader, tables):
        if holds is not None:
            matched = [(key, raw) for key, raw in matched if holds(raw)]
        if vary is None:
            found += [Match(table, key, raw, raw) for key, raw in matched]
            continue
        for key, raw in matched:
            found += [Match(table, key, raw, values) for values in vary(raw)]
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
    evaluate = OfRow(written.names, reader.columns, lambda c: written.evaluate(Scope(c, vars)))

    def index(match: Match) -> Index:
        try:
            return evaluate(match.raw)
        except ExpressionError as error:
            raise ExpressionError(f"`{match.name}`: {error}", help=error.help) from None

    return index


# --- conditions -----------------------------------------------------------------------------------


def condition(
    rule: CompiledRule, columns: Sequence[str], vars: Vars
) -> Callable[[Row], bool] | None:
    """What tells whether `where` is true of rows; None where the rule has none."""
    where = rule.options.where
    if where is None:
        return None
    return OfRow(where.names, columns, lambda captures: holds(rule, captures, vars))


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


# --- other values ---------------------------------------------------------------------------------


def vary_rows(
    rule: CompiledRule, columns: Sequence[str], most: int
) -> Callable[[Row], Iterable[Row]] | None:
    """What gives the captures after `map` and `pick`; None where a rule has neither.

    There are none where these don't list a value, several where `pick` repeats one; no more than
    one above `most`.
    """
    options = rule.options
    if not (options.map or options.pick):
        return None
    changed = [at for at, name in enumerate(columns) if name in (*options.map, *options.pick)]
    choices = [(at, _choices(rule, columns[at])) for at in changed]

    def vary(row: Row) -> Iterable[Row]:
        rows = [row]
        for at, of in choices:
            values = of[row[at]]
            varied = ((*one[:at], value, *one[at + 1 :]) for one in rows for value in values)
            rows = list(itertools.islice(varied, most + 1))
        return rows

    return vary


def _choices(rule: CompiledRule, name: str) -> Memo[Value, Sequence[Value]]:
    """The values of a capture after `map` and `pick`, by its own."""
    table, spans = rule.options.map.get(name), rule.options.pick.get(name)

    def choose(value: Value) -> Sequence[Value]:
        new = value if table is None else table.get(str(value))
        if new is None:
            return ()
        if spans is not None:
            return list(_places(spans, value))
        return (value if table is None else _new_value(rule, name, str(new)),)

    return Memo(choose)


def _new_value(rule: CompiledRule, name: str, text: str) -> Value:
    capture = rule.captures[name]
    if capture.kind in (Kind.INT, Kind.WORDS) and is_plain_integer(text):
        return int(text)
    return text


def _places(spans: Sequence[Span], value: Value) -> Iterator[int]:
    """The new numbers of an integer: where it stands in the list of spans."""
    before = 0
    for span in spans:
        if isinstance(value, int) and span.first <= value <= span.last:
            yield before + value - span.first
        before += span.last - span.first + 1
