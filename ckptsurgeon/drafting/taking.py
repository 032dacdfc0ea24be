"""Which patterns take a key: looked up piece by piece, where trying each would take the product."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ckptsurgeon.drafting.units import (
    Choice,
    Open,
    Piece,
    Star,
    Unit,
    Units,
    cut_list,
    cut_pieces,
    is_literal,
    join_pieces,
    regex_of_units,
    text_of,
)


@dataclass(slots=True)
class _Node:
    """The patterns of one beginning, by the piece behind it.

    `spanning` are those whose next piece may match several, tried on all that is left of a key.
    """

    words: dict[str, _Node] = field(default_factory=dict)
    captures: dict[Piece, tuple[re.Pattern[str], _Node]] = field(default_factory=dict)
    spanning: list[tuple[re.Pattern[str], int]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


class Takers:
    """Patterns by their numbers, as a tree of their pieces."""

    def __init__(self, patterns: Iterable[Units]) -> None:
        self._root = _Node()
        for number, pattern in enumerate(patterns):
            for one in cut_list(pattern):
                self._put(cut_pieces(one), number)

    def _put(self, pieces: tuple[Piece, ...], number: int) -> None:
        node = self._root
        for depth, piece in enumerate(pieces):
            if any(map(_spans, piece)):
                rest = re.compile(regex_of_units(join_pieces(pieces[depth:])))
                node.spanning.append((rest, number))
                return
            if is_literal(piece):
                node = node.words.setdefault(text_of(piece), _Node())
            else:
                if piece not in node.captures:
                    node.captures[piece] = re.compile(regex_of_units(piece)), _Node()
                node = node.captures[piece][1]
        node.ends.append(number)

    def of(self, key: str) -> set[int]:
        """The numbers of the patterns that match a key."""
        pieces = key.split(".")
        found: set[int] = set()
        nodes, start = [self._root], 0
        for piece in pieces:
            below: list[_Node] = []
            for node in nodes:
                found.update(at for rest, at in node.spanning if rest.fullmatch(key, start))
                if piece in node.words:
                    below.append(node.words[piece])
                some = node.captures.values()
                below += (inner for pattern, inner in some if pattern.fullmatch(piece))
            nodes, start = below, start + len(piece) + 1
        return found.union(*(node.ends for node in nodes))


def _spans(unit: Unit) -> bool:
    """Whether a unit may match a dot."""
    if isinstance(unit, Choice):
        return any("." in left for left, _ in unit.words)
    if isinstance(unit, Open):
        return any("." in word for word in unit.words)
    return isinstance(unit, Star) and unit.path
