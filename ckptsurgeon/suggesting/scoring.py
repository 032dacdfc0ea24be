"""How well two units fit: shapes, what their names say they are for, their words, their place."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.keys import has_digits, integers_in
from ckptsurgeon.suggesting.candidates import Candidate, count_words
from ckptsurgeon.suggesting.folding import HOLE
from ckptsurgeon.suggesting.names import share_start, words_of
from ckptsurgeon.suggesting.relations import Relation, Tensor, relate
from ckptsurgeon.suggesting.roles import EXCLUSIVE, KINDS, ROLE_WORDS, TELLING, Found

SHAPES = 3.0
"""For shapes that are equal; ops cost some of it."""

ABSENT = 0.8
"""Less for each leaf that one of two modules lacks."""

FREE = ("count", "mean", "var")
"""Leaves that may be lacking at no cost: frozen and fresh norms are the same norms."""

WORDS = 4.0
"""For all words in common, by how rare they are."""

SHORTENED = 0.7
"""Of a word's weight, where it is shortened."""

ROLE, WEAK_ROLE, FACET = 3.0, 2.0, 1.0
"""For what both names say they are for: in plain words, by habit, and for other facets."""

CONFLICT, WEAK_CONFLICT, OTHER_FACET = -6.0, -3.0, -2.0
"""For two that can't be one by their names."""

SAME_NAME = 5.0
"""For one name on both sides: shapes must differ, or its numbers, or it had been settled before."""

RANK, PLACE, DIGITS = 1.0, 0.8, 0.5
"""For one rank among siblings of one number, or among those that are alike, and for the same
integers."""

PARENT = 1.5
"""For containers of which other units are matched."""

OTHER_SCOPE = -1.0
"""For units of which one is in a list without a partner."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How two units fit, and by what.

    `words` is the share of words in common, `exact` that of those that aren't shortened; `agrees`
    says that both names tell one purpose in plain words, `is_weak` that they do by habit.
    """

    total: float
    relations: Mapping[str, Relation]
    words: float
    exact: float
    agrees: bool
    is_weak: bool
    conflicts: bool


class Scorer:
    """Scores of pairs of candidates, from what is rare among all of them."""

    def __init__(self, source: Sequence[Candidate], target: Sequence[Candidate]) -> None:
        self._counts = count_words(source, target)
        self._number = max(2, len(source) + len(target))
        self._known: dict[tuple[int, int], Fit | None] = {}
        self._support: Mapping[tuple[str, str], float] = {}

    def base(self, one: Candidate, other: Candidate) -> Fit | None:
        """The fit of two without their containers; None where shapes forbid it."""
        at = id(one), id(other)
        if at not in self._known:
            self._known[at] = self._fit(one, other)
        return self._known[at]

    def total(self, one: Candidate, other: Candidate) -> float | None:
        """The score of two with what their containers add."""
        fit = self.base(one, other)
        if fit is None:
            return None
        return fit.total + PARENT * self._support.get((one.parent, other.parent), 0.0)

    def support(self, matched: Iterable[tuple[Candidate, Candidate]]) -> None:
        """Lets containers of matched units support what else is in them."""
        votes: Counter[tuple[str, str]] = Counter()
        all_of: Counter[str] = Counter()
        for one, other in matched:
            votes[one.parent, other.parent] += 1
            all_of[one.parent] += 1
        self._support = {pair: count / all_of[pair[0]] for pair, count in votes.items()}

    def _fit(self, one: Candidate, other: Candidate) -> Fit | None:
        if not may_meet(one, other):
            return None
        relations = relate_units(one, other)
        if relations is None:
            return None
        agreed, conflicts, told = _compare_roles(one.roles, other.roles)
        same_name = one.unit.module == other.unit.module and one.family == other.family
        exact, words = self._compare_words(one.words, other.words)
        if _are_called_otherwise(_own_words(one), _own_words(other)):
            exact = 0.0  # what holds them has one name, they have not
        shapes = SHAPES - sum(relation.cost for relation in relations.values())
        absent = (one.unit.leaves.keys() ^ other.unit.leaves.keys()) - set(FREE)
        scope = OTHER_SCOPE if (one.scope is None) != (other.scope is None) else 0.0
        total = (
            shapes
            - ABSENT * len(absent)
            + WORDS * words
            + sum(agreed)
            + sum(conflicts)
            + _compare_places(one, other)
            + SAME_NAME * same_name
            + scope
        )
        weak = WEAK_ROLE in told and not (same_name or _have_one_name(one, other))
        more = _says_more(one, other) or _says_more(other, one)
        strong = (bool(told) and not (weak or more)) or same_name
        moved = one.family == other.family and one.digits != other.digits
        conflict = moved or min(conflicts, default=0) <= WEAK_CONFLICT
        return Fit(total, relations, words, exact, strong, weak, conflict)

    def _compare_words(self, one: frozenset[str], other: frozenset[str]) -> tuple[float, float]:
        """The shares of equal words, and of those that are shortened, too, by how rare they are."""
        if not (one and other):
            return 0.0, 0.0
        total = sum(self._weight(word) for word in sorted([*one, *other]))
        exact = common = sum(2 * self._weight(word) for word in sorted(one & other))
        right = sorted(other - one)
        for word in sorted(one - other):  # sums of floats depend on their order
            near = next((to for to in right if share_start(word, to)), None)
            if near is not None:
                right.remove(near)
                common += SHORTENED * (self._weight(word) + self._weight(near))
        return exact / total, common / total

    def _weight(self, word: str) -> float:
        return math.log(1 + self._number / self._counts[word])


