"""What `map` and `pick` make of the captures of a key."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ckptsurgeon.errors import ExpressionError, PlanError, Problem
from ckptsurgeon.language.expressions import Expression, Value, kind_of, names_in
from ckptsurgeon.language.patterns import Kind, is_plain_integer
from ckptsurgeon.language.rows import OfRow, Row
from ckptsurgeon.language.rules import Listing, Pick, Renames, evaluate
from ckptsurgeon.planner.compiling.compiled import CompiledRule, Reader
from ckptsurgeon.planner.scope import Scope, Vars

Spans = Sequence[tuple[int, int]]
"""What a `pick` lists, each from its first integer to its last."""


def vary_rows(
    rule: CompiledRule, reader: Reader, vars: Vars, most: int
) -> Callable[[str, Row], Iterable[Row]] | None:
    """What gives the captures of a key after `map` and `pick`; None where a rule has neither.

    There are none where these don't list a value, several where `pick` repeats one; no more than
    one above `most`. It raises PlanError, at the one of both that is wrong, with the key.
    """
    options, columns = rule.options, reader.columns
    if not (options.map or options.pick):
        return None
    changed = [at for at, name in enumerate(columns) if name in (*options.map, *options.pick)]
    choices = [(at, _choices(rule, columns[at], columns, vars)) for at in changed]

    def vary(key: str, row: Row) -> Iterable[Row]:
        rows = [row]
        for at, of in choices:
            try:
                values = of(row)
            except ExpressionError as error:
                word = "pick" if columns[at] in options.pick else "map"
                raise PlanError([_at_option(rule, word, key, error)]) from None
            varied = ((*one[:at], value, *one[at + 1 :]) for one in rows for value in values)
            rows = list(itertools.islice(varied, most + 1))
        return rows

    return vary


def _at_option(rule: CompiledRule, word: str, key: str, error: ExpressionError) -> Problem:
    """An error of `map` or `pick` told at its place, with the key."""
    place = rule.options.places.get(word, rule.place)
    return Problem(f"{word}: `{key}`: {error}", place, error.help)


def _choices(
    rule: CompiledRule, name: str, columns: Sequence[str], vars: Vars
) -> OfRow[Sequence[Value]]:
    """What gives the values of a capture after `map` and `pick`, by the captures as read."""
    pick, written = rule.options.pick.get(name), rule.options.map.get(name)
    asked = {name, *names_in(pick), *names_in(written)}
    if pick is not None:
        listed = _fixed(pick)

        def places(captures: Mapping[str, Value]) -> Sequence[Value]:
            spans = listed or spans_of(pick, Scope(captures, vars))
            return list(_places(spans, captures[name]))

        return OfRow(asked, columns, places)

    known = None if isinstance(written, Expression) else table_of(written or {}, {})

    def renamed(captures: Mapping[str, Value]) -> Sequence[Value]:
        table = known
        if table is None:
            table = table_of(written or {}, Scope(captures, vars))
        new = table.get(str(captures[name]))
        return () if new is None else (_new_value(rule, name, new),)

    return OfRow(asked, columns, renamed)


# --- pick -----------------------------------------------------------------------------------------


def _fixed(pick: Pick) -> Spans | None:
    """The spans of a `pick` that is written in numbers; None where it is worked out."""
    return None if names_in(pick) else spans_of(pick, {})


def spans_of(pick: Pick, scope: Mapping[str, Value]) -> Spans:
    """The spans of a `pick` with their numbers; raises ExpressionError."""
    if isinstance(pick, Expression):
        listed = pick.evaluate(scope)
        if not isinstance(listed, tuple):
            message = f"`{pick}` is {kind_of(listed)} ({listed!r}); a list of integers is wanted"
            raise ExpressionError(message)
        numbers = [_integer(item, pick) for item in listed]
        return [(number, number) for number in numbers]
    spans = []
    for span in pick:
        first, last = (_integer(evaluate(end, scope), end) for end in (span.first, span.last))
        if last < first:
            raise ExpressionError(f"the range {first}..{last} ends before it begins")
        spans.append((first, last))
    return spans


def _integer(value: object, written: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ExpressionError(f"`{written}`: integers from 0 up are wanted, found {value!r}")
    return value


def _places(spans: Spans, value: Value) -> Iterator[int]:
    """The new numbers of an integer: where it stands in the list of spans."""
    before = 0
    for first, last in spans:
        if isinstance(value, int) and first <= value <= last:
            yield before + value - first
        before += last - first + 1


# --- map ------------------------------------------------------------------------------------------


def table_of(written: Renames, scope: Mapping[str, Value]) -> Mapping[str, str]:
    """The table of a `map`, old to new; raises ExpressionError."""
    if isinstance(written, Listing):
        return {entry.old: entry.new for entry in written.entries if entry.new is not None}
    if not isinstance(written, Expression):
        return written
    table = written.evaluate(scope)
    if not isinstance(table, Mapping):
        message = f"`{written}` is {kind_of(table)} ({table!r}); a table `{{old: new}}` is wanted"
        raise ExpressionError(message)
    for old, new in table.items():
        if isinstance(new, bool) or not isinstance(new, str | int):
            message = f"`{written}`: {old!r} is {kind_of(new)}; words and integers are wanted"
            raise ExpressionError(message)
    return {old: str(new) for old, new in table.items()}


def _new_value(rule: CompiledRule, name: str, text: str) -> Value:
    capture = rule.captures[name]
    if capture.kind in (Kind.INT, Kind.WORDS) and is_plain_integer(text):
        return int(text)
    return text
