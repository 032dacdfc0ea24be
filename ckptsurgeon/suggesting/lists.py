"""Which list of one side is which of the other, and which item which."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.suggesting.folding import HOLE, Index, fold, lists_of
from ckptsurgeon.suggesting.names import EMPTY, words_of
from ckptsurgeon.suggesting.roles import REVERSED, has_attention
from ckptsurgeon.suggesting.units import Specs, Unit, holes_of, lists_around, units_of

MOST_ROUNDS = 4
"""How often lists without a partner are taken apart: each round may leave others without one."""

LEAST_ALIKE = 0.25
"""The share of tensors that the items of two lists have in common, at least."""

PLAINLY = 0.7
"""The share from which on the items of two lists fit in their own order, whatever else fits."""

Sizes = tuple[int, ...]

Profile = frozenset[tuple[Sizes, int]]
"""The sizes of an item's tensors, whatever their order and their dims of one, and how many."""


@dataclass(frozen=True, slots=True)
class ListPair:
    """Two lists that are one, and their items: those of as many numbers, where one is longer.

    A ragged one is in another list, with more items at one place and fewer at another. With gaps,
    the numbers of one side leave some out that the other has, or begin elsewhere. One that may be
    turned is called as those are that some libraries count from the other end.
    """

    source: str
    target: str
    items: Mapping[Index, Index]
    counts: tuple[int, int]
    is_turned: bool = False
    is_ragged: bool = False
    has_gaps: bool = False
    may_be_turned: bool = False
    margin: float = 1.0
    """By how much the next best list fits worse, of either side."""

    @property
    def is_uneven(self) -> bool:
        """Whether one of the lists is longer."""
        return self.counts[0] != self.counts[1]


class Side:
    """The units of one checkpoint, and its lists with their items in order."""

    def __init__(self, specs: Specs, apart: Collection[str]) -> None:
        folded = fold(specs, apart)
        self.units = units_of(specs, folded)
        self.lists = {name: sorted(items) for name, items in lists_of(folded.values()).items()}
        self._profiles: dict[str, dict[Index, Profile]] = {}

    def is_attended(self, name: str) -> bool:
        """Whether the items of a list have attention."""
        below = (unit.module for unit in self.units if unit.module.startswith(f"{name}."))
        return has_attention(below)

    def profiles(self, name: str) -> Mapping[Index, Profile]:
        """What the items of a list hold."""
        if not self._profiles:
            self._profiles = _profiles(self.units)
        return self._profiles.get(name, {})


def _profiles(units: Sequence[Unit]) -> dict[str, dict[Index, Profile]]:
    """What the items of each list hold."""
    found: dict[str, dict[Index, Counter[Sizes]]] = defaultdict(lambda: defaultdict(Counter))
    for unit in units:
        for one in lists_around(unit.module):
            _count(unit, holes_of(one), found[one])
    return {
        name: defaultdict(frozenset, {at: frozenset(one.items()) for at, one in items.items()})
        for name, items in found.items()
    }


def _count(unit: Unit, holes: int, found: dict[Index, Counter[Sizes]]) -> None:
    for leaf in unit.leaves.values():
        for index, shape in zip(unit.indices, leaf.shapes, strict=True):
            found[index[:holes]][tuple(sorted(size for size in shape if size != 1))] += 1


# --- foldings -------------------------------------------------------------------------------------


def settle_sides(source: Specs, target: Specs) -> tuple[Side, Side]:
    """Both sides, folded where the other side has a list of as many items, or a like one."""
    apart: tuple[set[str], set[str]] = (set(), set())
    for _ in range(MOST_ROUNDS):
        sides = Side(source, apart[0]), Side(target, apart[1])
        lone = _find_lone(sides[0], sides[1]), _find_lone(sides[1], sides[0])
        if not any(lone):
            break
        apart[0].update(lone[0])
        apart[1].update(lone[1])
    return sides


def _find_lone(one: Side, other: Side) -> set[str]:
    """The outermost lists of a side that have no partner."""
    lone = {
        name for name in one.lists if not any(_may_pair(one, name, other, to) for to in other.lists)
    }
    return {name for name in lone if not any(above in lone for above in _outer(name))}


def _outer(name: str) -> Iterator[str]:
    return reversed(lists_around(name.rpartition(".")[0]))