def _have_one_name(one: Candidate, other: Candidate) -> bool:
    """Whether two modules are called the same, whatever holds them, and not by a number alone."""
    names = {candidate.unit.module.rpartition(".")[2] for candidate in (one, other)}
    return len(names) == 1 and any(map(str.isalpha, names.pop()))


def may_meet(one: Candidate, other: Candidate) -> bool:
    """Whether two are in scopes that may be one, and as often."""
    if len(one.unit.indices) != len(other.unit.indices):
        return False
    return one.scope == other.scope or None in (one.scope, other.scope)


def relate_units(one: Candidate, other: Candidate) -> dict[str, Relation] | None:
    """How each leaf that both have becomes that of the other; None where one can't, or none is."""
    relations: dict[str, Relation] = {}
    if ("weight" in one.unit.leaves) != ("weight" in other.unit.leaves):
        return None  # what is left of a module is not another
    for kind, leaf in one.unit.leaves.items():
        to = other.unit.leaves.get(kind)
        if to is None:
            continue
        found: Relation | None = None
        for shapes in dict.fromkeys(zip(leaf.shapes, to.shapes, strict=True)):
            way = relate(
                Tensor(shapes[0], leaf.name, one.roles), Tensor(shapes[1], to.name, other.roles)
            )
            if way is None or (found is not None and way.name != found.name):
                return None
            found = way
        if found is not None:
            relations[kind] = found
    return relations or None


def _compare_roles(
    one: Mapping[str, Found], other: Mapping[str, Found]
) -> tuple[list[float], list[float], list[float]]:
    """What facets add that both names tell, and what they take off.

    The third are of what is added those that say what a module is.
    """
    agreed: list[float] = []
    told: list[float] = []
    conflicts = [
        WEAK_CONFLICT if left.weak or right.weak else CONFLICT
        for left, right in _parts_of_both(one, other)
    ]
    for facet in one.keys() & other.keys():
        left, right = one[facet], other[facet]
        weak = left.weak or right.weak
        if left.value == right.value:
            if facet in KINDS:
                continue
            value = (WEAK_ROLE if weak else ROLE) if facet in EXCLUSIVE else FACET
            agreed.append(value)
            if facet in TELLING:
                told.append(value)
        elif facet in EXCLUSIVE:
            conflicts.append(WEAK_CONFLICT if weak else CONFLICT)
        else:
            conflicts.append(OTHER_FACET)
    return agreed, conflicts, told


