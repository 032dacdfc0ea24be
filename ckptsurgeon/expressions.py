"""The small expressions of a rule file: parsed once, evaluated many times, unable to do harm.

Integers, decimals, words, lists; `+ - * / // %`, comparisons (chained too), `and or not in`. There
are no calls, no attributes, no powers; texts, depths and numbers are bounded, so evaluation takes
time linear in the text. `config.a.b` is one dotted name.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from ckptsurgeon.errors import ExpressionError, nearest

Value = bool | int | float | str | tuple["Value", ...]
"""What an expression gives: a truth value, an integer, a decimal, a word, or a list of these."""

MAX_TEXT = 1000
MAX_DEPTH = 40
MAX_INTEGER = 2**63 - 1

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
    | (?P<word>'[^']*'|"[^"]*")
    | (?P<symbol><=|>=|==|!=|//|[-+*/%()<>\[\],])
    )""",
    re.VERBOSE,
)
_PLAIN_INTEGER = re.compile(r"0|[1-9][0-9]*")
_RESERVED = frozenset({"and", "or", "not", "in"})
_TRUTH: Mapping[str, bool] = {"true": True, "false": False, "True": True, "False": False}


def kind_of(value: Value) -> str:
    """What a value is, in a user's words: `an integer`, `a word`, …"""
    if isinstance(value, bool):
        return "true or false"
    kinds = {int: "an integer", float: "a decimal", str: "a word", tuple: "a list"}
    return kinds[type(value)]


# --- the parsed form ------------------------------------------------------------------------------

Scope = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Constant:
    value: Value

    def evaluate(self, scope: Scope) -> Value:
        return self.value


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    column: int

    def evaluate(self, scope: Scope) -> Value:
        try:
            return scope[self.name]
        except KeyError:
            raise unknown_name(self.name, scope, self.column) from None


@dataclass(frozen=True, slots=True)
class List:
    items: tuple[Node, ...]

    def evaluate(self, scope: Scope) -> Value:
        return tuple(item.evaluate(scope) for item in self.items)


@dataclass(frozen=True, slots=True)
class Unary:
    symbol: str
    operand: Node
    column: int

    def evaluate(self, scope: Scope) -> Value:
        value = self.operand.evaluate(scope)
        if self.symbol == "not":
            return not _truth(value, "not", self.column)
        number = _number(value, self.symbol, self.column)
        return -number if self.symbol == "-" else number


@dataclass(frozen=True, slots=True)
class Arithmetic:
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
        return _bounded(result, self.column)


@dataclass(frozen=True, slots=True)
class Comparison:
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


@dataclass(frozen=True, slots=True)
class Both:
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


Node = Constant | Name | List | Unary | Arithmetic | Comparison | Both


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


def parse_expression(text: str) -> Expression:
    """The expression a text says; raises ExpressionError with the column of what is wrong."""
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"an expression of {len(text)} characters; at most {MAX_TEXT}")
    if not text.strip():
        raise ExpressionError("an empty expression", help="write a number, a name or a formula")
    parser = _Parser(text)
    root = parser.whole()
    return Expression(text.strip(), root, frozenset(parser.names))


def unknown_name(name: str, known: Iterable[str], column: int = 0) -> ExpressionError:
    """The error for a name that is neither a capture nor a var."""
    names = sorted(known)
    hint = nearest(name, names) or f"a word wants quotes: '{name}'"
    return ExpressionError(f"unknown name {name!r}", column, hint)


# --- evaluation -----------------------------------------------------------------------------------

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
        raise ExpressionError(f"{symbol} takes numbers, found {kind_of(value)} ({value!r})", column)
    return value


def _truth(value: Value, symbol: str, column: int) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(
            f"{symbol} takes conditions, found {kind_of(value)} ({value!r})", column
        )
    return value


def _bounded(value: int | float, column: int) -> int | float:
    too_large = abs(value) > MAX_INTEGER if isinstance(value, int) else not math.isfinite(value)
    if too_large:
        raise ExpressionError("a number beyond 2**63", column)
    return value


