"""Modules matched by names, shapes and structure, and how certain each pair is."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.suggesting.assigning import Pairs, assign, margin
from ckptsurgeon.suggesting.candidates import Candidate, divide
from ckptsurgeon.suggesting.folding import fold
from ckptsurgeon.suggesting.fusing import fuse
from ckptsurgeon.suggesting.lists import (
    TURNED_LIST,
    ListPair,
    Side,
    pair_lists,
    settle_sides,
)
from ckptsurgeon.suggesting.relations import UNSURE
from ckptsurgeon.suggesting.scoring import (
    Fit,
    Scorer,
    are_held_alike,
    are_numbered_alike,
    are_placed_alike,
    pairs_of,
)
from ckptsurgeon.suggesting.units import Specs, lists_around, units_of

ROUNDS = 3
"""Of matching, each with what the one before says of containers."""

LEAST = 1.5
"""The score from which on two units are matched at all: nearly equal shapes."""

WIDE, SOME = 3.0, 1.0
"""Margins to the next best of what is sure, and of what is likely."""

CLOSE = 0.15
"""The margin of two lists below which they are likely at most."""

CLEAR, FAINT = 0.5, 0.12
"""Shares of words in common of what is sure, and of what is likely."""


@dataclass(frozen=True, slots=True)
class Match:
    """Two units that are one, how certain that is, and what else would fit."""

    source: Candidate
    target: Candidate
    fit: Fit
    degree: Degree
    remark: str = ""


def match_units(source: Specs, target: Specs) -> tuple[list[Match], dict[str, str]]:
    """The matches of all that has one on the other side, and what is asked of target keys."""
    left, right = settle_sides(source, target)
    lists = pair_lists(left, right)
    asked = dict(_ask_lists(lists, right))
    if len(left.units) * len(right.units) > MOST_FUSED**2 * TOO_MANY:
        return [], asked
    return list(_Matching(*fuse(*divide(left, right, lists)), lists).matches()), asked


def _ask_lists(lists: Mapping[str, ListPair], target: Side) -> Iterator[tuple[str, str]]:
    """What is asked of keys in lists that are longer on one side."""
    uneven = {pair.target: pair for pair in lists.values() if pair.is_uneven}
    for unit in target.units:
        pair = next(
            (uneven[one] for one in reversed(lists_around(unit.module)) if one in uneven), None
        )
        if pair is not None:
            there, here = pair.counts
            told = f"{there} in the source, {pair.source}, and {here} here"
            told += "" if pair.items else ": which? pick: {i: […]}"
            yield from ((key, told) for leaf in unit.leaves.values() for key in leaf.keys)


MOST_PAIRS = 40_000
"""Pairs of modules that are all compared; of more, those whose names share a word."""

TOO_MANY = 4_000_000
"""Pairs of modules of which none are compared: nothing in them repeats."""

MOST_FUSED = 3
"""Modules that are fused into one, at most."""


def _comparable(
    ours: Sequence[Candidate], theirs: Sequence[Candidate]
) -> Iterator[tuple[Candidate, Candidate]]:
    """The pairs that are compared."""
    number = len(ours) * len(theirs)
    for one, other in pairs_of(ours, theirs) if number <= TOO_MANY else ():
        if number <= MOST_PAIRS or not one.words.isdisjoint(other.words):
            yield one, other


def count_pairs(source: Specs, target: Specs) -> int:
    """About how many pairs of modules would be compared, equal keys not counted."""
    left = [
        {key: spec for key, spec in one.items() if key not in other or other[key] != spec}
        for one, other in ((source, target), (target, source))
    ]
    one, other = (len(units_of(specs, fold(specs))) for specs in left)
    return one * other


class _Matching:
    """Candidates of both sides, assigned in rounds, and what is to be said of each pair."""

    def __init__(
        self,
        ours: Sequence[Candidate],
        theirs: Sequence[Candidate],
        lists: Mapping[str, ListPair],
    ) -> None:
        self._ours, self._theirs, self._lists = ours, theirs, lists
        self._scorer = Scorer(ours, theirs)
        numbers = {id(one): at for at, one in enumerate(ours)}
        others = {id(one): at for at, one in enumerate(theirs)}
        self._possible = [
            (numbers[id(one)], others[id(other)])
            for one, other in _comparable(ours, theirs)
            if self._scorer.base(one, other) is not None
        ]

    def matches(self) -> Iterator[Match]:
        """All pairs of the best assignment."""
        chosen = self._assign()
        rivals, sure = self._find_sure(chosen)
        rivals.settle(sure)
        for row, column in chosen.items():
            one, other = self._ours[row], self._theirs[column]
            fit = self._scorer.base(one, other)
            assert fit is not None  # or it were not possible
            wide, alone = rivals.margin(row, column), rivals.are_none(row, column)
            around = map(self._lists.get, lists_around(one.unit.module))
            pairs = [pair for pair in around if pair is not None]
            found = _degree(fit, wide, alone, one, other)
            degree, remark = _limited(found, fit, one, other, pairs)
            if degree is not Degree.SURE and not remark:
                remark = rivals.tell(row, column, self._ours, self._theirs)
            yield Match(one, other, fit, degree, remark)

    def _assign(self) -> dict[int, int]:
        """The assignment, in which containers support what is in them."""
        chosen: dict[int, int] = {}
        for _ in range(ROUNDS):
            before, chosen = chosen, assign(self._scores())
            if chosen == before:
                break
            self._support(chosen.items())
        return chosen

    def _find_sure(self, chosen: Mapping[int, int]) -> tuple[_Rivals, set[tuple[int, int]]]:
        """The pairs that are sure: containers support them only by pairs that are so themselves.

        Else guesses would make each other certain.
        """
        sure: set[tuple[int, int]] = set()
        for _ in range(ROUNDS):
            self._support(sure)
            rivals = _Rivals(chosen, self._scores())
            before, sure = (
                sure,
                {pair for pair in chosen.items() if self._is_sure(pair, rivals.margin(*pair))},
            )
            if sure == before:
                break
        return rivals, sure

    def _is_sure(self, pair: tuple[int, int], wide: float) -> bool:
        fit = self._scorer.base(self._ours[pair[0]], self._theirs[pair[1]])
        return fit is not None and _is_sure(fit, wide)

    def _support(self, pairs: Iterable[tuple[int, int]]) -> None:
        self._scorer.support((self._ours[row], self._theirs[column]) for row, column in pairs)

    def _scores(self) -> dict[tuple[int, int], float]:
        found: dict[tuple[int, int], float] = {}
        for row, column in self._possible:
            total = self._scorer.total(self._ours[row], self._theirs[column])
            if total is not None:
                found[row, column] = total - LEAST
        return found


def _limited(
    degree: Degree, fit: Fit, one: Candidate, other: Candidate, pairs: Sequence[ListPair]
) -> tuple[Degree, str]:
    """The degree as numbers and lists, the outermost first, allow it, and why it is less."""
    pair = pairs[-1] if pairs else None
    if degree is Degree.OPEN:
        return degree, ""
    if pair is not None and pair.is_ragged:
        return Degree.OPEN, "the lists have their items in other places"
    if pair is not None and pair.margin < CLOSE:
        told = f"another list than {pair.source} would fit as well"
        return (Degree.LIKELY if pair.margin > 0 else Degree.OPEN), told
    if degree is Degree.LIKELY:
        return degree, ""
    is_told = fit.agrees and are_held_alike(
        one, other
    )  # by what it is for, as fc1 and intermediate
    if not (is_told or are_numbered_alike(one, other)):
        return Degree.LIKELY, "by the order of their numbers"
    if one.scope is None or other.scope is None:
        return Degree.LIKELY, "these lists were told by their order alone"
    if any(each.has_gaps for each in pairs):
        return (
            Degree.LIKELY,
            "by the order of the items: their numbers have gaps, or begin elsewhere",
        )
    if one.items != other.items:
        return Degree.LIKELY, "lists of other lengths"
    if any(each.is_turned or each.may_be_turned for each in pairs):
        return Degree.LIKELY, TURNED_LIST
    return degree, ""


class _Rivals:
    """What else would fit each of the chosen pairs."""

    def __init__(self, chosen: Mapping[int, int], scores: Pairs) -> None:
        self._chosen = chosen
        self._back = {column: row for row, column in chosen.items()}
        self._near: dict[tuple[str, int], dict[tuple[int, int], float]] = {}
        for pair, score in scores.items():
            for end in (("row", pair[0]), ("column", pair[1])):
                self._near.setdefault(end, {})[pair] = score
        self._scores = scores
        self._sure: tuple[set[int], set[int]] = (set(), set())

    def around(self, row: int, column: int) -> dict[tuple[int, int], float]:
        """All pairs of a row and of a column."""
        return {**self._near.get(("row", row), {}), **self._near.get(("column", column), {})}

    def margin(self, row: int, column: int) -> float:
        """By how much the next best assignment is worse."""
        near = self.around(row, column)
        return margin(row, column, near, self._chosen, self._back, self._scores)

    def settle(self, sure: Collection[tuple[int, int]]) -> None:
        """Takes pairs as sure: what else would fit these is no rival."""
        self._sure = {row for row, _ in sure}, {column for _, column in sure}

    def are_none(self, row: int, column: int) -> bool:
        """Whether nothing else fits either of the two but what is surely another's."""
        others = (pair for pair in self.around(row, column) if pair != (row, column))
        rows, columns = self._sure
        return all(to in columns if one == row else one in rows for one, to in others)

    def tell(
        self, row: int, column: int, ours: Sequence[Candidate], theirs: Sequence[Candidate]
    ) -> str:
        """What would fit in the place of one of the two."""
        rest = {pair: s for pair, s in self.around(row, column).items() if pair != (row, column)}
        if not rest:
            return "told by shapes alone: nothing else would fit"
        one, other = max(rest, key=lambda pair: (rest[pair], pair))
        if one == row:
            return f"{_beyond(theirs[other], theirs[column])} would fit as well"
        return f"{_beyond(ours[one], ours[row])} would fit as well"


def _beyond(other: Candidate, chosen: Candidate) -> str:
    """The name of a rival, from where it differs from the chosen one."""
    pieces, beside = other.unit.module.split("."), chosen.unit.module.split(".")
    both = zip(pieces, beside, strict=False)
    alike = len(list(itertools.takewhile(lambda two: two[0] == two[1], both)))
    return ".".join(pieces[min(alike, len(pieces) - 1) :])


def _is_sure(fit: Fit, wide: float) -> bool:
    """Whether a pair leaves no other reading, by its own evidence and the next best."""
    doubtful = fit.is_weak or any(one.cost >= UNSURE for one in fit.relations.values())
    named = fit.agrees or fit.exact >= CLEAR
    return wide >= WIDE and named and not (doubtful or fit.conflicts)


def _degree(fit: Fit, wide: float, alone: bool, one: Candidate, other: Candidate) -> Degree:
    """How certain a pair is."""
    if _is_sure(fit, wide):
        return Degree.SURE
    named = fit.agrees or fit.is_weak or fit.words >= FAINT or are_placed_alike(one, other)
    likely = alone or (named and wide >= SOME)
    return Degree.LIKELY if likely and not fit.conflicts else Degree.OPEN
