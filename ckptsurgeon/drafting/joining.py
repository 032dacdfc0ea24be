"""Rules that differ in one word as one rule: in the last piece, in the end, or inside a piece."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.drafting.arrows import Arrow, is_drop
from ckptsurgeon.drafting.groups import Groups
from ckptsurgeon.drafting.names import ENDINGS, PROJECTIONS
from ckptsurgeon.drafting.units import (
    Choice,
    Piece,
    Star,
    Units,
    common_ends,
    cut_pieces,
    is_literal,
    join_pieces,
    text_of,
)
from ckptsurgeon.language.patterns.pieces import MAX_DIGITS

MOST_WORDS = 12
"""Words of a choice; more are a table, which nobody reads in a pattern."""

WORD_ORDER = ("q", "query", "k", "key", "v", "value", "o", "weight", "bias")
"""Words that people write in this order."""

LEAST_SHARED = 2
"""Pieces that patterns share, for words of them to be joined that have nothing in common."""

MOST_HOLES = 100_000
"""Places for a word in all arrows together; where there are more, none are joined."""

LEAST_ENDINGS = 3
"""Arrows that make a rule for everything that ends in one way."""


def join_endings(arrows: Sequence[Arrow]) -> list[Arrow]:
    """Renames of the end alone, wherever it stands, as `**.gamma -> **.weight`."""
    ends: dict[tuple[Units, Units, object], list[Arrow]] = defaultdict(list)
    for arrow in arrows:
        if arrow.is_move and not arrow.has_list and (ending := _ending(arrow)) is not None:
            ends[ending[0], ending[1], arrow.behind].append(arrow)
    joined = {
        id(arrow): (ending, group)
        for ending, group in ends.items()
        if len(group) >= LEAST_ENDINGS and _takes_all(ending[0], group, arrows)
        for arrow in group
    }
    result = [arrow for arrow in arrows if id(arrow) not in joined]
    groups = {id(group): (ending, group) for ending, group in joined.values()}
    for (source, target, _), group in groups.values():
        star: Units = (Star(True), ".")
        result.append(_merged(group, (*star, *source), (*star, *target)))
    return result


def _ending(arrow: Arrow) -> tuple[Piece, Piece] | None:
    """The last pieces, where only these differ, and hold nothing but text."""
    source, target = cut_pieces(arrow.source), cut_pieces(arrow.target)
    alike = source[:-1] == target[:-1] and len(source) > 1
    plain = is_literal(source[-1]) and is_literal(target[-1])
    return (source[-1], target[-1]) if alike and plain and source[-1] != target[-1] else None


def _takes_all(ending: Units, group: Sequence[Arrow], arrows: Sequence[Arrow]) -> bool:
    """Whether no other arrow reads keys of this end."""
    with_end = [arrow for arrow in arrows if cut_pieces(arrow.source)[-1] == ending]
    return len(with_end) == len(group)


# --- leaves ---------------------------------------------------------------------------------------


def join_leaves(arrows: Sequence[Arrow]) -> list[Arrow]:
    """Arrows that differ in the last piece, the same on both sides, as one with a star."""
    groups: dict[tuple[Units, Units, object], list[Arrow]] = defaultdict(list)
    readers: dict[Units, int] = defaultdict(int)
    for arrow in arrows:
        if arrow.source:
            readers[_without_leaf(arrow.source)] += 1
        if (leaf := _leaf(arrow)) is not None:
            groups[leaf[0], leaf[1], arrow.behind].append(arrow)
    result, joined = [], set()
    for (source, target, _), group in groups.items():
        if len(group) > 1 and readers[source] == len(group):
            star: Units = (".", Star(False))
            result.append(_merged(group, (*source, *star), (*target, *star)))
            joined |= {id(arrow) for arrow in group}
    return [*(arrow for arrow in arrows if id(arrow) not in joined), *result]


def _without_leaf(units: Units) -> Units:
    return join_pieces(cut_pieces(units)[:-1])


def _leaf(arrow: Arrow) -> tuple[Units, Units] | None:
    """What stands before the last piece on both sides, where that is the same word."""
    if not (arrow.source and arrow.target) or arrow.is_move or arrow.has_list:
        return None
    source, target = cut_pieces(arrow.source), cut_pieces(arrow.target)
    if source[-1] != target[-1] or not is_literal(source[-1]) or min(len(source), len(target)) < 2:
        return None
    return join_pieces(source[:-1]), join_pieces(target[:-1])


# --- words ----------------------------------------------------------------------------------------


def join_words(arrows: Sequence[Arrow]) -> list[Arrow]:
    """The arrows, those that differ in one word of a piece joined by a choice, while there are."""
    found = list(arrows)
    holes = (arrow.source.count(".") * max(1, arrow.target.count(".")) for arrow in found)
    if sum(holes) > MOST_HOLES:
        return found
    groups = Groups(found, _Holes().of, lambda hole, count: count)
    while (best := groups.pop()) is not None:
        hole, members = best
        merged = _with_choice(list(members.values()), hole)
        if merged is not None:
            groups.replace(members, merged)
    return list(groups.arrows)


Hole = tuple[int, tuple[int, ...], int | None, tuple[int, ...], int]
"""The places of a piece of the source and of one of the target, each with the numbers of all other
pieces; and that of what stands behind. What is dropped has no target."""


class _Holes:
    """Arrows without one piece of each side, whose other pieces are told by numbers."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = defaultdict(itertools.count().__next__)

    def of(self, arrow: Arrow) -> Iterator[Hole]:
        """The arrow without one piece of its source and one of its target, in all ways."""
        if arrow.has_list:
            return
        behind = self._numbers[arrow.behind]
        targets = list(self._holes(arrow.target)) if arrow.target else []
        for at, rest in self._holes(arrow.source):
            if is_drop(arrow):
                yield at, rest, None, (), behind
            for to, others in targets:
                yield at, rest, to, others, behind

    def _holes(self, units: Units) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The places of pieces that a word may stand for, each with all other pieces."""
        pieces = cut_pieces(units)
        numbers = tuple(self._numbers[piece] for piece in pieces)
        for at, piece in enumerate(pieces):
            if not _is_open(piece):
                yield at, (*numbers[:at], *numbers[at + 1 :])


def _is_open(piece: Piece) -> bool:
    """Whether a piece holds what no word can stand for."""
    return any(isinstance(unit, Star | Choice) for unit in piece)


def _with_choice(group: Sequence[Arrow], hole: Hole) -> Arrow | None:
    """One arrow for several that differ in one piece; None where that would not be read easily."""
    if len(group) > MOST_WORDS:
        return None
    at, to = hole[0], hole[2]
    sources = [cut_pieces(arrow.source) for arrow in group]
    targets = [cut_pieces(arrow.target) for arrow in group]
    left = _differing([one[at] for one in sources])
    right = left if to is None else _differing([one[to] for one in targets])
    if left is None or right is None:
        return None
    left, right = _without_common(left, right), _without_common(right, left)
    choice = Choice(tuple(sorted(zip(left.words, right.words, strict=True), key=_rank)))
    shared = sum(is_literal(piece) and bool(piece) for piece in sources[0]) - 1
    readable = _reads_well(left, right) or shared >= LEAST_SHARED
    if not readable or choice in group[0].source:
        return None
    source = (*sources[0][:at], left.around(choice), *sources[0][at + 1 :])
    if to is None:
        return _merged(group, join_pieces(source), ())
    target = (*targets[0][:to], right.around(choice), *targets[0][to + 1 :])
    return _merged(group, join_pieces(source), join_pieces(target))


@dataclass(frozen=True, slots=True)
class _Differing:
    """The words in which pieces differ, and what stands around them in all."""

    before: Piece
    words: tuple[str, ...]
    after: Piece

    def around(self, choice: Choice) -> Piece:
        """The piece with the choice in it."""
        return (*self.before, choice, *self.after)

    @property
    def numbered(self) -> bool:
        """Whether all words are integers."""
        return all(word.isdecimal() for word in self.words)


def _differing(pieces: Sequence[Piece]) -> _Differing | None:
    """What differs in pieces; None where something else than text does, or two are equal."""
    first = pieces[0]
    start, end = common_ends(pieces)
    shortest = min(map(len, pieces))
    if start + end == shortest and start:
        start -= 1  # no word is empty
    elif start + end == shortest and end:
        end -= 1
    middles = [one[start : len(one) - end] for one in pieces]
    if not (all(map(is_literal, middles)) and all(map(len, middles))):
        return None
    words = tuple(map(text_of, middles))
    if len(set(words)) < len(words):
        return None
    return _Differing(first[:start], words, first[len(first) - end :])


def _rank(pair: tuple[str, str]) -> tuple[int, int]:
    """Where a word stands in a choice: by number on either side, or as attention has it."""
    for word in pair:
        if word.isdecimal() and len(word) <= MAX_DIGITS:
            return 0, int(word)
    known = [WORD_ORDER.index(word) for word in pair if word in WORD_ORDER]
    return 1, min(known, default=len(WORD_ORDER))


def _without_common(own: _Differing, other: _Differing) -> _Differing:
    """The words without what all of them begin or end with, where the rest is the other side's.

    So `wq=q|wk=k` becomes `q|k` behind a `w`.
    """
    pairs = list(zip(own.words, other.words, strict=True))
    if own.words == other.words or not all(word and word != left for left, word in pairs):
        return own
    if all(left.endswith(word) for left, word in pairs):
        starts = {left.removesuffix(word) for left, word in pairs}
        if len(starts) == 1:
            return _Differing((*own.before, starts.pop()), other.words, own.after)
    if all(left.startswith(word) for left, word in pairs):
        ends = {left.removeprefix(word) for left, word in pairs}
        if len(ends) == 1:
            return _Differing(own.before, other.words, (ends.pop(), *own.after))
    return own


def _reads_well(left: _Differing, right: _Differing) -> bool:
    """Whether the words have something in common: themselves, a piece around them, or numbers."""
    shared = any(map(bool, (left.before, left.after, right.before, right.after)))
    words = {*left.words, *right.words}
    known = words <= ENDINGS or words <= PROJECTIONS
    return left.words == right.words or left.numbered or shared or known


def _merged(group: Sequence[Arrow], source: Units, target: Units) -> Arrow:
    """The arrow of these patterns for a group."""
    first = min(group, key=lambda arrow: arrow.first)
    samples = tuple(key for arrow in group for key in arrow.samples)
    targets = tuple(key for arrow in group for key in arrow.targets)
    degree = max(arrow.degree for arrow in group)
    return replace(
        first,
        source=source,
        target=target,
        samples=samples,
        targets=targets,
        degree=degree,
        parts=tuple(group),
    )
