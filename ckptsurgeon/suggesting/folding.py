"""Integers of keys that count: those whose siblings have like children are indices of lists."""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ckptsurgeon.drafting.arrows import MOST_PIECES
from ckptsurgeon.keys import has_digits, integers_in, without_integers
from ckptsurgeon.language.patterns.pieces import MAX_DIGITS

LIKE = 0.5
"""The share of the children of one of two items that the other has, too, at least."""

LEAST_LEAVES = 3
"""Items of a list whose items are single layers; two of them are named, as fc1 and fc2."""

HOLE = "#"
"""What stands for an index in a folded name."""

Index = tuple[int, ...]


@dataclass(slots=True)
class _Node:
    """A prefix of keys, and what lies below it by pieces."""

    below: dict[str, _Node] = field(default_factory=dict)
    is_key: bool = False
    forms: frozenset[str] = frozenset()
    """The rest of each key below, without integers."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A key whose indices are taken out: `blocks.#.attn.weight`, and (3,)."""

    form: str
    index: Index


def is_foldable(key: str) -> bool:
    """Whether a key can be read: names with a hole of their own, or none at first, can't be."""
    named = HOLE not in key and not key.startswith(".") and key != ""
    return named and key.count(".") < MOST_PIECES and _LONG.search(key) is None


_LONG = re.compile(f"[0-9]{{{MAX_DIGITS + 1}}}")
"""What is too long for an integer of a pattern."""


def fold(keys: Iterable[str], apart: Collection[str] = ()) -> Mapping[str, Folded]:
    """Each key folded, but for the integers of the lists that are to stay apart."""
    return _fold(tuple(keys), frozenset(apart))


@functools.lru_cache(maxsize=2)
def _fold(keys: tuple[str, ...], apart: frozenset[str]) -> Mapping[str, Folded]:
    """The same, kept for who asks again: both sides of one pair are folded for several ends."""
    root = _Node()
    folded = {key: Folded(key, ()) for key in keys if not has_digits(key)}
    for key in (key for key in keys if key not in folded):
        node = root
        for piece in key.split("."):
            node = node.below.setdefault(piece, _Node())
        node.is_key = True
    _note_forms(root)
    _walk("", [("", (), root)], folded, apart)
    return folded


def _note_forms(root: _Node) -> None:
    """Fills in the forms of all nodes, the deepest first."""
    waiting = [root]
    ordered: list[_Node] = []
    while waiting:
        node = waiting.pop()
        ordered.append(node)
        waiting += node.below.values()
    cache: dict[frozenset[str], frozenset[str]] = {}
    for node in reversed(ordered):
        forms = {""} if node.is_key else set[str]()
        for piece, child in node.below.items():
            form = without_integers(piece, HOLE)
            forms |= {f"{form}.{rest}" if rest else form for rest in child.forms}
        found = frozenset(forms)
        node.forms = cache.setdefault(found, found)


Places = Sequence[tuple[str, Index, _Node]]
"""Nodes of one folded prefix: the real prefix, the indices in it, and the node."""


def _walk(form: str, places: Places, folded: dict[str, Folded], apart: Collection[str]) -> None:
    """Folds all keys below the nodes of one folded prefix."""
    for prefix, index, node in places:
        if node.is_key:
            folded[prefix] = Folded(form, index)
    indexed = _find_lists(form, places, apart)
    below: dict[str, list[tuple[str, Index, _Node]]] = defaultdict(list)
    for prefix, index, node in places:
        for piece, child in node.below.items():
            name = f"{prefix}.{piece}" if prefix else piece
            values = indexed.get(piece)
            one = piece if values is None else values[0]
            inner = index if values is None else (*index, *values[1])
            below[one].append((name, inner, child))
    for piece, inside in below.items():
        _walk(_join(form, piece), inside, folded, apart)


def _join(form: str, piece: str) -> str:
    return f"{form}.{piece}" if form else piece


def _find_lists(
    before: str, places: Places, apart: Collection[str]
) -> Mapping[str, tuple[str, Index]]:
    """The pieces below that are items of lists: with a hole for the index, and the index."""
    families: dict[str, dict[str, list[_Node]]] = defaultdict(lambda: defaultdict(list))
    for _, _, node in places:
        for piece, child in node.below.items():
            if has_digits(piece):
                families[without_integers(piece, HOLE)][piece].append(child)
    lists = {form: one for form, one in families.items() if _join(before, form) not in apart}
    return dict(_indexed(lists))


def lists_of(folded: Iterable[Folded]) -> dict[str, set[Index]]:
    """The lists of folded keys: what stands up to an index, with all indices there are."""
    lists: dict[str, set[Index]] = defaultdict(set)
    for form, index in {(one.form, one.index) for one in folded}:
        pieces = form.split(".")
        at = 0
        for depth, piece in enumerate(pieces):
            if HOLE in piece:
                at += piece.count(HOLE)
                lists[".".join(pieces[: depth + 1])].add(index[:at])
    return dict(lists)


def _indexed(
    families: Mapping[str, Mapping[str, Sequence[_Node]]],
) -> Iterator[tuple[str, tuple[str, Index]]]:
    for form, items in families.items():
        if len(items) < 2:
            continue
        forms = {
            piece: frozenset().union(*(node.forms for node in nodes))
            for piece, nodes in items.items()
        }
        usual = Counter(forms.values()).most_common(1)[0][0]
        alike = [piece for piece, own in forms.items() if _are_like(own, usual)]
        if _is_list(form, usual, alike):
            for piece in alike:
                yield piece, (form, tuple(map(int, integers_in(piece))))


def _are_like(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= LIKE * min(len(one), len(other))


def _is_list(form: str, forms: frozenset[str], alike: Sequence[str]) -> bool:
    """Whether items of these children are blocks, or layers that have nothing but a number."""
    deep = sum("." in one for one in forms)
    least = 2 if deep > (0 if form == HOLE else 1) else LEAST_LEAVES
    return len(alike) >= least and (deep > 0 or form == HOLE)
