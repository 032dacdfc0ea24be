"""Parsed expressions: each node gives its value where names mean what a scope says."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from ckptsurgeon.errors import ExpressionError, nearest

Value = bool | int | float | str | tuple["Value", ...] | Mapping[str, "Value"]
"""What an expression gives: a truth value, an integer, a decimal, a word, or a list or table."""

Scope = Mapping[str, Value]

MAX_INTEGER = 2**63 - 1

MOST_ITEMS = 65_536
"""Most items of a list that is worked out, those of lists in it each counted where they stand."""

OF_TENSOR = frozenset({"shape", "dtype"})
"""The names that mean something of the tensor at hand, where these are no captures or vars."""


def kind_of(value: Value) -> str:
    """What a value is, in a user's words: `an integer`, `a word`, …"""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, Mapping):
        return "a table"
    kinds = {int: "an integer", float: "a decimal", str: "a word", tuple: "a list"}
    return next(said for kind, said in kinds.items() if isinstance(value, kind))


class Listed(tuple[Value, ...]):
    """A list that notes which of its items were asked for by numbers that were worked out."""

    asked: set[int]

    def __new__(cls, items: Iterable[Value]) -> Listed:
        made = super().__new__(cls, items)
        made.asked = set()
        return made


class Constant(Struct, frozen=True):
    value: Value

    def evaluate(self, scope: Scope) -> Value:
        return self.value


class Name(Struct, frozen=True):
    name: str
    column: int

    def __str__(self) -> str:
        return self.name

    def evaluate(self, scope: Scope) -> Value:
        try:
            return scope[self.name]
        except KeyError:
            raise unknown_name(self.name, scope, self.column) from None


class List(Struct, frozen=True):
    items: tuple[Node, ...]

    def evaluate(self, scope: Scope) -> Value:
        made = tuple(item.evaluate(scope) for item in self.items)
        if any(isinstance(item, tuple) for item in made) and _count_items(made) > MOST_ITEMS:
            raise ExpressionError(
                f"a list of more than {MOST_ITEMS:,} items, with those in its lists"
            )
        return made


def _count_items(value: Value) -> int:
    """The items of a list, and of the lists in it."""
    return sum(map(_count_items, value)) if isinstance(value, tuple) else 1


class Item(Struct, frozen=True):
    """`of[index]`: an item of a list by its number, or of a table by its word.

    `text` and `index_text` are what stands there. A number that is written may count from the end.
    """

    of: Node
    index: Node
    text: str
    index_text: str
    column: int

    def evaluate(self, scope: Scope) -> Value:
        items, index = self.of.evaluate(scope), self.index.evaluate(scope)
        if isinstance(items, Mapping):
            return self._entry(items, index)
        if not isinstance(items, tuple):
            message = f"`{self.text}` is {kind_of(items)}: it has no items"
            raise ExpressionError(message, self.column)
        return items[self._number(items, index)]

    def _entry(self, table: Mapping[str, Value], word: Value) -> Value:
        if isinstance(word, bool) or not isinstance(word, str | int):
            message = f"`{self.text}` is a table, whose words `{self.index_text}` is none of"
            raise ExpressionError(f"{message}: it is {kind_of(word)}", self.column)
        if str(word) not in table:
            message = f"`{self.text}` has no {str(word)!r}"
            raise ExpressionError(message, self.column, nearest(str(word), table))
        return table[str(word)]

    def _number(self, items: tuple[Value, ...], index: Value) -> int:
        if isinstance(index, bool) or not isinstance(index, int):
            message = f"`{self.text}` is a list, whose items have numbers: `{self.index_text}` is"
            raise ExpressionError(f"{message} {kind_of(index)} ({index!r})", self.column)
        is_written = _is_written(self.index)
        if index < 0 and not is_written:
            help = "leave out what has no such item by `where`"
            raise ExpressionError(f"the index {self.index_text} is {index}", self.column, help)
        if not -len(items) <= index < len(items):
            found = "" if is_written else f", and {self.index_text} is {index}"
            help = f"the last one is `{self.text}[{len(items) - 1}]`" if items else ""
            raise ExpressionError(f"{self.text} has {_count(items)}{found}", self.column, help)
        if isinstance(items, Listed) and not is_written:
            items.asked.add(index)
        return index

    def __str__(self) -> str:
        return f"{self.text}[{self.index_text}]"