def _parts_of_both(
    one: Mapping[str, Found], other: Mapping[str, Found]
) -> Iterator[tuple[Found, Found]]:
    """What one says to be of attention, and the other of an MLP."""
    if "part" not in other and "ffn" not in one and "part" in one and "ffn" in other:
        yield one["part"], other["ffn"]
    if "part" not in one and "ffn" not in other and "part" in other and "ffn" in one:
        yield one["ffn"], other["part"]


def _compare_places(one: Candidate, other: Candidate) -> float:
    """What integers of names add: the same ones, or where both sides have others, their order."""
    if one.family == other.family:
        return (RANK + DIGITS) * (one.digits == other.digits and bool(one.digits))
    if len(one.family) == len(other.family) > 1:
        return RANK * (one.rank == other.rank)
    return PLACE * (one.place == other.place and one.place[1] > 1)


def are_numbered_alike(one: Candidate, other: Candidate) -> bool:
    """Whether integers of the names don't tell one thing here and another there."""
    if one.digits == other.digits:
        return one.family == other.family or len(one.family) == len(other.family) == 1
    lone = len(one.family) == len(other.family) == 1
    with_digits = [each for each in (one, other) if each.digits]
    return lone and len(with_digits) == 1 and not has_digits(with_digits[0].parent)


def _says_more(one: Candidate, other: Candidate) -> bool:
    """Whether one is said to be what the other isn't, or its own name has a word that isn't there.

    So is one of images or of text, where the other doesn't say so. Words of roles don't count.
    """
    facets = one.roles.keys() - other.roles.keys()
    if "modality" in facets or not TELLING.isdisjoint(facets):
        return True
    return bool(_lacking(_own_words(one) - ROLE_WORDS, other.words))


def _are_called_otherwise(one: Collection[str], other: Collection[str]) -> bool:
    """Whether each of two names has a word that the other lacks, not even shortened."""
    return bool(_lacking(one, other) and _lacking(other, one))


def _lacking(words: Collection[str], others: Collection[str]) -> list[str]:
    """The words that others lack, even shortened."""
    return [word for word in words if not any(word == to or share_start(word, to) for to in others)]


def _own_words(one: Candidate) -> set[str]:
    """The words of the last piece of a name that has some."""
    for piece in reversed(one.unit.spelled.split(".")):
        if found := {word for word in words_of(piece) if not word.isdecimal() and word != HOLE}:
            return found
    return set()


def are_held_alike(one: Candidate, other: Candidate) -> bool:
    """Whether what holds two has the same integers, but for indices, or none."""
    return integers_in(one.parent) == integers_in(other.parent)


def are_placed_alike(one: Candidate, other: Candidate) -> bool:
    """Whether two have one place among as many that differ from them in numbers alone."""
    ranked = len(one.family) == len(other.family) > 1 and one.rank == other.rank
    return ranked or (one.place == other.place and one.place[1] > 1)


def group_by_scope(candidates: Iterable[Candidate]) -> dict[object, list[Candidate]]:
    """The candidates by their scopes: by what may meet."""
    found: dict[object, list[Candidate]] = defaultdict(list)
    for one in candidates:
        found[one.scope].append(one)
    return found


def pairs_of(
    source: Sequence[Candidate], target: Sequence[Candidate]
) -> Iterator[tuple[Candidate, Candidate]]:
    """All pairs that may meet."""
    ours, theirs = group_by_scope(source), group_by_scope(target)
    for scope, some in ours.items():
        near = theirs if scope is None else {scope, None}
        for to in near:
            for one in some:
                for other in theirs.get(to, ()):
                    yield one, other
