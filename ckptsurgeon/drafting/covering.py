"""Few rules for many renames: stars where all that lies under one prefix goes under another.

Prefixes are a tree, and each rename a leaf in it that says where it goes. A rule at a node takes
what lies below it, but for what rules further down take first. The fewest rules that say all are
found as those of a routing table are: from the leaves up, for each place that may be inherited
(Draves and others, "Constructing optimal IP routing tables", 1999).
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from ckptsurgeon.drafting.arrows import SAMPLES, Arrow, is_drop
from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.drafting.units import (
    ALIAS,
    Piece,
    Star,
    cut_list,
    cut_pieces,
    is_literal,
    join_list,
    join_pieces,
    places_of,
    regex_of_units,
    text_of,
)

MOST_PLACES = 4
"""Places that are tried for what lies below a node: those of most leaves."""

Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where what lies below a node goes: under prefixes, or nowhere; and what is said of it."""

    prefixes: tuple[Pieces, ...]
    doubt: Degree | None = None
    remark: str = ""

    def below(self, pieces: Pieces) -> _Place | None:
        """The place of what lies below some pieces; None behind an alias, which no star takes."""
        if any(ALIAS in piece for piece in pieces):
            return None
        if not (self.prefixes and pieces):
            return self  # what is dropped is so wherever it lies
        prefixes = tuple((*prefix, *pieces) for prefix in self.prefixes)
        return _Place(prefixes, self.doubt, self.remark)


@dataclass(frozen=True, slots=True)
class _Star:
    """A rule at a node: what lies below it and is not taken further down goes to a place."""

    path: Pieces
    place: _Place


_Rule = Arrow | _Star


@dataclass(slots=True)
class _Node:
    """A prefix of sources, with the arrows of just this key and what lies below.

    Below a prefix of one arrow are no nodes: it has the arrow, and the `rest` of its source.
    """

    path: Pieces
    arrows: list[tuple[Arrow, _Place]] = field(default_factory=list)
    below: dict[Piece, _Node] = field(default_factory=dict)
    places: Counter[_Place] = field(default_factory=Counter)
    rest: Pieces = ()
    solved: dict[_Place | None, tuple[_Rule, ...]] = field(default_factory=dict)
    count: int = 0
    is_shared: bool = False
    """Whether some of what lies below is left: no star takes that."""


def cover(arrows: Sequence[Arrow], *, copies: bool, left: Collection[str] = ()) -> list[Arrow]:
    """The arrows, those that only rename or drop as few as say the same.

    `copies` says that what no rule takes keeps its name: arrows that do just that go. `left` are
    keys that no rule is to take.
    """
    covered = [arrow for arrow in arrows if arrow.is_move or is_drop(arrow)]
    root = _Node(())
    paths = [_put(root, arrow) for arrow in covered]
    for path, arrow in zip(paths, covered, strict=True):
        _note_places(path, arrow)
    if left:
        _mark_shared(root, [key.split(".") for key in left])
    others = [arrow for arrow in arrows if not (arrow.is_move or is_drop(arrow))]
    for arrow in others:
        for source in cut_list(arrow.source):
            _count(root, cut_pieces(source))
    rules = _solve(root, _Place(((),)) if copies else None)
    return [*others, *_written(rules, covered)]


def _mark_shared(node: _Node, left: Sequence[Sequence[str]]) -> None:
    """Marks the nodes that keys, cut into pieces, lie below which no rule is to take."""
    node.is_shared = bool(left)
    depth = len(node.path)
    inside: dict[str, list[Sequence[str]]] = {}
    for key in left:
        if len(key) > depth + 1:
            inside.setdefault(key[depth], []).append(key)
    for piece, child in node.below.items() if inside else ():
        if is_literal(piece):
            _mark_shared(child, inside.get(text_of(piece), ()))
        else:
            own = re.compile(regex_of_units(piece))
            some = [keys for word, keys in inside.items() if own.fullmatch(word)]
            _mark_shared(child, list(itertools.chain(*some)))


def _count(root: _Node, source: Pieces) -> None:
    """Counts what isn't covered in the nodes above it: nothing there is dropped as a whole."""
    node: _Node | None = root
    for piece in source:
        if node is None:
            return
        node.count += 1
        node = node.below.get(piece)


def _put(root: _Node, arrow: Arrow) -> list[_Node]:
    """The nodes of an arrow down to its leaf, in each of which it is counted."""
    source = cut_pieces(arrow.source)
    root.count += 1
    path = [root]
    for depth, piece in enumerate(source):
        below = path[-1].below
        if piece not in below:
            below[piece] = _Node(source[: depth + 1])
        path.append(below[piece])
        path[-1].count += 1
    return path


