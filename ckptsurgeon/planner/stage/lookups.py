"""Names of output keys read backwards: which keys a `keep`, `init` or `tie` means."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import (
    Capture,
    Formula,
    Kind,
    Literal,
    Pattern,
    Piece,
    Word,
    compile_pattern,
    write_integer,
    write_key,
)
from ckptsurgeon.language.rules import Init, Keep
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.reading_keys import condition, holds
from ckptsurgeon.plans.views import SourceView
from ckptsurgeon.wording import argument

Named = tuple[str, Mapping[str, Value]]
"""A key, and its captures."""


def keys_named(
    rule: CompiledRule,
    lookup: Pattern,
    written: Keep | Init,
    destination: SourceView | None,
    vars: Vars,
) -> Iterator[Named]:
    """The destination's keys that a `keep` or `init` names; an `init` may name new ones."""
    pattern = readable(lookup, vars)
    if isinstance(written, Init) and pattern.literal is not None:
        if holds(rule, {}, vars):
            yield pattern.literal, {}
        return
    if destination is None:
        if isinstance(written, Keep):
            raise ShapeError(f"`keep` needs a destination: give it by {argument('into', 'DST')}")
        raise ShapeError(
            f"`{pattern}` stands for keys of the destination, and there is none: name each key, as "
            f"`{_name_one(pattern)}`, let `for` name them, or give a destination by "
            f"{argument('into', 'DST')}"
        )
    yield from keys_like(pattern, destination.specs, rule, vars)


def _name_one(pattern: Pattern) -> str:
    """A key that a pattern matches: 0 for each number, the first word of words."""
    texts = []
    for piece in pattern.pieces:
        if isinstance(piece, Literal):
            texts.append(piece.text)
        elif isinstance(piece, Capture):
            texts.append(piece.words[0].left if piece.words else "0" * (piece.width or 1))
    return "".join(texts)


def keys_like(
    pattern: Pattern, keys: Collection[str], rule: CompiledRule, vars: Vars
) -> Iterator[Named]:
    """The keys that a readable pattern matches and `where` lets through, with their captures."""
    matcher = compile_pattern(pattern)
    read, is_true = matcher.row_reader(), condition(rule, matcher.columns, vars)
    if pattern.literal is not None:
        keys = [pattern.literal] if pattern.literal in keys else []
    for key in keys:
        row = read(key)
        if row is not None and (is_true is None or is_true(row)):
            yield key, dict(zip(matcher.columns, row, strict=True))


def readable(pattern: Pattern, vars: Vars) -> Pattern:
    """A pattern of target names as one that reads them: vars by value, formulas as integers.

    Renaming words are read as they are written: by their right sides.
    """
    return Pattern(tuple(_readable(piece, vars) for piece in pattern.pieces))


def _readable(piece: Piece, vars: Vars) -> Piece:
    if isinstance(piece, Formula):
        if _is_solved(piece, vars):
            return Literal(_text(piece.expression.evaluate(Scope({}, vars))))
        return Capture(_unsolved(piece), Kind.INT)
    if isinstance(piece, Capture) and piece.kind is Kind.WORDS:
        rights = dict.fromkeys(word.right for word in piece.words)
        return Capture(piece.name, Kind.WORDS, words=tuple(Word(text, text) for text in rights))
    return piece


def _is_solved(formula: Formula, vars: Vars, read: Iterable[str] = ()) -> bool:
    """Whether all that a formula looks at is known."""
    known = {*read, *vars.names()}
    return all(is_known(name, known) for name in formula.expression.names)


def is_known(name: str, known: Container[str]) -> bool:
    """Whether a name has a value, where these have: those of the config are found as they are."""
    return name in known or name.startswith("config.")


def _unsolved(formula: Formula) -> str:
    """A name for the value of a formula, which no capture can have."""
    return f"({formula.expression})"


def _text(value: Value) -> str:
    return value if isinstance(value, str) else write_integer(value)


def written_key(pattern: Pattern, read: Mapping[str, Value], vars: Vars) -> str | None:
    """The key of a target pattern for captures that were read from another; None where unknown."""
    pieces: list[Piece] = []
    for piece in pattern.pieces:
        if isinstance(piece, Formula) and _unsolved(piece) in read:
            piece = Literal(_text(read[_unsolved(piece)]))
        elif isinstance(piece, Capture) and piece.name in read:
            piece = Literal(_written(piece, read[piece.name]))
        elif isinstance(piece, Capture) or (
            isinstance(piece, Formula) and not _is_solved(piece, vars, read)
        ):
            return None
        pieces.append(piece)
    return write_key(Pattern(tuple(pieces)), Scope(read, vars))


def _written(capture: Capture, value: Value) -> str:
    """The text of a value that was read; words are what they were read as."""
    return str(value) if capture.kind is Kind.WORDS else capture.write(value)