def _is_written(index: Node) -> bool:
    """Whether an index is a number as it stands there, such as -1."""
    return isinstance(index.operand if isinstance(index, Unary) else index, Constant)


def _count(items: tuple[Value, ...]) -> str:
    return f"{len(items)} item{'s' * (len(items) != 1)}"


class Unary(Struct, frozen=True):
    symbol: str
    operand: Node
    column: int

    def evaluate(self, scope: Scope) -> Value:
        value = self.operand.evaluate(scope)
        if self.symbol == "not":
            return not _truth(value, "not", self.column)
        number = _number(value, self.symbol, self.column)
        return -number if self.symbol == "-" else number


class Arithmetic(Struct, frozen=True):
    symbol: str
    left: Node
    right: Node
    column: int

    def evaluate(self, scope: Scope) -> Value:
        left = _number(self.left.evaluate(scope), self.symbol, self.column)
        right = _number(self.right.evaluate(scope), self.symbol, self.column)
        try:
            result: int | float = _ARITHMETIC[self.symbol](left, right)
        except (ZeroDivisionError, OverflowError):
            raise ExpressionError(
                f"can't compute {left} {self.symbol} {right}", self.column
            ) from None
        return bounded(result, self.column)


class Comparison(Struct, frozen=True):
    """A chain: `first (symbol operand)*`, each link between neighbours."""

    first: Node
    links: tuple[tuple[str, Node, int], ...]

    def evaluate(self, scope: Scope) -> Value:
        left = self.first.evaluate(scope)
        for symbol, operand, column in self.links:
            right = operand.evaluate(scope)
            if not _compare(left, symbol, right, column):
                return False
            left = right
        return True


class Both(Struct, frozen=True):
    """`and` and `or`, which look at their right side only where the left one leaves it open."""

    symbol: str
    left: Node
    right: Node
    column: int

    def evaluate(self, scope: Scope) -> Value:
        left = _truth(self.left.evaluate(scope), self.symbol, self.column)
        if left == (self.symbol == "or"):
            return left
        return _truth(self.right.evaluate(scope), self.symbol, self.column)


