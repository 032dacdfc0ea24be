"""What patterns are made of: literal text, captures, formulas; and references as written."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from ckptsurgeon.errors import ExpressionError
from ckptsurgeon.language.expressions import Expression, Scope, Value, kind_of, names_in
from ckptsurgeon.language.patterns.slices import WrittenIndex

MAX_DIGITS = 18
"""Most digits of an integer in a key: below 2**63."""


def is_digits(text: str) -> bool:
    """Whether a text is one to 18 digits, of ASCII alone."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def is_plain_integer(text: str) -> bool:
    """Whether a text is an integer as keys have them: digits without a leading zero."""
    return is_digits(text) and (text == "0" or text[0] != "0")


class Kind(enum.Enum):
    """What a capture matches, in a user's words."""

    BARE = "a bare name"
    INT = "an integer"
    WORDS = "words"
    TEXT = "one piece"
    PATH = "pieces"


class Word(Struct, frozen=True):
    """`left=right`: matched as `left`, written as `right`; a plain word is both."""

    left: str
    right: str

    def __str__(self) -> str:
        """As it reads in a pattern, with a backslash before what would mean something else."""
        sides = (self.left,) if self.left == self.right else (self.left, self.right)
        return "=".join(re.sub(r"([\\|=>\s])", r"\\\1", side) for side in sides)


class Literal(Struct, frozen=True):
    text: str


class Capture(Struct, frozen=True):
    """A named piece; stars are named `*1`, `*2`, … in the order of their pattern.

    `width` is the number of digits of a zero-padded integer, 0 where it is plain. `separator` is
    what stands between the pieces of a path instead of dots, None where dots do. `column` is where
    it stands in its text.
    """

    name: str
    kind: Kind
    width: int = 0
    words: tuple[Word, ...] = ()
    column: int = 0
    separator: str | None = None

    @property
    def nameless(self) -> bool:
        """`<_:…>`: matches, but takes no part in grouping."""
        return self.name == "_"

    @property
    def star(self) -> bool:
        return self.name.startswith("*")

    def value(self, text: str) -> Value:
        """What the matched text means: an integer where the kind or an all-digit word says so.

        A `re:` may match digits that are no plain integer, as `07`: those stay text.
        """
        if self.kind is Kind.INT:
            return int(text) if self.width or is_plain_integer(text) else text
        return int(text) if self.kind is Kind.WORDS and is_digits(text) else text

    def write(self, value: Value) -> str:
        """The text of a value in a target; raises ExpressionError where it has none."""
        if self.kind is Kind.INT and not isinstance(value, str):
            return write_integer(value, self.width)
        if self.kind is Kind.WORDS:
            return next((w.right for w in self.words if self.value(w.left) == value), str(value))
        return self.flatten(str(value))

    def flatten(self, path: str) -> str:
        """A path with what stands for its dots."""
        return path if self.separator is None else path.replace(".", self.separator)

    def __str__(self) -> str:
        if self.star:
            return "**" if self.kind is Kind.PATH else "*"
        kinds = {Kind.BARE: "", Kind.INT: "", Kind.TEXT: ":str", Kind.PATH: ":path"}
        if self.kind is Kind.WORDS:
            return f"<{self.name}:{'|'.join(map(str, self.words))}>"
        if self.kind is Kind.INT and (self.width or self.nameless):
            return f"<{self.name}:0{self.width}>" if self.width else f"<{self.name}:int>"
        flat = "" if self.separator is None else f":{self.separator}"
        return f"<{self.name}{kinds[self.kind]}{flat}>"


class Formula(Struct, frozen=True):
    """`<i-1>` in a target."""

    expression: Expression
    column: int = 0

    def __str__(self) -> str:
        return f"<{self.expression}>"


class Regex(Struct, frozen=True):
    """A whole `re:` pattern; its named groups are captures."""

    text: str
    captures: tuple[Capture, ...]


Piece = Literal | Capture | Formula | Regex