def _note_places(path: Sequence[_Node], arrow: Arrow) -> None:
    """Puts an arrow where it is alone, else at its leaf, and notes above where it goes."""
    source = path[-1].path
    patterns = cut_list(arrow.target) if arrow.target else ()
    targets = tuple(map(cut_pieces, patterns))
    doubt, remark = arrow.doubt, arrow.remark
    own = arrow, _Place(targets, doubt, remark)
    for depth, node in enumerate(path):
        if node.count == 1:
            node.below.clear()
            node.rest = source[depth:]
            node.arrows.append(own)
            return
        if (prefixes := _prefixes_of(source, targets, depth)) is not None:
            node.places[_Place(prefixes, doubt, remark)] += 1
    path[-1].arrows.append(own)


def _prefixes_of(
    source: Pieces, targets: tuple[Pieces, ...], depth: int
) -> tuple[Pieces, ...] | None:
    """Where a rule for all below the first `depth` pieces would have to put it."""
    rest = source[depth:]
    prefixes: list[Pieces] = []
    for target in targets:
        before = len(target) - len(rest)
        if before < 0 or target[before:] != rest:
            return None
        prefixes.append(target[:before])
    used = places_of(itertools.chain(*itertools.chain(*prefixes))) if prefixes else None
    is_known = not used or used <= places_of(itertools.chain(*source[:depth]))
    return tuple(prefixes) if is_known else None


def _solve(node: _Node, inherited: _Place | None) -> tuple[_Rule, ...]:
    """The fewest rules for a node and what lies below, where a place is inherited from above."""
    if not node.places:
        return _solve_below(node, inherited)
    if inherited not in node.solved:
        best = _solve_below(node, inherited)
        for place, count in node.places.most_common(MOST_PLACES):
            fits = count > 1 and node.below and not (node.is_shared or _is_of_all(node))
            if not place.prefixes and count < node.count:
                continue  # what is dropped is named: nothing else lies below
            if place != inherited and fits:
                own = [arrow for arrow, there in node.arrows if there != inherited]
                found = (*own, *_solve_children(node, place), _Star(node.path, place))
                best = min(best, found, key=len)
        node.solved[inherited] = best
    return node.solved[inherited]


def _is_of_all(node: _Node) -> bool:
    """Whether what lies below a node is of several sources: no star takes that."""
    return any(ALIAS in piece for piece in node.below)


def _solve_below(node: _Node, inherited: _Place | None) -> tuple[_Rule, ...]:
    there = None if inherited is None else inherited.below(node.rest)
    own = (arrow for arrow, place in node.arrows if place != there)
    return (*own, *_solve_children(node, inherited))


def _solve_children(node: _Node, inherited: _Place | None) -> list[_Rule]:
    rules: list[_Rule] = []
    for piece, child in node.below.items():
        rules += _solve(child, None if inherited is None else inherited.below((piece,)))
    return rules


# --- written --------------------------------------------------------------------------------------


def _written(rules: Sequence[_Rule], arrows: Sequence[Arrow]) -> list[Arrow]:
    """The rules as arrows, each star with what it takes: the arrows that no deeper rule does."""
    written = [rule for rule in rules if isinstance(rule, Arrow)]
    stars = {rule.path: rule for rule in rules if isinstance(rule, _Star)}
    single = {id(arrow) for arrow in written}
    taken: dict[Pieces, list[Arrow]] = {}
    for arrow in arrows:
        path = cut_pieces(arrow.source)
        above = (path[:depth] for depth in reversed(range(len(path))))
        star = next((one for one in above if one in stars), None)
        if id(arrow) not in single and star is not None:
            taken.setdefault(star, []).append(arrow)
    return written + [_star_arrow(stars[path], found) for path, found in taken.items()]


def _star_arrow(star: _Star, taken: Sequence[Arrow]) -> Arrow:
    """The arrow of a star; one that takes a single arrow is that."""
    if len(taken) == 1:
        return taken[0]
    deep = any(len(cut_pieces(arrow.source)) > len(star.path) + 1 for arrow in taken)
    end: Piece = (Star(deep),)
    return replace(
        min(taken, key=lambda arrow: arrow.first),
        source=join_pieces((*star.path, end)),
        target=join_list([join_pieces((*prefix, end)) for prefix in star.place.prefixes]),
        samples=tuple(key for arrow in taken for key in arrow.samples[:SAMPLES]),
        degree=max(arrow.degree for arrow in taken),
        parts=tuple(taken),
    )
