"""Patterns made into matchers that take time linear in the key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from ckptsurgeon.errors import PatternError
from ckptsurgeon.keys import has_digits
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns.pieces import Capture, Kind, Literal, Pattern, Piece, Regex
from ckptsurgeon.language.patterns.readings import ONE_READING, Part, Paths, readings_of
from ckptsurgeon.language.patterns.regexes import compile_re2
from ckptsurgeon.language.rows import Memo, Row

SHOWN_PATHS = 3


def flatten_paths(paths: Iterable[str], capture: Capture) -> Paths:
    """Paths by what they are in keys that a capture reads."""
    flat: dict[str, tuple[str, ...]] = {}
    for path in dict.fromkeys(paths):
        text = capture.flatten(path)
        flat[text] = (*flat.get(text, ()), path)
    return flat


class Matcher(Struct, frozen=True):
    """A pattern ready to match.

    `prefix` is the literal text that every match starts with, `needle` the longest that every match
    holds: looking for that first is ten times as fast as matching. `reads_forms` says that it
    matches no key whose form (`keys.without_integers`) it doesn't match. `paths` are those that the
    texts of a capture with a separator may be, by its name; `parts` is what stands around it.
    """

    prefix: str
    needle: str
    program: Any
    captures: tuple[Capture, ...]
    reads_forms: bool = False
    parts: tuple[Part, ...] = ()
    paths: Mapping[str, Paths] = {}

    @property
    def flat(self) -> tuple[Capture, ...]:
        """The captures that are read by the paths that are known."""
        return tuple(one for one in self.captures if one.separator is not None)

    @property
    def literal(self) -> bool:
        """Whether `prefix` is the one key that it matches."""
        return isinstance(self.program, _Whole)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its captures, once each, in the order in which rows hold their values."""
        return tuple(dict.fromkeys(one.name for one in self.captures if not one.nameless))

    def match(self, key: str) -> dict[str, Value] | None:
        """The captures' values where the whole key matches."""
        row = self.row_reader()(key)
        return None if row is None else dict(zip(self.columns, row, strict=True))

    def row_reader(self) -> Callable[[str], Row | None]:
        """What gives the captures' values where the whole of a key matches.

        A name that stands twice must have matched the same text. Raises PatternError for a text
        that is two of the paths that are known, or may be of too many.
        """
        if self.flat:
            return self._path_reader()
        firsts: dict[str, int] = {}
        again: list[tuple[int, int]] = []
        for number, capture in enumerate(self.captures):
            if not capture.nameless and firsts.setdefault(capture.name, number) != number:
                again.append((firsts[capture.name], number))
        readers = [(number, _value_of(self.captures[number])) for number in firsts.values()]
        fullmatch, needle = self.program.fullmatch, self.needle

        def read(key: str) -> Row | None:
            found = fullmatch(key) if needle in key else None
            if found is None:
                return None
            texts = found.groups()
            if again and any((texts[one] or "") != (texts[other] or "") for one, other in again):
                return None
            return tuple([value(texts[number] or "") for number, value in readers])

        return read

    def _path_reader(self) -> Callable[[str], Row | None]:
        """As `row_reader`, where texts stand for paths: one that is no known path doesn't match."""
        fullmatch, needle, columns = self.program.fullmatch, self.needle, self.columns
        read_all = readings_of(self.parts, self.paths, partial(_regex, separator="."))

        def read(key: str) -> Row | None:
            found = read_all(key) if needle in key and fullmatch(key) else []
            if len(found) > 1:
                raise PatternError(_tell_readings(key, found), help=ONE_READING)
            return tuple([found[0][name] for name in columns]) if found else None

        return read


def _tell_readings(key: str, found: Sequence[Mapping[str, Value]]) -> str:
    """The ways in which a key may be read, by the captures that differ."""
    names = [name for name in found[0] if len({str(one[name]) for one in found}) > 1]
    texts = (", ".join(f"`{one[name]}`" for name in names) for one in found[:SHOWN_PATHS])
    return f"`{key}` may be {' or '.join(texts)}"