def _may_pair(one: Side, name: str, other: Side, to: str) -> bool:
    likeness = compare_lists(one, name, other, to)
    if len(one.lists[name]) == len(other.lists[to]):
        return max(likeness, compare_lists(one, name, other, to, True)) >= LEAST_ALIKE
    return likeness >= 2 * LEAST_ALIKE and holes_of(name) == holes_of(to)


def compare_lists(one: Side, name: str, other: Side, to: str, turned: bool = False) -> float:
    """The share of tensors that the first, the middle and the last items have in common."""
    left, right = one.lists[name], other.lists[to]
    if turned:
        right = right[::-1]
    ours, theirs = one.profiles(name), other.profiles(to)
    if len(left) != len(right):
        return _share(ours[left[-1]], theirs[right[-1]])
    places = sorted({0, len(left) // 2, len(left) - 1})
    shares = [_share(ours[left[at]], theirs[right[at]]) for at in places]
    return sum(shares) / len(shares)


@functools.lru_cache(maxsize=1 << 14)
def _share(one: Profile, other: Profile) -> float:
    ours, theirs = Counter(dict(one)), Counter(dict(other))
    return (ours & theirs).total() / max(1, (ours | theirs).total())


# --- pairs ----------------------------------------------------------------------------------------


def pair_lists(source: Side, target: Side) -> dict[str, ListPair]:
    """The pairs by the source's list; each list is in one of them at most, outer ones first."""
    scored = sorted(_score_pairs(source, target), key=lambda one: (-one[0], one[1], one[2]))
    near: dict[tuple[str, str], list[tuple[float, str, str]]] = defaultdict(list)
    for one in scored:
        near["source", one[1]].append(one)
        near["target", one[2]].append(one)
    pairs: dict[str, ListPair] = {}
    taken: set[str] = set()
    for score, name, to in scored:
        if name not in pairs and to not in taken and _agree(name, to, pairs):
            taken.add(to)
            rival = max(
                (
                    one
                    for one, mine, theirs in (*near["source", name], *near["target", to])
                    if (mine == name) != (theirs == to)
                    and _are_apart(name, mine)
                    and _are_apart(to, theirs)
                ),
                default=0.0,
            )
            pairs[name] = replace(_pair(source, name, target, to, pairs), margin=score - rival)
    return pairs


def _are_apart(one: str, other: str) -> bool:
    """Whether none of two lists is in the other."""
    return one == other or not (one.startswith(f"{other}.") or other.startswith(f"{one}."))


def _score_pairs(source: Side, target: Side) -> Iterator[tuple[float, str, str]]:
    for name in source.lists:
        for to in target.lists:
            if _may_pair(source, name, target, to):
                even = len(source.lists[name]) == len(target.lists[to])
                likeness = max(
                    compare_lists(source, name, target, to, turned) for turned in (False, True)
                )
                outer = 0.1 * (holes_of(name) == holes_of(to))
                yield likeness + compare_names(name, to) + even + outer, name, to


def compare_names(one: str, other: str) -> float:
    """The share of words that two names have in common, but for those that tell nothing."""
    left = set(words_of(one)) - EMPTY
    right = set(words_of(other)) - EMPTY
    return len(left & right) / max(1, len(left | right))


def _agree(name: str, to: str, pairs: Mapping[str, ListPair]) -> bool:
    """Whether the lists around two are not paired with others."""
    above = {one.source: one.target for one in pairs.values()}
    mine = [above[one] for one in _outer(name) if one in above]
    theirs = set(_outer(to))
    return all(one in theirs for one in mine)


def _pair(
    source: Side, name: str, target: Side, to: str, pairs: Mapping[str, ListPair]
) -> ListPair:
    left, right = source.lists[name], target.lists[to]
    outer = next((pairs[one] for one in _outer(name) if one in pairs), None)
    if outer is not None and outer.is_uneven:
        right = _items_of(right, outer)
    counts = (len(left), len(right))
    if counts[0] != counts[1]:
        items = _first_items(source, name, target, to) if outer is None else {}
        return ListPair(name, to, items, counts, has_gaps=True)
    if outer is not None and outer.items and outer.target in set(_outer(to)):
        left = _in_order_of(left, outer)
    else:
        outer = None
    is_turned = outer is None and _is_turned(source, name, target, to)
    items = dict(zip(left, right[::-1] if is_turned else right, strict=True))
    return ListPair(
        name,
        to,
        items,
        counts,
        is_turned or (outer is not None and outer.is_turned),
        outer is not None and not _keeps(items, outer),
        not _is_regular(items) or _begins_elsewhere(name, to, items),
        may_be_turned(name, to) and not (source.is_attended(name) or target.is_attended(to)),
    )


def _first_items(source: Side, name: str, target: Side, to: str) -> dict[Index, Index]:
    """The items of a list and those of as many numbers of a longer one, where they hold the same.

    Nothing where the source's is the longer one: nobody can say which of its items are left out.
    Nor in one codebase, where items may be put in anywhere.
    """
    left, right = source.lists[name], target.lists[to]
    if name == to or len(left) > len(right) or not (_is_run(left) and _is_run(right)):
        return {}
    items = dict(zip(left, right, strict=False))
    ours, theirs = source.profiles(name), target.profiles(to)
    shares = [_share(ours[one], theirs[other]) for one, other in items.items()]
    return items if sum(shares) >= PLAINLY * len(shares) else {}


def _items_of(items: Sequence[Index], outer: ListPair) -> list[Index]:
    """The items of the target in those of its outer list that have a partner."""
    known = set(outer.items.values())
    holes = len(next(iter(known), ()))
    return [item for item in items if item[:holes] in known]


def _is_turned(source: Side, name: str, target: Side, to: str) -> bool:
    """Whether the items fit in the opposite order, and not in their own."""
    straight, turned = (compare_lists(source, name, target, to, way) for way in (False, True))
    return straight < PLAINLY and turned >= straight + LEAST_ALIKE


def _keeps(items: Mapping[Index, Index], outer: ListPair) -> bool:
    """Whether items of one outer item go into the one that it is."""
    mine = len(next(iter(outer.items)))
    theirs = len(next(iter(outer.items.values())))
    return all(outer.items.get(one[:mine]) == to[:theirs] for one, to in items.items())


def _is_regular(items: Mapping[Index, Index]) -> bool:
    """Whether the innermost numbers are the same, or counted from elsewhere, without gaps."""
    (one, other), *_ = items.items()
    if len(one) != len(other):
        return _is_run(list(items)) and _is_run(list(items.values()))
    steps = {to[-1] - at[-1] for at, to in items.items()}
    if len(steps) == 1:
        return steps == {0} or (_is_run(list(items)) and _is_run(list(items.values())))
    turned = {to[-1] + at[-1] for at, to in items.items()}
    return len(turned) == 1


def _begins_elsewhere(name: str, to: str, items: Mapping[Index, Index]) -> bool:
    """Whether the first items may be lacking on one side.

    Names such as `stage1` are counted from 1; what has its number in a piece of its own is not.
    """
    first = min(at[-1] for at in items), min(at[-1] for at in items.values())
    if first[0] == first[1]:
        return False
    later = name if first[0] > first[1] else to
    is_piece = later.rpartition(".")[2] == HOLE
    return is_piece or max(first) > 1 or own_name(name) == own_name(to)


def _is_run(items: Sequence[Index]) -> bool:
    """Whether the innermost numbers of each item around them follow each other."""
    inner: dict[Index, list[int]] = defaultdict(list)
    for item in items:
        inner[item[:-1]].append(item[-1])
    return all(len(some) == len(set(some)) == max(some) - min(some) + 1 for some in inner.values())


def _in_order_of(items: Sequence[Index], outer: ListPair) -> list[Index]:
    """The items by where the items around them go."""
    holes = len(next(iter(outer.items)))
    return sorted(items, key=lambda item: (outer.items.get(item[:holes], ()), item[holes:]))


TURNED_LIST = "the one list may count from the other's end"


def may_be_turned(one: str, other: str) -> bool:
    """Whether one of two lists may be counted from the other end, by its name and nothing else."""
    names = [own_name(each.rstrip(".")) for each in (one, other)]
    if names[0] == names[1]:
        return False
    around = {word for each in (one, other) for word in words_of(each)}
    own = {word for name in names for word in words_of(name)}
    return "decoder" in around or not REVERSED.isdisjoint(own)


def own_name(name: str) -> str:
    """The piece that names a list: the one with the index, or the one before it."""
    *before, last = name.split(".")
    return before[-1] if last == HOLE and before else last