class Pattern(Struct, frozen=True):
    """A key pattern or target as written; prints as it reads in a rule file."""

    pieces: tuple[Piece, ...]

    @property
    def captures(self) -> Iterator[Capture]:
        for piece in self.pieces:
            if isinstance(piece, Capture):
                yield piece
            elif isinstance(piece, Regex):
                yield from piece.captures

    @property
    def names(self) -> frozenset[str]:
        """The names that writing a key by it, once it is resolved, needs values of."""
        formulas = tuple(piece for piece in self.pieces if isinstance(piece, Formula))
        return names_in(formulas).union(capture.name for capture in self.captures)

    @property
    def literal(self) -> str | None:
        """The one key that it matches, where it has no captures."""
        if all(isinstance(piece, Literal) for piece in self.pieces):
            return "".join(piece.text for piece in self.pieces if isinstance(piece, Literal))
        return None

    def after(self, prefix: Pattern) -> Pattern:
        """This pattern behind a prefix of `within`; stars are numbered through."""
        return Pattern(prefix.pieces + self.numbered_after(prefix).pieces)

    def numbered_after(self, *before: Pattern) -> Pattern:
        """This pattern with its stars numbered on from those of others."""
        stars = [one.name for pattern in before for one in pattern.captures if one.star]
        shift = max((int(name[1:]) for name in stars), default=0)
        return Pattern(tuple(_renumber(piece, shift) for piece in self.pieces)) if shift else self

    def __str__(self) -> str:
        return "".join(_written(piece) for piece in self.pieces)


def _renumber(piece: Piece, shift: int) -> Piece:
    if isinstance(piece, Capture) and piece.star:
        return replace(piece, name=f"*{int(piece.name[1:]) + shift}")
    return piece


def _written(piece: Piece) -> str:
    if isinstance(piece, Literal):
        return re.sub(r"([<*\[\\]|:(?=:)|(?<=-)>|(?<=^re):)", r"\\\1", piece.text)
    return f"re:{piece.text}" if isinstance(piece, Regex) else str(piece)


class Reference(Struct, frozen=True):
    """`[alias::]pattern[slice]` as written; `text` is the original."""

    pattern: Pattern
    alias: Pattern | None = None
    index: WrittenIndex | None = None
    text: str = ""

    @property
    def captures(self) -> tuple[Capture, ...]:
        """What it captures, the alias first."""
        return (*(self.alias.captures if self.alias else ()), *self.pattern.captures)

    def __str__(self) -> str:
        return self.text


# --- targets --------------------------------------------------------------------------------------


def write_integer(value: Value, width: int = 0, *, formula: str = "i - 1") -> str:
    """An integer as part of a key; raises ExpressionError for anything else or a negative.

    `formula` is what gave it.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        message = f"a key takes integers and words, found {kind_of(value)} ({value!r})"
        help = "`//` divides integers" if isinstance(value, float) else ""
        raise ExpressionError(message, help=help)
    if value < 0:
        help = f"leave out what has no number by `where: {formula} >= 0`"
        raise ExpressionError(f"a key takes no negative integers, found {value}", help=help)
    return f"{value:0{width}d}"


def write_literal(text: str) -> str:
    r"""A key, or a part of one, as a pattern that means it and nothing else: `a\[0].w`."""
    pattern = str(Pattern((Literal(text),))).replace("->", r"-\>")
    return pattern.replace(":", "\\:", 1) if pattern.startswith("re:") else pattern


def write_key(pattern: Pattern, scope: Scope) -> str:
    """The key that a resolved target names for these values; raises ExpressionError."""
    return "".join(write_piece(piece, scope) for piece in pattern.pieces)


def write_piece(piece: Piece, scope: Scope) -> str:
    """The text of a piece of a resolved target for these values; raises ExpressionError."""
    if isinstance(piece, Literal):
        return piece.text
    if isinstance(piece, Capture):
        return piece.write(scope[piece.name])
    if isinstance(piece, Formula):
        value = piece.expression.evaluate(scope)
        if isinstance(value, str):
            return value
        return write_integer(value, formula=str(piece.expression))
    raise TypeError(f"{piece} is no part of a target")
