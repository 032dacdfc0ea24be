"""One to one: the assignment of the highest sum, and by how much the next best one is worse."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

Pairs = Mapping[tuple[int, int], float]
"""Scores of pairs, by their numbers on both sides; what is left out can't be."""

MOST_EXACT = 90
"""Rows of a component that is solved exactly: the work grows with the cube."""

FAR = 1e6


def assign(scores: Pairs) -> dict[int, int]:
    """The pairs of the highest sum, where none that is worse than nothing is taken."""
    good = {pair: score for pair, score in scores.items() if score > 0}
    chosen: dict[int, int] = {}
    for component in _components(good):
        rows, columns = len({one for one, _ in component}), len({to for _, to in component})
        solve = _solve if max(rows, columns) <= MOST_EXACT else _take_best
        chosen.update(solve({pair: good[pair] for pair in component}))
    return chosen


def _components(scores: Pairs) -> list[list[tuple[int, int]]]:
    """The pairs in groups that have no row and no column in common."""
    parent: dict[tuple[str, int], tuple[str, int]] = {}

    def find(one: tuple[str, int]) -> tuple[str, int]:
        parent.setdefault(one, one)
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for row, column in scores:
        parent[find(("row", row))] = find(("column", column))
    groups: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for pair in scores:
        groups[find(("row", pair[0]))].append(pair)
    return list(groups.values())


def _take_best(scores: Pairs) -> dict[int, int]:
    """The best pairs one after the other."""
    chosen: dict[int, int] = {}
    taken: set[int] = set()
    for (row, column), _ in sorted(scores.items(), key=lambda one: (-one[1], one[0])):
        if row not in chosen and column not in taken:
            chosen[row] = column
            taken.add(column)
    return chosen


def _solve(scores: Pairs) -> dict[int, int]:
    """The best sum exactly: the Hungarian method with potentials, one row after the other."""
    rows = sorted({one for one, _ in scores})
    columns = sorted({to for _, to in scores})
    size = len(columns) + len(rows)  # each row may stay without a partner, at no gain
    costs = [
        [-scores.get((row, column), -FAR) for column in columns]
        + [0.0 if at == own else FAR for at in range(len(rows))]
        for own, row in enumerate(rows)
    ]
    matched = _hungarian(costs, size)
    return {
        rows[row]: columns[column]
        for column, row in enumerate(matched[: len(columns)])
        if row is not None and (rows[row], columns[column]) in scores
    }


def _hungarian(costs: Sequence[Sequence[float]], size: int) -> list[int | None]:
    """The row of each column."""
    row_of: list[int | None] = [None] * size
    ups, downs = [0.0] * len(costs), [0.0] * size
    for first in range(len(costs)):
        least = [FAR * FAR] * size
        before: list[int | None] = [None] * size
        done = [False] * size
        row = first
        column: int | None = None
        while True:
            here = column
            best, delta = None, FAR * FAR
            for at in range(size):
                if done[at]:
                    continue
                cost = costs[row][at] - ups[row] - downs[at]
                if cost < least[at]:
                    least[at], before[at] = cost, here
                if least[at] < delta:
                    best, delta = at, least[at]
            assert best is not None  # there are more columns than rows
            ups[first] += delta
            for at in range(size):
                if done[at]:
                    owner = row_of[at]
                    assert owner is not None  # it is on the way
                    ups[owner] += delta
                    downs[at] -= delta
                else:
                    least[at] -= delta
            done[best] = True
            column = best
            owner = row_of[best]
            if owner is None:
                break
            row = owner
        _turn(column, first, before, row_of)
    return row_of


def _turn(column: int, first: int, before: Sequence[int | None], row_of: list[int | None]) -> None:
    """Gives each column on the way the row of the one before."""
    at: int | None = column
    while at is not None:
        previous = before[at]
        row_of[at] = first if previous is None else row_of[previous]
        at = previous


def margin(
    row: int,
    column: int,
    near: Pairs,
    chosen: Mapping[int, int],
    back: Mapping[int, int],
    scores: Pairs,
) -> float:
    """By how much the sum falls where this pair isn't made: alone, or changed with another.

    `near` are the pairs of its row and of its column; `back` is `chosen` the other way around.
    """
    own = scores[row, column]
    worst = own
    for (one, to), score in near.items():
        if (one == row) == (to == column):
            continue
        other = back.get(to) if one == row else one
        if one == row:
            rest = 0.0 if other is None else scores[other, to]
            swapped = 0.0 if other is None else max(0.0, scores.get((other, column), 0.0))
        else:
            partner = chosen.get(one)
            rest = 0.0 if partner is None else scores[one, partner]
            swapped = 0.0 if partner is None else max(0.0, scores.get((row, partner), 0.0))
        worst = min(worst, own + rest - score - swapped)
    return worst