def _value_of(capture: Capture) -> Callable[[str], Value]:
    """What the texts of a capture mean; there are few of integers and words."""
    return str if capture.kind in (Kind.TEXT, Kind.PATH) else Memo(capture.value).__getitem__


class _Whole(Struct, frozen=True):
    """The program of a pattern without captures."""

    key: str

    def fullmatch(self, key: str) -> _Whole | None:
        return self if key == self.key else None

    def groups(self) -> tuple[str, ...]:
        return ()


def compile_pattern(pattern: Pattern, separator: str = ".") -> Matcher:
    """A matcher for a pattern whose captures are resolved; linear in the key's length.

    `separator` is what stands between the pieces of what it reads: `/` in paths of files.
    """
    if (literal := pattern.literal) is not None:
        return Matcher(literal, literal, _Whole(literal), ())
    literals = list(_literals(pattern.pieces))
    needle = max(literals, key=len)
    captures = tuple(pattern.captures)
    text = "".join(_regex(piece, separator) for piece in pattern.pieces)
    if isinstance(pattern.pieces[-1], Regex):
        return Matcher(literals[0], needle, _some_groups(text, pattern), captures)
    linear = _plainly_linear(pattern.pieces, separator)
    program = re.compile(text) if linear else compile_re2(text)
    parts = tuple(one for one in pattern.pieces if isinstance(one, Literal | Capture))
    forms = all(map(_reads_forms, pattern.pieces))
    return Matcher(literals[0], needle, program, captures, forms, parts)


def _literals(pieces: Iterable[Piece]) -> Iterator[str]:
    """The texts before, between and behind captures, literals side by side joined."""
    text = ""
    for piece in pieces:
        if isinstance(piece, Literal):
            text += piece.text
        else:
            yield text
            text = ""
    yield text


def _reads_forms(piece: Piece) -> bool:
    """Whether a piece that matches a text matches it with `0` for each integer, too."""
    if isinstance(piece, Literal):
        return not has_digits(piece.text)
    if not isinstance(piece, Capture) or piece.width:
        return False
    return not any(has_digits(word.left) for word in piece.words)


class _SomeGroups(Struct, frozen=True):
    """An RE2 program that gives the groups of captures only, in their order."""

    program: Any
    numbers: tuple[int, ...]

    def fullmatch(self, key: str) -> _Groups | None:
        found = self.program.fullmatch(key)
        return None if found is None else _Groups(tuple(found.group(n) for n in self.numbers))


class _Groups(Struct, frozen=True):
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


def _regex(piece: Piece, separator: str) -> str:
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
    of_several = piece.kind is Kind.PATH and piece.separator is None
    one = f"[^{separator}]+"
    return rf"({one}(?:\{separator}{one})*)" if of_several else f"({one})"


def is_read_one_way(pattern: Pattern) -> bool:
    """Whether a pattern, whose captures are resolved, reads each key in one way or in none."""
    is_known = all(isinstance(piece, Literal | Capture) for piece in pattern.pieces)
    is_flat = any(capture.separator is not None for capture in pattern.captures)
    return is_known and not is_flat and _plainly_linear(pattern.pieces, ".")


def _plainly_linear(pieces: Iterable[Piece], separator: str) -> bool:
    """Whether backtracking has no choice: one piece that spans dots, a dot between any two others.

    The dot stands for the separator here.

    Two integers side by side share out their digits in as many ways as there are digits, and a row
    of them in exponentially many.
    """
    spanning, dot_since = 0, True
    for piece in pieces:
        if isinstance(piece, Literal):
            dot_since = dot_since or separator in piece.text
        elif isinstance(piece, Capture) and not _of_one_length(piece):
            spanning += _spans(piece, separator)
            if not dot_since or spanning > 1:
                return False
            dot_since = False
    return True


def _of_one_length(capture: Capture) -> bool:
    if capture.kind is Kind.WORDS:
        return len({len(word.left) for word in capture.words}) == 1
    return capture.kind is Kind.INT and capture.width > 0


def _spans(capture: Capture, separator: str) -> bool:
    if capture.kind is Kind.PATH:
        return capture.separator is None
    return any(separator in word.left for word in capture.words)
