"""Modules matched by names, shapes and structure, and how certain each pair is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ckptsurgeon.drafting.steps import Degree
from ckptsurgeon.suggesting.assigning import Pairs, assign, margin
from ckptsurgeon.suggesting.candidates import Candidate, divide
from ckptsurgeon.suggesting.fusing import fuse
from ckptsurgeon.suggesting.lists import ListPair, may_be_turned, pair_lists, settle_sides
from ckptsurgeon.suggesting.scoring import Fit, Scorer, are_numbered_alike, pairs_of
from ckptsurgeon.suggesting.units import Specs, list_of

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


def match_units(source: Specs, target: Specs) -> tuple[list[Match], dict[str, ListPair]]:
    """The matches of all that has one on the other side, and the lists that were paired."""
    left, right = settle_sides(source, target)
    lists = pair_lists(left, right)
    ours, theirs = fuse(*divide(left, right, lists))
    scorer = Scorer(ours, theirs)
    numbers = {id(one): at for at, one in enumerate(ours)}
    others = {id(one): at for at, one in enumerate(theirs)}
    possible = [
        (one, other) for one, other in pairs_of(ours, theirs) if scorer.base(one, other) is not None
    ]
    chosen: dict[int, int] = {}
    scores: dict[tuple[int, int], float] = {}
    for _ in range(ROUNDS):
        scores = {
            (numbers[id(one)], others[id(other)]): total - LEAST
            for one, other in possible
            if (total := scorer.total(one, other)) is not None
        }
        before, chosen = chosen, assign(scores)
        if chosen == before:
            break
        scorer.support((ours[row], theirs[column]) for row, column in chosen.items())
    return list(_judged(ours, theirs, chosen, scores, scorer, lists)), lists


def _judged(
    ours: Sequence[Candidate],
    theirs: Sequence[Candidate],
    chosen: Mapping[int, int],
    scores: Pairs,
    scorer: Scorer,
    lists: Mapping[str, ListPair],
) -> Iterator[Match]:
    rivals = _Rivals(chosen, scores)
    for row, column in chosen.items():
        one, other = ours[row], theirs[column]
        fit = scorer.base(one, other)
        if fit is None:
            continue
        wide = rivals.margin(row, column)
        degree, remark = _degree(fit, wide, rivals.are_none(row, column)), ""
        pair = lists.get(list_of(one.unit.module))
        if degree is Degree.SURE and not are_numbered_alike(one, other):
            degree, remark = Degree.LIKELY, "by the order of their numbers"
        if degree is Degree.SURE and (one.scope is None or other.scope is None):
            degree, remark = Degree.LIKELY, "these lists were told by their order alone"
        if pair is not None and degree is Degree.SURE and (pair.is_turned or may_be_turned(pair)):
            degree, remark = Degree.LIKELY, "the one list may count from the other's end"
        if pair is not None and pair.margin < CLOSE and degree < Degree.OPEN:
            degree = Degree.LIKELY if pair.margin > 0 else Degree.OPEN
            remark = f"another list than {pair.source} would fit as well"
        if degree is not Degree.SURE and not remark:
            remark = rivals.tell(row, column, ours, theirs)
        yield Match(one, other, fit, degree, remark)


class _Rivals:
    """What else would fit each of the chosen pairs."""

    def __init__(self, chosen: Mapping[int, int], scores: Pairs) -> None:
        self._chosen = chosen
        self._near: dict[tuple[str, int], dict[tuple[int, int], float]] = {}
        for pair, score in scores.items():
            for end in (("row", pair[0]), ("column", pair[1])):
                self._near.setdefault(end, {})[pair] = score
        self._scores = scores

    def around(self, row: int, column: int) -> dict[tuple[int, int], float]:
        """All pairs of a row and of a column."""
        return {**self._near.get(("row", row), {}), **self._near.get(("column", column), {})}

    def margin(self, row: int, column: int) -> float:
        """By how much the next best assignment is worse."""
        return margin(row, column, self._chosen, _Near(self.around(row, column), self._scores))

    def are_none(self, row: int, column: int) -> bool:
        """Whether nothing else fits either of the two."""
        return len(self.around(row, column)) == 1

    def tell(
        self, row: int, column: int, ours: Sequence[Candidate], theirs: Sequence[Candidate]
    ) -> str:
        """What would fit in the place of one of the two."""
        rest = {pair: s for pair, s in self.around(row, column).items() if pair != (row, column)}
        if not rest:
            return "by its shape alone: nothing else has it"
        one, other = max(rest, key=lambda pair: (rest[pair], pair))
        if one == row:
            return f"{theirs[other].unit.module} would fit as well"
        return f"{ours[one].unit.module} would fit as well"


class _Near(dict[tuple[int, int], float]):
    """Scores around one pair; others are looked up in all."""

    def __init__(self, near: Mapping[tuple[int, int], float], scores: Pairs) -> None:
        super().__init__(near)
        self._scores = scores

    def __missing__(self, pair: tuple[int, int]) -> float:
        return self._scores[pair]

    def get(self, pair: tuple[int, int], default: float = 0.0) -> float:  # type: ignore[override]
        """The score of a pair, wherever it is."""
        return self._scores.get(pair, default)


def _degree(fit: Fit, wide: float, alone: bool) -> Degree:
    """How certain a pair is, by its own evidence and by the next best."""
    if fit.conflicts:
        return Degree.OPEN
    doubtful = fit.is_weak or any(one.doubt or one.cost >= 1 for one in fit.relations.values())
    if wide >= WIDE and not doubtful and (fit.agrees or fit.words >= CLEAR):
        return Degree.SURE
    named = fit.agrees or fit.is_weak or fit.words >= FAINT or alone
    return Degree.LIKELY if wide >= SOME and named else Degree.OPEN
