"""Key patterns: how a rule file names tensors, parsed into pieces, matched in linear time.

A *pattern* reads keys and a *target* names them; both are sequences of pieces: literal text,
captures, and, in targets alone, formulas. What a bare `<name>` is depends on the rest of its rule,
so parsing leaves it BARE and `resolve` gives it the kind of the name's first mention.
"""

from __future__ import annotations

import enum
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ckptsurgeon.errors import ExpressionError, PatternError, nearest
from ckptsurgeon.expressions import Expression, Scope, Value, kind_of, parse_expression

MAX_TEXT = 4096


class Kind(enum.Enum):
    """What a capture matches, in a user's words."""

    BARE = "a bare name"
    INT = "an integer"
    WORDS = "words"
    TEXT = "one piece"
    PATH = "pieces"


@dataclass(frozen=True, slots=True)
class Word:
    """`left=right`: matched as `left`, written as `right`; a plain word is both."""

    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Literal:
    text: str


@dataclass(frozen=True, slots=True)
class Capture:
    """A named piece; stars are named `*1`, `*2`, … in the order of their pattern.

    `width` is the number of digits of a zero-padded integer, 0 where it is plain. `column` is where
    it stands in its text.
    """

    name: str
    kind: Kind
    width: int = 0
    words: tuple[Word, ...] = ()
    column: int = 0

    @property
    def nameless(self) -> bool:
        """`<_:…>`: matches, but takes no part in grouping."""
        return self.name == "_"

    @property
    def star(self) -> bool:
        return self.name.startswith("*")

    def value(self, text: str) -> Value:
        """What the matched text means: an integer where the kind or an all-digit word says so."""
        if self.kind is Kind.INT or (self.kind is Kind.WORDS and text.isdigit()):
            return int(text)
        return text

    def write(self, value: Value) -> str:
        """The text of a value in a target; raises ExpressionError where it has none."""
        if self.kind is Kind.INT:
            return write_integer(value, self.width)
        text = str(value)
        return next((word.right for word in self.words if word.left == text), text)

    def __str__(self) -> str:
        if self.star:
            return "**" if self.kind is Kind.PATH else "*"
        kinds = {Kind.BARE: "", Kind.TEXT: ":str", Kind.PATH: ":path"}
        if self.kind is Kind.WORDS:
            written = (w.left if w.left == w.right else f"{w.left}={w.right}" for w in self.words)
            return f"<{self.name}:{'|'.join(written)}>"
        if self.kind is Kind.INT:
            return f"<{self.name}:0{self.width}>" if self.width else f"<{self.name}>"
        return f"<{self.name}{kinds[self.kind]}>"


@dataclass(frozen=True, slots=True)
class Formula:
    """`<i-1>` in a target."""

    expression: Expression
    column: int = 0

    def __str__(self) -> str:
        return f"<{self.expression}>"


@dataclass(frozen=True, slots=True)
class Regex:
    """A whole `re:` pattern; its named groups are captures."""

    text: str
    captures: tuple[Capture, ...]


Piece = Literal | Capture | Formula | Regex


@dataclass(frozen=True, slots=True)
class Pattern:
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
    def formulas(self) -> Iterator[Formula]:
        return (piece for piece in self.pieces if isinstance(piece, Formula))

    @property
    def literal(self) -> str | None:
        """The one key that it matches, where it has no captures."""
        if all(isinstance(piece, Literal) for piece in self.pieces):
            return "".join(piece.text for piece in self.pieces if isinstance(piece, Literal))
        return None

    def after(self, prefix: Pattern) -> Pattern:
        """This pattern behind a prefix of `within`; stars are numbered through."""
        shift = sum(capture.star for capture in prefix.captures)
        moved = tuple(_renumber(piece, shift) for piece in self.pieces) if shift else self.pieces
        return Pattern(prefix.pieces + moved)

    def __str__(self) -> str:
        return "".join(_written(piece) for piece in self.pieces)


def _renumber(piece: Piece, shift: int) -> Piece:
    if isinstance(piece, Capture) and piece.star:
        return replace(piece, name=f"*{int(piece.name[1:]) + shift}")
    return piece