def _compare(left: Value, symbol: str, right: Value, column: int) -> bool:
    if symbol in ("==", "!="):
        equal = left == right and isinstance(left, bool) == isinstance(right, bool)
        return equal == (symbol == "==")
    if symbol in ("in", "not in"):
        if not isinstance(right, tuple):
            raise ExpressionError(f"{symbol} looks into a list, found {kind_of(right)}", column)
        return (left in right) == (symbol == "in")
    return _ORDERING[symbol](_number(left, symbol, column), _number(right, symbol, column))


# --- parsing --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def _tokens(text: str) -> list[_Token]:
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise ExpressionError(f"{text[at]!r} has no meaning in an expression", at)
        kind = match.lastgroup
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return [*tokens, _Token("end", "", end)]


class _Parser:
    """Recursive descent, one method a level of precedence, `or` loosest."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0
        self.names: set[str] = set()

    def whole(self) -> Node:
        node = self.either()
        if self.token.kind != "end":
            self.unexpected()
        return node

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these symbols or reserved words."""
        token = self.token
        if token.kind in ("symbol", "name") and token.text in texts:
            self.at += 1
            return token
        return None

    def unexpected(self) -> NoReturn:
        token = self.token
        found = repr(token.text) if token.text else "the end"
        raise ExpressionError(
            f"{found} where the expression should end or go on",
            token.column,
            "it takes numbers, names, 'words', lists, + - * / // %, comparisons, and, or, not, in",
        )

    def either(self) -> Node:
        node = self.both()
        while token := self.take("or"):
            node = Both("or", node, self.both(), token.column)
        return node

    def both(self) -> Node:
        node = self.negation()
        while token := self.take("and"):
            node = Both("and", node, self.negation(), token.column)
        return node

    def negation(self) -> Node:
        if token := self.take("not"):
            return Unary("not", self.nested(self.negation), token.column)
        return self.comparison()

    def comparison(self) -> Node:
        first, links = self.sum(), []
        while link := self.comparator():
            links.append((link[0], self.sum(), link[1]))
        return Comparison(first, tuple(links)) if links else first

    def comparator(self) -> tuple[str, int] | None:
        if token := self.take("<", "<=", ">", ">=", "==", "!=", "in"):
            return token.text, token.column
        if token := self.take("not"):
            if not self.take("in"):
                self.unexpected()
            return "not in", token.column
        return None

    def sum(self) -> Node:
        node = self.product()
        while token := self.take("+", "-"):
            node = Arithmetic(token.text, node, self.product(), token.column)
        return node

    def product(self) -> Node:
        node = self.signed()
        while token := self.take("*", "/", "//", "%"):
            node = Arithmetic(token.text, node, self.signed(), token.column)
        return node

    def signed(self) -> Node:
        if token := self.take("-", "+"):
            return Unary(token.text, self.nested(self.signed), token.column)
        return self.atom()

    def atom(self) -> Node:
        token = self.token
        if self.take("("):
            node = self.nested(self.either)
            self.close(")")
            return node
        if self.take("["):
            return self.list()
        if token.kind not in ("number", "word", "name") or token.text in _RESERVED:
            self.unexpected()
        self.at += 1
        if token.kind == "number":
            return Constant(_literal(token))
        return Constant(token.text[1:-1]) if token.kind == "word" else self.name(token)

    def list(self) -> Node:
        items: list[Node] = []
        while not self.take("]"):
            items.append(self.nested(self.either))
            if not self.take(","):
                self.close("]")
                break
        return List(tuple(items))

    def close(self, bracket: str) -> None:
        if not self.take(bracket):
            raise ExpressionError(f"{bracket!r} is missing", self.token.column)

    def name(self, token: _Token) -> Node:
        if token.text in _TRUTH:
            return Constant(_TRUTH[token.text])
        if "." in token.text and not token.text.startswith("config."):
            raise ExpressionError(
                f"{token.text!r}: a name has no attributes",
                token.column,
                "only `config.name` is dotted",
            )
        self.names.add(token.text)
        return Name(token.text, token.column)

    def nested(self, parse: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(f"more than {MAX_DEPTH} levels of brackets", self.token.column)
        node = parse()
        self.depth -= 1
        return node


def _literal(token: _Token) -> int | float:
    if _PLAIN_INTEGER.fullmatch(token.text) and len(token.text) < 25:
        return _bounded(int(token.text), token.column)
    if token.text.isdigit():
        raise ExpressionError(f"{token.text[:30]!r} is no plain integer", token.column)
    return _bounded(float(token.text), token.column)
