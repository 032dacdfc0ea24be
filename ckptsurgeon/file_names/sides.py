"""The two sides of `ALIAS=PATH`, of which one is read and the other written."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal as Choice

from msgspec.structs import replace

from ckptsurgeon.errors import CkptSurgeonError, ExpressionError, PatternError, TextError
from ckptsurgeon.language.expressions import Scope, names_in
from ckptsurgeon.language.patterns import (
    Capture,
    Formula,
    Kind,
    Pattern,
    Piece,
    find_outside,
    parse_name,
    write_piece,
)
from ckptsurgeon.planner.compiling.captures import resolve
from ckptsurgeon.wording import argument, choose, name_source

Option = Choice["source", "into", "output"]
"""Who is given names of files."""

SIDE_OF = {"source": ("path", "alias"), "into": ("path", "alias"), "output": ("alias", "path")}
"""What each option reads, and what it writes."""


def split_word(word: str) -> tuple[str, str] | None:
    """The alias and the path of `ALIAS=PATH`; None where there is no alias, as in `./a=b.pt`."""
    at = find_outside(word, "=")
    if at < 1:
        return None
    left = word[:at]
    in_name = any(find_outside(left, mark) >= 0 for mark in "/.")
    return None if in_name else (left, word[at + 1 :])


@dataclass(frozen=True, slots=True)
class Sides:
    """What is read and what is written, their bare names resolved."""

    read: Pattern
    written: Pattern


def parse_sides(left: str, right: str, option: Option) -> Sides:
    """The sides of `left=right`; raises TextError where they don't say names of files."""
    texts = {"alias": left, "path": right}
    read, written = (texts[side] for side in SIDE_OF[option])
    for side, text in texts.items():
        _check_text(side, text)
    reading, writing = parse_name(read), parse_name(written, target=True)
    known: dict[str, Capture] = {}
    plain = (Kind.BARE, Kind.INT)
    said = {one.name: one for one in writing.captures if one.kind not in plain}
    for capture in reading.captures:
        _check_read(capture)
        _mention(capture, known, said)
    for capture in writing.captures:
        _check_written(capture, known, option)
    sides = Sides(resolve(reading, known), resolve(writing, known))
    _check_names(sides.written, known, option)
    return sides


def _check_text(side: str, text: str) -> None:
    if not text.strip():
        raise PatternError(f"the {side} is empty", help="write `r<r>=rank_<r>.pt`")
    if text.startswith("re:"):
        raise PatternError(
            "`re:` reads keys; names of files have captures alone",
            help="write `<n>` for an integer, and `<n:str>` for any text",
        )


def _check_read(capture: Capture) -> None:
    """Raises PatternError for what spans folders."""
    if capture.kind is Kind.PATH:
        help = "a star is `*`, and a folder with any name `*/`"
        if not capture.star:
            help = f"`<{capture.name}:str>` is any text without a `/`, of a folder's name too"
        raise PatternError(f"`{capture}` would span folders", capture.column, help)
    if any("/" in word.left for word in capture.words):
        help = "name the folder by a capture of its own"
        raise PatternError(f"a word of `{capture}` holds a `/`", capture.column, help)


def _mention(capture: Capture, known: dict[str, Capture], said: Mapping[str, Capture]) -> None:
    """A name is what the side that is read says of it, else what the other one `said`."""
    if capture.nameless or capture.star:
        return
    first = replace(capture, kind=Kind.INT) if capture.kind is Kind.BARE else capture
    if capture.kind is Kind.BARE and capture.name in said:
        other = said[capture.name]
        first = replace(capture, kind=other.kind, words=other.words)
    _agree(capture, known.setdefault(capture.name, first))


def _agree(capture: Capture, first: Capture) -> None:
    """Raises PatternError where a name is two things."""
    if capture.kind not in (Kind.BARE, first.kind) or capture.words not in ((), first.words):
        raise PatternError(
            f"`{capture}` and `{first}` are one name, and differ",
            capture.column,
            f"write `<{capture.name}>`, which is as the other side has it",
        )


def _check_written(capture: Capture, known: dict[str, Capture], option: Option) -> None:
    read, written = SIDE_OF[option]
    if capture.star or capture.nameless:
        raise PatternError(
            f"`{capture}` can't be written in the {written}",
            capture.column,
            f"name it on both sides: `<n:str>` in the {read}, and `<n>` in the {written}",
        )
    if capture.name in known:
        _agree(capture, known[capture.name])


def _check_names(writing: Pattern, known: dict[str, Capture], option: Option) -> None:
    """Raises PatternError for names of the written side that the other one lacks."""
    read, written = SIDE_OF[option]
    for piece in writing.pieces:
        names = {piece.name} if isinstance(piece, Capture) else names_in((piece,))
        for name in sorted(names - known.keys()):
            has = f"has {', '.join(sorted(known))}" if known else "has no captures"
            raise PatternError(
                f"`{name}` is in the {written} alone; the {read} {has}",
                getattr(piece, "column", 0),
                f"capture it in the {read}, as `<{name}>`",
            )


def write_texts(pattern: Pattern, scope: Scope) -> Iterator[tuple[Piece, str]]:
    """The pieces of a name with their texts; raises ExpressionError, also for a negative number."""
    for piece in pattern.pieces:
        if isinstance(piece, Formula):
            _check_positive(piece, scope)
        yield piece, write_piece(piece, scope)


def _check_positive(piece: Formula, scope: Scope) -> None:
    value = piece.expression.evaluate(scope)
    if isinstance(value, int) and value < 0:
        name = min(piece.expression.names, default="n")
        raise ExpressionError(
            f"`{piece}` is {value}, and a name takes no negative number",
            piece.column,
            f"write `<{name}>`, or capture the numbers that are meant as words, `<{name}:02|03>`",
        )


def tell_word(left: str, right: str, option: Option) -> str:
    """The option with its word, as who asks writes it."""
    if option == "source":
        return name_source(left, right)
    word, python = shlex.quote(f"{left}={right}"), repr({left: right})
    if option == "output":
        return choose(f"-o {word}", f"output={python}")
    return argument(option, word, python)


@contextmanager
def told(place: str, kind: type[CkptSurgeonError]) -> Iterator[None]:
    """In the body, what is wrong with a text is told as an error of the option."""
    try:
        yield
    except TextError as error:
        help = f"; {error.help}" if error.help else ""
        raise kind(f"{place}: {error}{help}") from None