def _written(piece: Piece) -> str:
    if isinstance(piece, Literal):
        return re.sub(r"([<*\[\\]|:(?=:))", r"\\\1", piece.text)
    return f"re:{piece.text}" if isinstance(piece, Regex) else str(piece)


# --- slices ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Range:
    """`start:stop:step` of a slice, each an expression or left out."""

    start: Expression | None
    stop: Expression | None
    step: Expression | None

    def __str__(self) -> str:
        text = f"{self.start or ''}:{self.stop or ''}"
        return f"{text}:{self.step}" if self.step else text


IndexItem = Expression | Range | typing.Literal["..."]


@dataclass(frozen=True, slots=True)
class Index:
    """A slice as written: expressions, ranges and at most one `...`."""

    items: tuple[IndexItem, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset().union(*(expression.names for expression in self.expressions))

    @property
    def expressions(self) -> Iterator[Expression]:
        for item in self.items:
            parts = (item.start, item.stop, item.step) if isinstance(item, Range) else (item,)
            yield from (part for part in parts if isinstance(part, Expression))

    def evaluate(self, scope: Scope) -> ConcreteIndex:
        """The slice with its numbers, in the form that `ops.indexing` takes."""
        return tuple(_concrete(item, scope) for item in self.items)

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.items))}]"


ConcreteItem = int | tuple[int | None, int | None, int | None] | typing.Literal["..."]
ConcreteIndex = tuple[ConcreteItem, ...]


def _concrete(item: IndexItem, scope: Scope) -> ConcreteItem:
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
        raise ExpressionError(
            f"a slice takes integers, `{expression}` is {kind_of(value)} ({value!r})"
        )
    return value


def parse_index(text: str) -> Index:
    """The slice that a text says, with or without its brackets; raises PatternError."""
    inner, shift = text, 0
    if text.startswith("["):
        if not text.endswith("]"):
            raise PatternError("a slice without its closing `]`", len(text))
        inner, shift = text[1:-1], 1
    items: list[IndexItem] = []
    for part, column in _split_outside(inner, ","):
        items.append(_index_item(part, column + shift))
    if items.count("...") > 1:
        raise PatternError("a slice with more than one `...`", text.find("..."))
    return Index(tuple(items))


def _index_item(text: str, column: int) -> IndexItem:
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
    return Range(start, stop, step)


def _part(text: str, column: int) -> Expression:
    try:
        return parse_expression(text)
    except ExpressionError as error:
        raise PatternError(f"in the slice: {error}", column + error.column, error.help) from None


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


# --- parsing --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reference:
    """`[alias::]pattern[slice]` as written; `text` is the original."""

    alias: Pattern | None
    pattern: Pattern
    index: Index | None
    text: str

    def __str__(self) -> str:
        return self.text


_NAME = re.compile(r"\s*([^\W\d]\w*)\s*(?:(:)(.*))?", re.DOTALL)
_ESCAPES = "<>*[]\\:|="


def parse_reference(text: str, *, target: bool = False) -> Reference:
    """The reference that a text says; formulas are allowed in a target alone.

    Raises PatternError with the column of what is wrong.
    """
    if len(text) > MAX_TEXT:
        raise PatternError(f"a pattern of {len(text)} characters; at most {MAX_TEXT}")
    body = text.rstrip()
    start = len(body) - len(body.lstrip())
    alias_end = _find(body, "::", start) if not body.startswith("re:", start) else -1
    alias = None
    if alias_end >= 0:
        alias = Pattern(_pieces(body, start, alias_end, target=False))
        start = alias_end + 2
    if body.startswith("re:", start):
        if target:
            raise PatternError("`re:` reads keys; a target names them", start)
        return Reference(
            alias, Pattern((parse_regex(body[start + 3 :], start + 3),)), None, text.strip()
        )
    bracket = _find(body, "[", start)
    index = None
    if bracket >= 0:
        index = _shifted_index(body[bracket:], bracket)
    end = bracket if bracket >= 0 else len(body)
    if not body[start:end].strip():
        raise PatternError("an empty pattern", start, "write a key, such as `conv1.weight`")
    return Reference(alias, Pattern(_pieces(body, start, end, target)), index, text.strip())


