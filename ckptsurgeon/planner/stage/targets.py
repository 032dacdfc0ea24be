"""Targets of a rule written for the values of its captures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ckptsurgeon.errors import ExpressionError, PlanError, Problem
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import Capture, Formula, Literal, Pattern, write_integer
from ckptsurgeon.language.rows import Memo, OfRow, Row
from ckptsurgeon.language.rules import At
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.reading_keys import Match, name_keys
from ckptsurgeon.plans.addresses import COLONS, check_alias, check_unnamed


class TargetWriter:
    """Writes the key of one target, and its slice, for rows of values; what rows share once.

    `key` writes the key alone; it raises ExpressionError.
    """

    def __init__(
        self, target: At, columns: Sequence[str], vars: Vars, *, is_named: bool = False
    ) -> None:
        self.target = target
        self.key = write_target(target, columns, vars, is_named=is_named)
        self._index: OfRow[Index] | None = None
        if target.index is not None:
            index = target.index
            self._index = OfRow(index.names, columns, lambda c: index.evaluate(Scope(c, vars)))

    def write(self, values: Row, matches: Sequence[Match]) -> tuple[str, Index | None]:
        """The key and the slice; raises PlanError at its place, which names the keys behind it."""
        try:
            return self.key(values), None if self._index is None else self._index(values)
        except ExpressionError as error:
            text = f"{name_keys(matches)} -> `{self.target.text}`: {error}"
            raise PlanError([Problem(text, self.target.place, error.help)]) from None


def write_target(
    target: At, columns: Sequence[str], vars: Vars, *, is_named: bool
) -> Callable[[Row], str]:
    """What writes the key of a target, or its address where it is one of a named output.

    `is_named` says that outputs have names. It raises ExpressionError, also for texts of which no
    address can be made.
    """
    if target.alias is None:
        write = write_pattern(target.pattern, columns, vars)
        return (lambda row: check_unnamed(write(row))) if is_named else write
    rest = Pattern(target.pattern.pieces[len(target.alias.pieces) + 1 :])
    alias, key = (write_pattern(one, columns, vars) for one in (target.alias, rest))
    checked = Memo(check_alias)
    return lambda row: f"{checked[alias(row)]}{COLONS}{key(row)}"


def write_pattern(pattern: Pattern, columns: Sequence[str], vars: Vars) -> Callable[[Row], str]:
    """What writes the key of a resolved target for rows of these columns."""
    form, texts = "", list[OfRow[str]]()
    for piece in pattern.pieces:
        if isinstance(piece, Literal):
            form += piece.text.replace("%", "%%")
        elif isinstance(piece, Capture | Formula):
            form += "%s"
            texts.append(_write_piece(piece, columns, vars))
        else:
            raise TypeError(f"{piece} is no part of a target")
    parts = [(text.memo, text.pick) for text in texts]  # a million rows save the calls
    return lambda row: form % tuple([memo[pick(row)] for memo, pick in parts])


def _write_piece(piece: Capture | Formula, columns: Sequence[str], vars: Vars) -> OfRow[str]:
    """What writes a part of a key."""
    if isinstance(piece, Capture):
        name, capture = piece.name, piece
        return OfRow([name], columns, lambda captures: capture.write(captures[name]))
    expression = piece.expression

    def write(captures: Mapping[str, Value]) -> str:
        value = expression.evaluate(Scope(captures, vars))
        if isinstance(value, str):
            return value
        return write_integer(value, formula=str(expression))

    return OfRow(expression.names, columns, write)