Node = Constant | Name | List | Item | Unary | Arithmetic | Comparison | Both


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; equal texts are equal expressions."""

    text: str
    root: Node = field(compare=False, repr=False)
    names: frozenset[str] = field(compare=False, repr=False)

    def evaluate(self, scope: Scope) -> Value:
        """The value where the names mean what `scope` says; raises ExpressionError."""
        return self.root.evaluate(scope)

    def __str__(self) -> str:
        return self.text


class Plain(Struct, frozen=True):
    """A part of a rule that holds no expressions, and may be too long to be searched for them."""


def expressions_in(value: object) -> Iterator[Expression]:
    """The expressions within a value as rules have it: in lists, tables, slices and vars."""
    parts: Iterable[object] = ()
    if isinstance(value, Expression):
        yield value
    elif isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, tuple):
        parts = value
    elif isinstance(value, Struct) and not isinstance(value, Plain):
        parts = (getattr(value, name) for name in value.__struct_fields__)
    for part in parts:
        yield from expressions_in(part)


def names_in(value: object) -> frozenset[str]:
    """The names that the expressions within a value need values of."""
    return frozenset().union(*(expression.names for expression in expressions_in(value)))


def parts_that_name(part: object, names: Collection[str]) -> Iterator[Name | Item]:
    """The parts of an expression that are one of these names, or an item of one."""
    root = part
    while isinstance(root, Item):
        root = root.of
    if isinstance(root, Name):
        if root.name in names and isinstance(part, Name | Item):
            yield part
    elif isinstance(part, tuple):
        for inner in part:
            yield from parts_that_name(inner, names)
    elif isinstance(part, Struct):
        for field in part.__struct_fields__:
            yield from parts_that_name(getattr(part, field), names)


def words_compared_to(name: str, part: object) -> Iterator[str]:
    """The words that an expression compares this name to, alone or in lists."""
    if isinstance(part, Comparison):
        operands = [part.first, *(operand for _, operand, _ in part.links)]
        for one, other in itertools.pairwise(operands):
            yield from (*_words_beside(name, one, other), *_words_beside(name, other, one))
    for inner in part if isinstance(part, tuple) else ():
        yield from words_compared_to(name, inner)
    for word in part.__struct_fields__ if isinstance(part, Struct) else ():
        yield from words_compared_to(name, getattr(part, word))


def _words_beside(name: str, named: Node, other: Node) -> Iterator[str]:
    if isinstance(named, Name) and named.name == name:
        for item in other.items if isinstance(other, List) else (other,):
            if isinstance(item, Constant) and isinstance(item.value, str):
                yield item.value


def unknown_name(
    name: str, known: Iterable[str], column: int = 0, help: str = ""
) -> ExpressionError:
    """The error for a name that is neither a capture nor a var; `help` where none is near."""
    hint = nearest(name, sorted(known)) or help or f"a word wants quotes: '{name}'"
    return ExpressionError(f"unknown name {name!r}", column, hint)


_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}

_ORDERING: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _number(value: Value, symbol: str, column: int) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        digits = isinstance(value, str) and value.isascii() and value.isdigit()
        help = "digits are a number where their capture is `<i>`, without a kind" if digits else ""
        message = f"{symbol} takes numbers, found {kind_of(value)} ({value!r})"
        raise ExpressionError(message, column, help=help)
    return value


def _truth(value: Value, symbol: str, column: int) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(
            f"{symbol} takes conditions, found {kind_of(value)} ({value!r})", column
        )
    return value


def bounded(value: int | float, column: int) -> int | float:
    too_large = abs(value) > MAX_INTEGER if isinstance(value, int) else not math.isfinite(value)
    if too_large:
        raise ExpressionError("a number beyond 2**63", column)
    return value


def _equal(left: Value, right: Value, symbol: str, column: int) -> bool:
    """Whether two values are the same, where truth is no number, in lists neither.

    Raises ExpressionError for a word and a number, which are never the same.
    """
    if {type(left), type(right)} in ({str, int}, {str, float}):
        word, number = (left, right) if isinstance(left, str) else (right, left)
        help = (
            "words stand in quotes, numbers don't; `<i>` captures digits as a number, "
            "`<i:str>` as a word"
        )
        message = f"{symbol} of a word ('{word}') and a number ({number}), which are never the same"
        raise ExpressionError(message, column, help=help)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(
            _equal(one, other, symbol, column) for one, other in zip(left, right, strict=True)
        )
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _compare(left: Value, symbol: str, right: Value, column: int) -> bool:
    if symbol in ("==", "!="):
        return _equal(left, right, symbol, column) == (symbol == "==")
    if symbol in ("in", "not in"):
        if isinstance(right, Mapping):
            is_word = isinstance(left, str | int) and not isinstance(left, bool)
            return (is_word and str(left) in right) == (symbol == "in")
        if not isinstance(right, tuple):
            message = f"{symbol} looks into a list or a table, found {kind_of(right)}"
            raise ExpressionError(message, column)
        return any(_equal(left, item, symbol, column) for item in right) == (symbol == "in")
    return _ORDERING[symbol](_number(left, symbol, column), _number(right, symbol, column))