def parse_prefix(text: str, *, target: bool = False) -> Reference:
    """The prefix of a `within`: a reference without a slice, which may be empty on the right."""
    if target and not text.strip():
        return Reference(None, Pattern(()), None, "")
    reference = parse_reference(text, target=target)
    if reference.index is not None:
        raise PatternError("a prefix takes no slice", text.find("["))
    if any(isinstance(piece, Regex) for piece in reference.pattern.pieces):
        raise PatternError("a prefix takes no `re:`")
    return reference


def split_arrow(text: str) -> list[tuple[str, int]]:
    """The sides of `A -> B` with their columns: one, two, or more where there are too many."""
    sides, start = [], 0
    for match in re.finditer(r"->", text):
        sides.append((text[start : match.start()], start))
        start = match.end()
    return [*sides, (text[start:], start)]


def _shifted_index(text: str, shift: int) -> Index:
    if not text.endswith("]"):
        raise PatternError(
            "a slice without its closing `]` at the end",
            shift,
            "a slice ends the reference; a literal bracket is written `\\[`",
        )
    try:
        return parse_index(text)
    except PatternError as error:
        raise PatternError(str(error), error.column + shift, error.help) from None


def _find(text: str, wanted: str, start: int) -> int:
    """Where `wanted` stands unescaped and outside of `<…>`; -1 where it doesn't."""
    at, inside = start, False
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if not inside and text.startswith(wanted, at):
            return at
        inside = text[at] == "<" or (inside and text[at] != ">")
        at += 1
    return -1


def _pieces(text: str, start: int, end: int, target: bool) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    literal, at, stars = "", start, 0
    while at < end:
        char = text[at]
        if char == "\\":
            literal, at = literal + _escaped(text, at, end), at + 2
            continue
        if char not in "<*":
            literal, at = literal + char, at + 1
            continue
        if literal:
            pieces.append(Literal(literal))
            literal = ""
        if char == "<":
            close = _closing(text, at, end)
            pieces.append(_angled(text[at + 1 : close], at + 1, target))
            at = close + 1
        else:
            stars += 1
            run = len(text[at:end]) - len(text[at:end].lstrip("*"))
            pieces.append(_star(run, stars, at))
            at += run
    return (*pieces, Literal(literal)) if literal else tuple(pieces)


def _escaped(text: str, at: int, end: int) -> str:
    char = text[at + 1] if at + 1 < end else ""
    if not char or char not in _ESCAPES:
        raise PatternError(
            f"a backslash before {char or 'the end'!r}",
            at,
            "the escapes are \\< \\* \\[ \\: (a dot needs none); `re:` starts a regular expression",
        )
    return char


def _closing(text: str, at: int, end: int) -> int:
    close = at + 1
    while close < end and text[close] != ">":
        close += 2 if text[close] == "\\" else 1
    if close >= end:
        raise PatternError("`<` without its closing `>`", at, "a literal one is written `\\<`")
    return close


def _star(run: int, number: int, column: int) -> Capture:
    if run > 2:
        raise PatternError(f"{run} stars in a row; `*` is one piece, `**` one or more", column)
    return Capture(f"*{number}", Kind.PATH if run == 2 else Kind.TEXT, column=column)


def _angled(text: str, column: int, target: bool) -> Capture | Formula:
    match = _NAME.fullmatch(text)
    if match is not None:
        name, colon, kind = match.groups()
        return _capture(name, kind.strip() if colon else None, column)
    if not target:
        raise PatternError(
            f"`<{text}>` is no capture",
            column,
            "what reads keys takes `<name>` or `<name:kind>`; formulas stand in targets",
        )
    try:
        return Formula(parse_expression(text), column)
    except ExpressionError as error:
        raise PatternError(f"in `<{text}>`: {error}", column + error.column, error.help) from None


