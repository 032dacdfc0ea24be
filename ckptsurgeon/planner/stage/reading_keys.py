"""Which keys each reference of a rule reads: its pattern, then `where`, `map` and `pick`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.errors import ExpressionError, PlanError, Problem
from ckptsurgeon.language.expressions import Value, kind_of
from ckptsurgeon.language.patterns import Kind, is_plain_integer
from ckptsurgeon.language.rules import Span
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.tables import Address, Origin, Table


@dataclass(frozen=True, slots=True)
class Match:
    """A key that a reference reads. `raw` are its captures as read, `values` after map and pick."""

    address: Address
    origin: Origin
    raw: Mapping[str, Value]
    values: Mapping[str, Value]


def matches(
    rule: CompiledRule, reader: Reader, tables: Sequence[Table], vars: Vars
) -> Iterator[Match]:
    """Every key that the reference matches, taken or not; raises ExpressionError."""
    plain = not (rule.options.map or rule.options.pick)
    conditional = rule.options.where is not None and rule.where_names <= reader.names
    for table, raw, key in readings(reader, tables):
        if conditional and not holds(rule, raw, vars):
            continue
        address, origin = (table.alias, key), table.origins[key]
        if plain:
            yield Match(address, origin, raw, raw)
        else:
            for values in variants(rule, raw):
                yield Match(address, origin, raw, values)


def readings(
    reader: Reader, tables: Iterable[Table]
) -> Iterator[tuple[Table, dict[str, Value], str]]:
    """Table, captures and key of each key that the pattern alone matches."""
    match = reader.keys.match
    for table in tables:
        alias = reader.alias.match(table.alias)
        if alias is None:
            continue
        for key in table.candidates(reader.keys):
            raw = match(key)
            if raw is None:
                continue
            if alias:
                if any(raw.get(name, value) != value for name, value in alias.items()):
                    continue
                raw = {**alias, **raw}
            yield table, raw, key


def holds(rule: CompiledRule, raw: Mapping[str, Value], vars: Vars) -> bool:
    """Whether `where` is true of these captures, as they stand in the source.

    Raises PlanError at its place where it is no condition or can't be worked out.
    """
    where = rule.options.where
    if where is None:
        return True
    try:
        value = where.evaluate(Scope(raw, vars))
        if not isinstance(value, bool):
            raise ExpressionError(f"`{where}` is {kind_of(value)}, no condition")
    except ExpressionError as error:
        place = rule.options.places.get("where", rule.place)
        raise PlanError([Problem(f"where: {error}", place, error.help)]) from None
    return value


def variants(rule: CompiledRule, raw: Mapping[str, Value]) -> Iterator[Mapping[str, Value]]:
    """The captures after `map` and `pick`: none where they don't list them, several for repeats."""
    mapped = dict(raw)
    for name, table in rule.options.map.items():
        if name in raw:
            new = table.get(str(raw[name]))
            if new is None:
                return
            mapped[name] = _new_value(rule, name, new)
    picked = [name for name in rule.options.pick if name in raw]
    choices = [list(_places(rule.options.pick[name], raw[name])) for name in picked]
    for choice in itertools.product(*choices):
        yield {**mapped, **dict(zip(picked, choice, strict=True))}


def _new_value(rule: CompiledRule, name: str, text: str) -> Value:
    capture = (rule.captures or {})[name]
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
