"""Units in their scopes: the items of paired lists that hold the same, or what is in no list."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.keys import has_digits, without_integers
from ckptsurgeon.suggesting.folding import HOLE, Index
from ckptsurgeon.suggesting.lists import ListPair, Side
from ckptsurgeon.suggesting.names import EMPTY, words_of
from ckptsurgeon.suggesting.norms import settle_norm, tell_norm
from ckptsurgeon.suggesting.roles import Found
from ckptsurgeon.suggesting.units import Unit, list_of, taken_at

Scope = tuple[str, int]
"""The source's list of a pair, and the class of its items; ("", 0) for what is in no list."""

ROOT: Scope = ("", 0)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A unit, where it is, and what its name tells there.

    `digits` are the integers of its name that are no indices, `rank` its place among those whose
    names differ in these alone, whose digits are `family`, `place` that among those of them that
    have its shapes, and how many these are. `items` are the lengths of the lists around it that are
    told by their numbers.
    """

    unit: Unit
    scope: Scope | None
    roles: Mapping[str, Found]
    words: frozenset[str]
    parent: str
    digits: tuple[int, ...]
    rank: int = 0
    family: tuple[tuple[int, ...], ...] = ((),)
    place: tuple[int, int] = (0, 1)
    items: tuple[int, ...] = ()


def divide(
    source: Side, target: Side, pairs: Mapping[str, ListPair]
) -> tuple[list[Candidate], list[Candidate]]:
    """The units of both sides, cut into those of items that hold the same."""
    scopes = _Scopes(source, target, pairs)
    ours = [one for unit in source.units for one in scopes.cut_source(unit)]
    theirs = [one for unit in target.units for one in scopes.cut_target(unit)]
    return candidates_of(ours), candidates_of(theirs)


class _Scopes:
    """For each item of a paired list its class: what it and its partner hold, in equal shapes?"""

    def __init__(self, source: Side, target: Side, pairs: Mapping[str, ListPair]) -> None:
        self._pairs = {one.target: one for one in pairs.values()}
        held, wanted = _held(source.units), _held(target.units)
        self._of_source: dict[str, dict[Index, int]] = {}
        self._of_target: dict[str, dict[Index, int]] = {}
        for name, pair in pairs.items():
            if not pair.items:
                continue
            classes: dict[tuple[object, ...], int] = {}
            ours, theirs = source.profiles(name), target.profiles(pair.target)
            for one, other in pair.items.items():
                alike = ours.get(one) == theirs.get(other)
                kind = held[name].get(one), wanted[pair.target].get(other), alike
                number = classes.setdefault(kind, len(classes))
                self._of_source.setdefault(name, {})[one] = number
                self._of_target.setdefault(pair.target, {})[other] = number
        self._back = {
            pair.target: {other: one for one, other in pair.items.items()}
            for pair in pairs.values()
        }

    def cut_source(self, unit: Unit) -> Iterator[tuple[Unit, Scope | None]]:
        """The parts of a unit of the source, each with its scope."""
        name = list_of(unit.module)
        return _cut(unit, name, self._of_source.get(name), None)

    def cut_target(self, unit: Unit) -> Iterator[tuple[Unit, Scope | None]]:
        """The parts of a unit of the target, their items in the order of the source's."""
        name = list_of(unit.module)
        pair = self._pairs.get(name)
        source = "" if pair is None else pair.source
        return _cut(unit, source, self._of_target.get(name), self._back.get(name))


def _held(units: Sequence[Unit]) -> dict[str, dict[Index, frozenset[str]]]:
    found: dict[str, dict[Index, set[str]]] = defaultdict(lambda: defaultdict(set))
    for unit in units:
        told = f"{unit.module} {' '.join(sorted(unit.leaves))}"
        for index in unit.indices:
            found[list_of(unit.module)][index].add(told)
    return defaultdict(
        dict,
        {name: {at: frozenset(one) for at, one in items.items()} for name, items in found.items()},
    )