_KINDS: Mapping[str, Kind] = {"int": Kind.INT, "str": Kind.TEXT, "path": Kind.PATH}


def _capture(name: str, kind: str | None, column: int) -> Capture:
    if kind is None:
        if name == "_":
            raise PatternError("`<_>` needs a kind, such as `<_:str>`", column)
        return Capture(name, Kind.BARE, column=column)
    if kind in _KINDS:
        return Capture(name, _KINDS[kind], column=column)
    if re.fullmatch(r"0[1-9][0-9]?", kind):
        if int(kind) > 18:
            raise PatternError(f"a width of {int(kind)} digits; at most 18", column)
        return Capture(name, Kind.INT, width=int(kind), column=column)
    return Capture(name, Kind.WORDS, words=_words(kind, column), column=column)


def _words(text: str, column: int) -> tuple[Word, ...]:
    words = tuple(_word(part, column) for part in _split_escaped(text, "|"))
    if len(words) == 1 and words[0].left == words[0].right:
        raise PatternError(
            f"`{text}` is no kind of capture",
            column,
            nearest(text, _KINDS)
            or "the kinds are int, str, path, a width such as 02, or words: `q|k|v`",
        )
    lefts = [word.left for word in words]
    twice = next((left for left in lefts if lefts.count(left) > 1), None)
    if twice is not None:
        raise PatternError(f"the word {twice!r} stands twice in `{text}`", column)
    return words


def _word(text: str, column: int) -> Word:
    sides = [re.sub(r"\\(.)", r"\1", side) for side in _split_escaped(text, "=")]
    if len(sides) > 2:
        raise PatternError(f"`{text}` renames twice", column, "a renaming word is `old=new`")
    return Word(sides[0], sides[-1])


def _split_escaped(text: str, separator: str) -> list[str]:
    return re.split(rf"(?<!\\){re.escape(separator)}", text)


# --- regular expressions --------------------------------------------------------------------------

_GROUP = re.compile(r"\(\?P?<(\w+)>(\\d\+|\\d|\[0-9\]\+|\[0-9\]|[^()]*)(\))?")


def parse_regex(text: str, column: int = 0) -> Regex:
    """A `re:` pattern; a group of digits alone (`(?P<i>\\d+)`) is an integer, others are text."""
    if not text:
        raise PatternError("an empty regular expression", column, "write one after `re:`")
    compiled = compile_re2(text, column)
    integers = {m[1] for m in _GROUP.finditer(text) if m[3] and m[2] in _DIGITS}
    captures = (
        Capture(name, Kind.INT if name in integers else Kind.PATH, column=column)
        for name in sorted(compiled.groupindex, key=compiled.groupindex.__getitem__)
    )
    return Regex(text, tuple(captures))


_DIGITS = frozenset({r"\d+", r"\d", "[0-9]+", "[0-9]"})


def compile_re2(text: str, column: int = 0) -> Any:
    """An RE2 program; raises PatternError for what RE2 refuses (look-around, backreferences)."""
    import re2  # heavy for the many rule files that never need it

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        words = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise PatternError(
            f"RE2 can't read this: {words}", column, "RE2 has no look-around and no backreferences"
        ) from None


# --- matching -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Matcher:
    """A pattern ready to match: `prefix` is the literal text that every match starts with."""

    prefix: str
    program: Any
    captures: tuple[Capture, ...]

    def match(self, key: str) -> dict[str, Value] | None:
        """The captures' values where the whole key matches."""
        found = self.program.fullmatch(key)
        if found is None:
            return None
        values: dict[str, Value] = {}
        for capture, text in zip(self.captures, found.groups(), strict=True):
            if capture.nameless:
                continue
            value = capture.value("" if text is None else text)
            if values.setdefault(capture.name, value) != value:
                return None
        return values


@dataclass(frozen=True, slots=True)
class _Whole:
    """The program of a pattern without captures."""

    key: str

    def fullmatch(self, key: str) -> _Whole | None:
        return self if key == self.key else None

    def groups(self) -> tuple[str, ...]:
        return ()


