"""The planes of one dim of a tensor, found again among those of the sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ckptsurgeon.learning.tables import UNIT, WHOLE, Planes, Tables, salted
from ckptsurgeon.learning.words import Array, Words

MOST_CANDIDATES = 64
"""Places of one plane that are tried; planes that stand in more are as good as constant."""

MOST_COMPARED = 1 << 28
"""Planes that are compared for a tensor whose planes stand in several places."""

MOST_RUNS = 1 << 14
"""Runs that a tensor may be made of where its planes stand in several places."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring planes of a source's dim: of a whole tensor, or of one item of its dim 0."""

    tensor: int
    item: int
    dim: int
    start: int
    length: int

    @property
    def axis(self) -> tuple[int, int, int]:
        """What its planes are planes of."""
        return self.tensor, self.item, self.dim


def locate(hashes: Words, size: int, tables: Tables, planes: Planes) -> list[Run] | None:
    """The runs that planes of so many elements are made of, in order; None where one is nowhere."""
    if not len(hashes):
        return None
    first, last = planes.find(salted(hashes, size))
    if (first == last).any():
        return None
    if (last - first == 1).all():
        return _unique_runs(first, planes)
    return _longest_runs(hashes, first, last, tables, planes)


def _unique_runs(places: Array, planes: Planes) -> list[Run]:
    """The runs where every plane stands in one place."""
    tensors, items = planes.tensors[places], planes.items[places]
    dims, indices = planes.dims[places], planes.indices[places]
    ends = (
        (np.diff(tensors) != 0)
        | (np.diff(items) != 0)
        | (np.diff(dims) != 0)
        | (np.diff(indices) != 1)
    )
    starts = [0, *(np.flatnonzero(ends) + 1)]
    lengths = np.diff([*starts, len(places)])
    return [
        Run(int(tensors[at]), int(items[at]), int(dims[at]), int(indices[at]), int(length))
        for at, length in zip(starts, lengths, strict=True)
    ]


def _longest_runs(
    hashes: Words, first: Array, last: Array, tables: Tables, planes: Planes
) -> list[Run] | None:
    """The runs where planes stand in several places: from each on the longest one."""
    runs: list[Run] = []
    at, work = 0, 0
    while at < len(hashes) and len(runs) < MOST_RUNS and work < MOST_COMPARED:
        places = range(int(first[at]), int(last[at]))[:MOST_CANDIDATES]
        work += len(places) * (len(hashes) - at)
        lasting = [(_length(hashes[at:], place, tables, planes), place) for place in places]
        before = runs[-1] if runs else None
        length, place = max(lasting, key=lambda one: (one[0], _follows(one[1], before, planes)))
        found = _run_at(place, length, planes)
        runs.append(found)
        at += length
    return runs if at == len(hashes) else None


def _follows(place: int, before: Run | None, planes: Planes) -> int:
    """How well a place goes on from a run: in the same tensor, and behind it."""
    if before is None:
        return 0
    run = _run_at(place, 1, planes)
    return 2 * (run.axis == before.axis) + (run.start >= before.start + before.length)


def _run_at(place: int, length: int, planes: Planes) -> Run:
    return Run(
        int(planes.tensors[place]),
        int(planes.items[place]),
        int(planes.dims[place]),
        int(planes.indices[place]),
        length,
    )


def _length(hashes: Words, place: int, tables: Tables, planes: Planes) -> int:
    """How many planes from a place on are those that are looked for."""
    run = _run_at(place, 1, planes)
    there = planes_of(tables, run)[run.start : run.start + len(hashes)]
    differ = np.flatnonzero(there != hashes[: len(there)])
    return int(differ[0]) if len(differ) else len(there)


def planes_of(tables: Tables, run: Run) -> Words:
    """All planes of the dim that a run lies on."""
    signature = tables.signatures[run.tensor]
    if run.dim == UNIT:
        return np.array([signature.total], np.uint64)
    if run.item == WHOLE:
        return signature.planes[run.dim]
    planes: Words = signature.items[run.dim - 1][run.item]
    return planes


def axes_of(runs: Sequence[Run]) -> list[tuple[int, int, int]]:
    """The tensors, items and dims of runs, each once, in the order of their first planes."""
    return list(dict.fromkeys(run.axis for run in runs))


def order_of(runs: Sequence[Run], offsets: Sequence[int] = (0,)) -> Array:
    """The indices that runs take, counted through all their axes from these offsets on."""
    axes = axes_of(runs)
    starts = dict(zip(axes, offsets, strict=True)) if len(axes) > 1 else dict.fromkeys(axes, 0)
    return np.concatenate(list(_indices(runs, starts)))


def _indices(runs: Sequence[Run], starts: dict[tuple[int, int, int], int]) -> Iterator[Array]:
    for run in runs:
        begin = run.start + starts[run.axis]
        yield np.arange(begin, begin + run.length)
