"""Units in their scopes: the items of paired lists that hold the same, or what is in no list."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.suggesting.folding import HOLE, Index
from ckptsurgeon.suggesting.lists import ListPair, Side
from ckptsurgeon.suggesting.names import EMPTY, words_of
from ckptsurgeon.suggesting.roles import Found
from ckptsurgeon.suggesting.units import Unit, list_of, taken_at

Scope = tuple[str, int]
"""The source's list of a pair, and the class of its items; ("", 0) for what is in no list."""

ROOT: Scope = ("", 0)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A unit, where it is, and what its name tells there.

    `digits` are the integers of its name that are no indices, `rank` its place among those whose
    names differ in these alone, whose digits are `family`.
    """

    unit: Unit
    scope: Scope | None
    roles: Mapping[str, Found]
    words: frozenset[str]
    parent: str
    digits: tuple[int, ...]
    rank: int = 0
    family: tuple[tuple[int, ...], ...] = ((),)


def divide(
    source: Side, target: Side, pairs: Mapping[str, ListPair]
) -> tuple[list[Candidate], list[Candidate]]:
    """The units of both sides, cut into those of items that hold the same."""
    scopes = _Scopes(source, target, pairs)
    ours = [one for unit in source.units for one in scopes.cut_source(unit)]
    theirs = [one for unit in target.units for one in scopes.cut_target(unit)]
    return candidates_of(ours), candidates_of(theirs)


class _Scopes:
    """For each item of a paired list its class: what it holds, and what its partner does."""

    def __init__(self, source: Side, target: Side, pairs: Mapping[str, ListPair]) -> None:
        self._pairs = {one.target: one for one in pairs.values()}
        held, wanted = _held(source.units), _held(target.units)
        self._of_source: dict[str, dict[Index, int]] = {}
        self._of_target: dict[str, dict[Index, int]] = {}
        for name, pair in pairs.items():
            if pair.is_uneven:
                continue
            classes: dict[tuple[object, object], int] = {}
            for one, other in pair.items.items():
                kind = held[name].get(one), wanted[pair.target].get(other)
                number = classes.setdefault(kind, len(classes))
                self._of_source.setdefault(name, {})[one] = number
                self._of_target.setdefault(pair.target, {})[other] = number
        self._back = {
            pair.target: {other: one for one, other in pair.items.items()} for pair in pairs.values()
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
        places[classes[index]].append(at)
    for number, some in places.items():
        order = sorted(some, key=lambda at: unit.indices[at] if back is None else back[unit.indices[at]])
        yield taken_at(unit, order), (name, number)


# --- what names tell ------------------------------------------------------------------------------


def candidates_of(units: Sequence[tuple[Unit, Scope | None]]) -> list[Candidate]:
    """The units of one side with what their names tell."""
    has_ffn_norm = {
        scope
        for unit, scope in units
        if (found := unit.roles.get("norm")) is not None and found.value == "ffn"
    }
    made = [_candidate(unit, scope, scope in has_ffn_norm) for unit, scope in units]
    return _ranked(made)


def _candidate(unit: Unit, scope: Scope | None, has_ffn_norm: bool) -> Candidate:
    own = unit.spelled
    if scope is not None and scope != ROOT:
        own = own[len(list_of(unit.module)) :]
    words = [word for word in words_of(own) if not word.isdigit()]
    digits = tuple(int(word) for word in words_of(own) if word.isdigit())
    roles = dict(unit.roles)
    if not has_ffn_norm and "norm" in roles and roles["norm"].value == "post_attn":
        roles["norm"] = Found("ffn", roles["norm"].weak)  # what follows attention is the MLP
    told = frozenset(words) - EMPTY or frozenset(words)
    parent = unit.module.rpartition(".")[0]
    return Candidate(unit, scope, roles, told - {HOLE}, parent, digits)


def _ranked(made: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, each with its place among those whose names differ in digits alone."""
    families: dict[object, list[Candidate]] = defaultdict(list)
    for one in made:
        blank = "".join("0" if char.isdigit() else char for char in one.unit.module)
        families[blank, one.scope].append(one)
    ranks: dict[int, tuple[int, tuple[tuple[int, ...], ...]]] = {}
    for family in families.values():
        family.sort(key=lambda one: one.digits)
        digits = tuple(one.digits for one in family)
        for rank, one in enumerate(family):
            ranks[id(one)] = rank, digits
    return [
        replace(one, rank=rank, family=family)
        for one in made
        for rank, family in (ranks[id(one)],)
    ]


def count_words(*sides: Sequence[Candidate]) -> Counter[str]:
    """How many candidates have each word."""
    return Counter(word for side in sides for one in side for word in one.words)
