"""Targets of a rule written for the values of its captures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ckptsurgeon.errors import ExpressionError, PlanError, Problem
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import Capture, Formula, Literal, Pattern, write_integer
from ckptsurgeon.language.rows import Memo, OfRow, Row
from ckptsurgeon.ops.indexing import Index
from ckptsurgeon.planner.compiling.compiled import Target
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.reading_keys import Match, name_keys

Text = Callable[[Row], str]


class TargetWriter:
    """Writes the key of one target, and its slice, for rows of values; what rows share once."""

    def __init__(self, target: Target, columns: Sequence[str], vars: Vars) -> None:
        self.target = target
        self._key = write_pattern(target.pattern, columns, vars)
        self._index: OfRow[Index] | None = None
        if target.index is not None:
            index = target.index
            self._index = OfRow(index.names, columns, lambda c: index.evaluate(Scope(c, vars)))

    def write(self, values: Row, matches: Sequence[Match]) -> tuple[str, Index | None]:
        """The key and the slice; raises PlanError at its place, which names the keys behind it."""
        try:
            return self._key(values), None if self._index is None else self._index(values)
        except ExpressionError as error:
            text = f"{name_keys(matches)} -> `{self.target.text}`: {error}"
            raise PlanError([Problem(text, self.target.place, error.help)]) from None

    def key(self, values: Row) -> str:
        """The key alone; raises ExpressionError."""
        return self._key(values)


def write_pattern(pattern: Pattern, columns: Sequence[str], vars: Vars) -> Text:
    """What writes the key of a resolved target for rows of these columns."""
    form, texts = "", list[Text]()
    for piece in pattern.pieces:
        if isinstance(piece, Literal):
            form += piece.text.replace("%", "%%")
            continue
        form += "%s"
        if isinstance(piece, Capture):
            texts.append(_captured(piece, columns.index(piece.name)))
        elif isinstance(piece, Formula):
            texts.append(_worked_out(piece, columns, vars))
        else:
            raise TypeError(f"{piece} is no part of a target")
    return lambda row: form % tuple([text(row) for text in texts])


def _captured(capture: Capture, number: int) -> Text:
    texts: Memo[Value, str] = Memo(capture.write)
    return lambda row: texts[row[number]]


def _worked_out(formula: Formula, columns: Sequence[str], vars: Vars) -> Text:
    def write(captures: Mapping[str, Value]) -> str:
        value = formula.expression.evaluate(Scope(captures, vars))
        return value if isinstance(value, str) else write_integer(value)

    return OfRow(formula.expression.names, columns, write)