def compile_pattern(pattern: Pattern) -> Matcher:
    """A matcher for a pattern whose captures are resolved; linear in the key's length."""
    if (literal := pattern.literal) is not None:
        return Matcher(literal, _Whole(literal), ())
    first = pattern.pieces[0]
    prefix = first.text if isinstance(first, Literal) else ""
    captures = tuple(pattern.captures)
    text = "".join(_regex(piece) for piece in pattern.pieces)
    if isinstance(pattern.pieces[-1], Regex):
        return Matcher(prefix, _some_groups(text, pattern), captures)
    program = re.compile(text) if _plainly_linear(pattern.pieces) else compile_re2(text)
    return Matcher(prefix, program, captures)


@dataclass(frozen=True, slots=True)
class _SomeGroups:
    """An RE2 program that gives the groups of captures only, in their order."""

    program: Any
    numbers: tuple[int, ...]

    def fullmatch(self, key: str) -> _Groups | None:
        found = self.program.fullmatch(key)
        return None if found is None else _Groups(tuple(found.group(n) for n in self.numbers))


@dataclass(frozen=True, slots=True)
class _Groups:
    texts: tuple[str | None, ...]

    def groups(self) -> tuple[str | None, ...]:
        return self.texts


def _some_groups(text: str, pattern: Pattern) -> _SomeGroups:
    """The groups of a prefix's captures come first; a `re:` behind it has named ones."""
    program = compile_re2(text)
    numbers: list[int] = []
    for piece in pattern.pieces:
        if isinstance(piece, Capture):
            numbers.append(len(numbers) + 1)
        elif isinstance(piece, Regex):
            numbers += (program.groupindex[capture.name] for capture in piece.captures)
    return _SomeGroups(program, tuple(numbers))


def _regex(piece: Piece) -> str:
    if isinstance(piece, Literal):
        return re.escape(piece.text)
    if isinstance(piece, Regex):
        return f"(?:{piece.text})"
    if not isinstance(piece, Capture):
        raise TypeError(f"{piece} is not something that keys are matched by")
    if piece.kind is Kind.WORDS:
        return f"({'|'.join(re.escape(word.left) for word in piece.words)})"
    if piece.kind is Kind.INT:
        return f"([0-9]{{{piece.width}}})" if piece.width else "(0|[1-9][0-9]{0,17})"
    return r"([^.]+)" if piece.kind is Kind.TEXT else r"([^.]+(?:\.[^.]+)*)"


def _plainly_linear(pieces: Iterable[Piece]) -> bool:
    """Whether backtracking has no choice: one `**` at most, a dot between unbounded pieces."""
    paths, dot_since = 0, True
    for piece in pieces:
        if isinstance(piece, Literal):
            dot_since = dot_since or "." in piece.text
        elif isinstance(piece, Capture) and piece.kind in (Kind.TEXT, Kind.PATH):
            paths += piece.kind is Kind.PATH
            if not dot_since or paths > 1:
                return False
            dot_since = False
    return True


# --- targets --------------------------------------------------------------------------------------


def write_integer(value: Value, width: int = 0) -> str:
    """An integer as part of a key; raises ExpressionError for anything else or a negative."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExpressionError(f"a key takes integers and words, found {kind_of(value)} ({value!r})")
    if value < 0:
        raise ExpressionError(f"a key takes no negative integers, found {value}")
    return f"{value:0{width}d}"


def write_key(pattern: Pattern, scope: Scope) -> str:
    """The key that a resolved target names for these values; raises ExpressionError."""
    return "".join(_write_piece(piece, scope) for piece in pattern.pieces)


def _write_piece(piece: Piece, scope: Scope) -> str:
    if isinstance(piece, Literal):
        return piece.text
    if isinstance(piece, Capture):
        return piece.write(scope[piece.name])
    if isinstance(piece, Formula):
        value = piece.expression.evaluate(scope)
        return value if isinstance(value, str) else write_integer(value)
    raise TypeError(f"{piece} is no part of a target")
