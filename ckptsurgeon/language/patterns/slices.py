"""Slices of references, as in `conv1.weight[:, :3]`: parsed, then given their numbers."""

from __future__ import annotations

import typing

from msgspec import Struct

from ckptsurgeon.errors import ExpressionError, PatternError
from ckptsurgeon.language.expressions import Expression, Scope, kind_of, names_in, parse_expression
from ckptsurgeon.ops.indexing import Index, IndexItem


class Range(Struct, frozen=True):
    """`start:stop:step` of a slice, each an expression or left out."""

    start: Expression | None
    stop: Expression | None
    step: Expression | None

    def __str__(self) -> str:
        text = f"{self.start or ''}:{self.stop or ''}"
        return f"{text}:{self.step}" if self.step else text


WrittenItem = Expression | Range | typing.Literal["..."]


class WrittenIndex(Struct, frozen=True):
    """A slice as written: expressions, ranges and at most one `...`."""

    items: tuple[WrittenItem, ...]

    @property
    def names(self) -> frozenset[str]:
        return names_in(self.items)

    def evaluate(self, scope: Scope) -> Index:
        """The slice with its numbers, in the form that `ops.indexing` takes."""
        return tuple(_concrete(item, scope) for item in self.items)

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.items))}]"


def _concrete(item: WrittenItem, scope: Scope) -> IndexItem:
    if isinstance(item, str):
        return item
    if isinstance(item, Expression):
        return _integer(item, scope)
    start, stop, step = (
        None if part is None else _integer(part, scope)
        for part in (item.start, item.stop, item.step)
    )
    return start, stop, step


def _integer(expression: Expression, scope: Scope) -> int:
    value = expression.evaluate(scope)
    if isinstance(value, bool) or not isinstance(value, int):
        help = "single places are an op: `{take: {indices: [2, 0], dim: 1}}`"
        raise ExpressionError(
            f"a slice takes integers, `{expression}` is {kind_of(value)} ({value!r})",
            help=help if isinstance(value, tuple) else "",
        )
    return value


def parse_index(text: str, column: int = 0) -> WrittenIndex:
    """The slice that a text says, with or without its brackets; raises PatternError.

    `column` is where the text begins.
    """
    inner, start = text, column
    if text.startswith("["):
        if not text.endswith("]"):
            raise PatternError("a slice without its closing `]`", column + len(text))
        inner, start = text[1:-1], column + 1
    parts = _split_outside(inner, ",")
    items = tuple(_index_item(part, start + at) for part, at in parts)
    if items.count("...") > 1:
        raise PatternError("a slice with more than one `...`", column + text.find("..."))
    return WrittenIndex(items)


def _index_item(text: str, column: int) -> WrittenItem:
    if text.strip() == "...":
        return "..."
    parts = _split_outside(text, ":")
    if len(parts) == 1:
        return _part(text, column)
    if len(parts) > 3:
        raise PatternError(f"`{text.strip()}` has more than start, stop and step", column)
    start, stop, step = [_part(p, column + c) if p.strip() else None for p, c in parts] + [None] * (
        3 - len(parts)
    )
    if step is not None and not step.names and (length := _integer(step, {})) < 1:
        raise PatternError(
            f"the step of a slice must be 1 or more, found {step}",
            column + parts[2][1],
            "the other way round is an op, as `{flip: 0}` of dim 0" if length < 0 else "",
        )
    return Range(start, stop, step)


def _part(text: str, column: int) -> Expression:
    """The expression, which must give an integer as far as that is known."""
    about = "in the slice: "
    try:
        found = parse_expression(text)
        about = ""
        if not found.names:
            _integer(found, {})
    except ExpressionError as error:
        raise PatternError(f"{about}{error}", column + error.column, error.help) from None
    return found


def _split_outside(text: str, separator: str) -> list[tuple[str, int]]:
    """The parts between separators that stand outside of brackets and quotes, with columns."""
    parts, start, depth, quote = [], 0, 0, ""
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == separator and depth == 0:
            parts.append((text[start:at], start))
            start = at + 1
    return [*parts, (text[start:], start)]
