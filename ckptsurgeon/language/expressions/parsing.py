"""Expressions read from their text, by recursive descent, with bounds on length and depth."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NoReturn

from msgspec import Struct

from ckptsurgeon.errors import ExpressionError
from ckptsurgeon.language.expressions.terms import (
    Arithmetic,
    Both,
    Comparison,
    Constant,
    Expression,
    Item,
    List,
    Name,
    Node,
    Unary,
    bounded,
)

MAX_TEXT = 1000
MAX_DEPTH = 40

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
_TRUTH: Mapping[str, bool] = {"true": True, "false": False, "True": True, "False": False}


def parse_expression(text: str) -> Expression:
    """The expression a text says; raises ExpressionError with the column of what is wrong."""
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"an expression of {len(text)} characters; at most {MAX_TEXT}")
    if not text.strip():
        raise ExpressionError("an empty expression", help="write a number, a name or a formula")
    parser = _Parser(text)
    root = parser.whole()
    return Expression(text.strip(), root, frozenset(parser.names))


class _Token(Struct, frozen=True):
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


_NOT, _COMPARING = 3, 4

_BINDING: Mapping[str, int] = {
    "or": 1,
    "and": 2,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in", "not"), _COMPARING),
    **dict.fromkeys(("+", "-"), 5),
    **dict.fromkeys(("*", "/", "//", "%"), 6),
}
"""How tightly operators bind; one `not` alone stands before its operand."""


class _Parser:
    """Recursive descent, by how tightly operators bind."""

    def __init__(self, text: str) -> None:
        self.text, self.tokens = text, _tokens(text)
        self.at = 0
        self.depth = 0
        self.names: set[str] = set()

    def whole(self) -> Node:
        node = self.operands()
        if self.token.kind != "end":
            self.unexpected()
        return node

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these symbols or reserved words."""
        return self.next() if self.token.text in texts else None

    def next(self) -> _Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def unexpected(self) -> NoReturn:
        token = self.token
        found = repr(token.text) if token.text else "the end"
        raise ExpressionError(
            f"{found} where the expression should end or go on",
            token.column,
            "it takes numbers, names, 'words', lists, + - * / // %, comparisons, and, or, not, in",
        )

    def operands(self, above: int = 0) -> Node:
        """Operands with operators between them that bind more tightly than `above`."""
        if above <= _NOT and (token := self.take("not")):
            node: Node = Unary("not", self.nested(lambda: self.operands(_NOT)), token.column)
        else:
            node = self.signed()
        while (binding := _BINDING.get(self.token.text, 0)) > above:
            if binding == _COMPARING:
                node = self.comparison(node)
                continue
            token = self.next()
            kind = Both if binding < _NOT else Arithmetic
            node = kind(token.text, node, self.operands(binding), token.column)
        return node

    def comparison(self, first: Node) -> Node:
        links = []
        while link := self.comparator():
            links.append((link[0], self.operands(_COMPARING), link[1]))
        return Comparison(first, tuple(links))

    def comparator(self) -> tuple[str, int] | None:
        if token := self.take("<", "<=", ">", ">=", "==", "!=", "in"):
            return token.text, token.column
        if token := self.take("not"):
            if not self.take("in"):
                self.unexpected()
            return "not in", token.column
        return None

    def signed(self) -> Node:
        if token := self.take("-", "+"):
            return Unary(token.text, self.nested(self.signed), token.column)
        return self.item()

    def item(self) -> Node:
        """An atom with the brackets behind it, as in `keep[i][0]`."""
        start, depth, node = self.at, self.depth, self.atom()
        while self.token.text == "[":
            of = self.since(start)
            self.next()
            inner = self.at
            self.depth += 1  # each of them is one level more to evaluate
            index = self.nested(self.operands)
            text = self.since(inner)
            self.close("]")
            node = Item(node, index, of, text, self.tokens[start].column)
        self.depth = depth
        return node

    def since(self, start: int) -> str:
        """The text from a token on to the last one that was taken."""
        last = self.tokens[self.at - 1]
        return self.text[self.tokens[start].column : last.column + len(last.text)]

    def atom(self) -> Node:
        token = self.token
        if self.take("("):
            node = self.nested(self.operands)
            self.close(")")
            return node
        if self.take("["):
            return self.list()
        if token.kind not in ("number", "word", "name") or token.text in _BINDING:
            self.unexpected()
        self.next()
        if token.kind == "number":
            return Constant(_literal(token))
        return Constant(token.text[1:-1]) if token.kind == "word" else self.name(token)

    def list(self) -> Node:
        items: list[Node] = []
        while not self.take("]"):
            items.append(self.nested(self.operands))
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
        return bounded(int(token.text), token.column)
    if token.text.isdigit():
        raise ExpressionError(f"{token.text[:30]!r} is no plain integer", token.column)
    return bounded(float(token.text), token.column)
