"""How many keys of the destination a step spreads over, for ops that leave out their number."""

from __future__ import annotations

from collections.abc import Container, Mapping

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import ShapeError
from ckptsurgeon.language.expressions import Value
from ckptsurgeon.language.patterns import (
    Capture,
    Formula,
    Kind,
    Literal,
    Pattern,
    Piece,
    compile_pattern,
    is_read_one_way,
)
from ckptsurgeon.language.patterns.pieces import write_piece
from ckptsurgeon.language.rules import At
from ckptsurgeon.planner.compiling.compiled import CompiledRule
from ckptsurgeon.planner.compiling.grids import TARGETS
from ckptsurgeon.planner.scope import Scope, Vars
from ckptsurgeon.planner.stage.lookups import is_known, readable
from ckptsurgeon.planner.stage.tables import Table
from ckptsurgeon.wording import argument

SHOWN_KEYS = 3


Texts = tuple[str | None, ...]
"""What is written into a target for its pieces, None for those that are literal or open."""

Numbered = Mapping[Value, str]
"""The first key for each value of a capture."""


class Counts:
    """How many parts take what a rule spreads: those that words or targets say, or that are there.

    `known` are the numbers that the rule itself tells, by dim. `wanted` are the destination's keys.
    """

    def __init__(self, rule: CompiledRule, vars: Vars, wanted: Table | None = None) -> None:
        self._rule, self._vars, self._wanted = rule, vars, wanted
        self._groups: dict[str, Mapping[Texts, Numbered] | None] = {}
        self.known = {TARGETS: len(rule.targets)}
        self.known |= {c.name: len(c.words) for c in rule.spread if c.kind is Kind.WORDS}

    def names(self, dim: str) -> frozenset[str]:
        """The captures of a step that the number of a dim may differ by."""
        target = self._target(dim)
        return frozenset() if target is None or dim in self.known else target.pattern.names

    def of(self, dim: str, captures: Mapping[str, Value], parameter: str) -> int:
        """How many parts a step's op gives; raises ShapeError, which names its `parameter`."""
        if dim in self.known:
            return self.known[dim]
        target = self._target(dim)
        if target is None or self._wanted is None:
            into = "" if target is None else f", or give {argument('into', 'DST')}"
            raise ShapeError(f"say how many it gives over `{dim}`: `{parameter}`{into}")
        return self._count(target, dim, captures, self._wanted)

    def _target(self, dim: str) -> At | None:
        """The first target whose keys have a capture."""
        has = (at for at in self._rule.targets if any(c.name == dim for c in at.pattern.captures))
        return next(has, None)

    def _count(self, target: At, dim: str, captures: Mapping[str, Value], wanted: Table) -> int:
        """How many values of a capture the destination's keys have, which run from 0 on."""
        keys = self._keys(target.pattern, dim, captures, wanted)
        numbers = sorted(number for number in keys if isinstance(number, int))
        if not numbers:
            text = f"the destination has no key like `{target.text}` to count `{dim}` by"
            raise ShapeError(text)
        lacking = next((at for at, number in enumerate(numbers) if at != number), None)
        if lacking is not None:
            has = list_some((f"`{keys[number]}`" for number in numbers), SHOWN_KEYS)
            text = f"the destination has {has}, and none where `{dim}` is {lacking}"
            raise ShapeError(f"{text}; for those that are there: `for: dst::{target.text}`")
        return len(numbers)

    def _keys(
        self, pattern: Pattern, dim: str, captures: Mapping[str, Value], wanted: Table
    ) -> Numbered:
        """The destination's keys that a step's may be, by a capture.

        They are read once for all steps where a key is read in one way alone.
        """
        scope, given = Scope(captures, self._vars), frozenset(self._vars.names())
        pattern = _with_texts(pattern, _known_texts(pattern, scope, given))
        texts = _known_texts(pattern, scope, {*captures, *given})
        if dim not in self._groups:
            self._groups[dim] = self._group(pattern, dim, texts, wanted)
        groups = self._groups[dim]
        pairs = zip(pattern.pieces, texts, strict=True)
        if groups is not None and all(text is None or _fits(piece, text) for piece, text in pairs):
            return groups.get(texts, {})
        filled = readable(_with_texts(pattern, texts), self._vars)
        return _group_keys(filled, dim, {}, len(texts), wanted).get((None,) * len(texts), {})

    def _group(
        self, pattern: Pattern, dim: str, texts: Texts, wanted: Table
    ) -> Mapping[Texts, Numbered] | None:
        """The destination's keys by what of them is known of a step; None where that is open."""
        names = {f"#{number}": number for number, text in enumerate(texts) if text is not None}
        pieces = list(pattern.pieces)
        for name, number in names.items():
            kind = Kind.PATH if _spans_dots(pieces[number]) else Kind.TEXT
            pieces[number] = Capture(name, kind)
        free = readable(Pattern(tuple(pieces)), self._vars)
        if not names or not is_read_one_way(free):
            return None
        return _group_keys(free, dim, names, len(texts), wanted)


def _group_keys(
    pattern: Pattern, dim: str, names: Mapping[str, int], count: int, wanted: Table
) -> Mapping[Texts, Numbered]:
    """The keys that a pattern matches by some captures, which are texts of `count` pieces."""
    matcher = compile_pattern(pattern)
    read, at = matcher.row_reader(), matcher.columns.index(dim)
    places = [(names[name], n) for n, name in enumerate(matcher.columns) if name in names]
    groups: dict[Texts, dict[Value, str]] = {}
    for key in wanted.candidates(matcher):
        row = read(key)
        if row is not None:
            texts: list[str | None] = [None] * count
            for number, place in places:
                texts[number] = str(row[place])
            groups.setdefault(tuple(texts), {}).setdefault(row[at], key)
    return groups


def _known_texts(pattern: Pattern, scope: Scope, known: Container[str]) -> Texts:
    """What the pieces of a target are written as, of which all names are known."""
    return tuple(
        write_piece(piece, scope) if _is_written(piece, known) else None for piece in pattern.pieces
    )


def _with_texts(pattern: Pattern, texts: Texts) -> Pattern:
    pairs = zip(pattern.pieces, texts, strict=True)
    return Pattern(tuple(piece if text is None else Literal(text) for piece, text in pairs))


def _spans_dots(piece: Piece) -> bool:
    return isinstance(piece, Capture) and piece.kind is Kind.PATH and piece.separator is None


def _fits(piece: Piece, text: str) -> bool:
    """Whether a text that is written is read again as one piece, or as pieces of a path."""
    return all(text.split(".")) if _spans_dots(piece) else bool(text) and "." not in text


def _is_written(piece: Piece, known: Container[str]) -> bool:
    """Whether all that a piece needs is known."""
    if isinstance(piece, Formula):
        return all(is_known(name, known) for name in piece.expression.names)
    return isinstance(piece, Capture) and piece.name in known