def _cut(
    unit: Unit,
    name: str,
    classes: Mapping[Index, int] | None,
    back: Mapping[Index, Index] | None,
) -> Iterator[tuple[Unit, Scope | None]]:
    if not list_of(unit.module):
        yield unit, ROOT
        return
    if classes is None:
        yield unit, None
        return
    places: dict[int, list[int]] = defaultdict(list)
    for at, index in enumerate(unit.indices):
        if index in classes:
            places[classes[index]].append(at)
    for number, some in places.items():
        order = sorted(
            some, key=lambda at: unit.indices[at] if back is None else back[unit.indices[at]]
        )
        yield taken_at(unit, order), (name, number)


# --- what names tell ------------------------------------------------------------------------------


def candidates_of(units: Sequence[tuple[Unit, Scope | None]]) -> list[Candidate]:
    """The units of one side with what their names tell."""
    norms = _norms_by_scope(units)
    return _ranked([_candidate(unit, scope, norms[scope]) for unit, scope in units])


def _norms_by_scope(units: Sequence[tuple[Unit, Scope | None]]) -> Mapping[Scope | None, set[str]]:
    """What the norms of each scope say of themselves."""
    found: dict[Scope | None, set[str]] = defaultdict(set)
    for unit, scope in units:
        found[scope] |= tell_norm(unit.spelled)
    return found


def _candidate(unit: Unit, scope: Scope | None, norms: Collection[str]) -> Candidate:
    own = unit.spelled
    if scope is not None and scope != ROOT:
        own = own[len(list_of(unit.module)) :]
    words = [word for word in words_of(own) if not word.isdecimal()]
    digits = tuple(int(word) for word in words_of(own) if word.isdecimal())
    told = frozenset(words) - EMPTY or frozenset(words)
    parent = unit.module.rpartition(".")[0]
    return Candidate(unit, scope, _roles(unit, norms), told - {HOLE}, parent, digits)


def _roles(unit: Unit, norms: Collection[str]) -> Mapping[str, Found]:
    """A unit's roles, those of norms as the norms beside it make them."""
    roles = dict(unit.roles)
    if "mean" in unit.leaves:
        roles.pop("norm", None)  # a BatchNorm follows a convolution, by whatever number
    if "norm" in roles and (settled := settle_norm(unit.spelled, norms)) is not None:
        roles["norm"] = settled
    return roles


def _ranked(made: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, each with its place among those whose names differ in digits alone."""
    families: dict[object, list[Candidate]] = defaultdict(list)
    alike: dict[object, list[Candidate]] = defaultdict(list)
    for one in sorted(made, key=lambda one: one.digits):
        blank = without_integers(one.unit.module)
        families[blank, one.scope].append(one)
        alike[blank, one.scope, one.unit.signature].append(one)
    ranked: dict[int, Candidate] = {}
    for family in families.values():
        digits = tuple(one.digits for one in family)
        for rank, one in enumerate(family):
            ranked[id(one)] = replace(one, rank=rank, family=digits)
    for group in alike.values():
        for at, one in enumerate(group):
            ranked[id(one)] = replace(ranked[id(one)], place=(at, len(group)))
    lengths = _count_items(made)
    return [
        replace(
            ranked[id(one)],
            items=tuple(lengths[form] for form, _ in _containers_around(one) if lengths[form] > 1),
        )
        for one in made
    ]


def _containers_around(one: Candidate) -> Iterator[tuple[str, str]]:
    """The forms of containers with numbers that are no indices, and the pieces with these."""
    pieces = one.unit.module.split(".")
    for depth, piece in enumerate(pieces[:-1]):
        if has_digits(piece):
            yield ".".join((*pieces[:depth], without_integers(piece))), piece


def _count_items(made: Sequence[Candidate]) -> Mapping[str, int]:
    """How many containers differ in one number alone, by their forms."""
    seen: dict[str, set[str]] = defaultdict(set)
    for one in made:
        for form, piece in _containers_around(one):
            seen[form].add(piece)
    return {form: len(pieces) for form, pieces in seen.items()}


def count_words(*sides: Sequence[Candidate]) -> Counter[str]:
    """How many candidates have each word, with those of all that they are in."""
    return Counter(
        word for side in sides for one in side for word in {*one.words, *words_of(one.unit.module)}
    )
