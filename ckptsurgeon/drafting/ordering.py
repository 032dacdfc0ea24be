"""The order of rules: as the network has it, but none before another whose keys it would take."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.taking import Takers
from ckptsurgeon.drafting.units import Capture, Choice, Units
from ckptsurgeon.ops.indexing import Index, IndexItem

MOST_ROUNDS = 50
"""How often arrows that want to stand before each other are taken apart."""


def order(arrows: Sequence[Arrow]) -> list[Arrow] | None:
    """The arrows in an order in which each takes its own keys; None where there is none.

    Of two that would take keys of each other, the one that was made of several is taken apart.
    """
    if _has_rivals(arrows):
        return None
    waiting = list(arrows)
    for _ in range(MOST_ROUNDS):
        ordered, stuck = _sort(waiting)
        if not stuck:
            return _mark_reuse(ordered)
        apart = next((arrow for arrow in stuck if arrow.parts), None)
        if apart is None:
            return None
        waiting = [arrow for arrow in waiting if arrow is not apart] + list(apart.parts)
    return None


def _has_rivals(arrows: Sequence[Arrow]) -> bool:
    """Whether two arrows that can't be taken apart take each other's keys by one pattern."""
    first: dict[Units, frozenset[str]] = {}
    for arrow in arrows:
        if arrow.source and not (arrow.parts or arrow.index):
            own = frozenset(arrow.samples)
            other = first.setdefault(source_of(arrow), own)
            if own - other and other - own:
                return True
    return False


def _sort(arrows: Sequence[Arrow]) -> tuple[list[Arrow], list[Arrow]]:
    """The arrows in order, and those that are left because each must wait for another."""
    by_place = sorted(arrows, key=lambda arrow: arrow.first)
    ordered, stuck = sort_by_waits(waits_of(by_place))
    general = sorted((by_place[at] for at in stuck), key=lambda arrow: -len(arrow.parts))
    return [by_place[at] for at in ordered], general


def sort_by_waits(waits: Sequence[Collection[int]]) -> tuple[list[int], list[int]]:
    """Numbers in order, but for those that wait for others behind these; and those left stuck."""
    counts = [len(before) for before in waits]
    after: dict[int, list[int]] = {}
    for at, before in enumerate(waits):
        for one in before:
            after.setdefault(one, []).append(at)
    ready = [at for at, count in enumerate(counts) if not count]  # in order, and so a heap
    ordered: list[int] = []
    while ready:
        ordered.append(at := heapq.heappop(ready))
        for one in after.get(at, ()):
            counts[one] -= 1
            if not counts[one]:
                heapq.heappush(ready, one)
    return ordered, [at for at, count in enumerate(counts) if count]


def waits_of(arrows: Sequence[Arrow]) -> list[set[int]]:
    """For each arrow the numbers of those that must stand before it: it would take their keys."""
    takers = Takers(map(source_of, arrows))
    owners: dict[str, set[int]] = {}
    for at, arrow in enumerate(arrows):
        for key in arrow.samples:
            owners.setdefault(key, set()).add(at)
    waits: list[set[int]] = [set() for _ in arrows]
    for key, owned in owners.items():
        parted = {one for one in owned if arrows[one].index}
        whole = owned - parted
        for at in takers.of(key):
            if not arrows[at].index:
                waits[at] |= parted if at in owned else whole
    return waits


def _mark_reuse(arrows: Sequence[Arrow]) -> list[Arrow]:
    """The arrows, those whose keys, or parts of keys, a later one needs leaving them."""
    needed: dict[str, list[Index]] = {}
    marked: list[Arrow] = []
    for arrow in reversed(arrows):
        later = [index for key in arrow.samples for index in needed.get(key, ())]
        again = any(_overlap(arrow.index, index) for index in later)
        marked.append(replace(arrow, reuse=True) if again else arrow)
        for key in arrow.samples:
            needed.setdefault(key, []).append(arrow.index)
    return marked[::-1]


def _overlap(one: Index, other: Index) -> bool:
    """Whether two slices may take an element both: not where they part on a dim."""
    return not any(_parts(a, b) for a, b in zip(one, other, strict=False))


def _parts(one: IndexItem, other: IndexItem) -> bool:
    """Whether two items of one dim have nothing in common."""
    (start, stop), (begin, end) = _span(one), _span(other)
    return (stop is not None and stop <= begin) or (end is not None and end <= start)


def _span(item: IndexItem) -> tuple[int, int | None]:
    if isinstance(item, tuple):
        return item[0] or 0, item[1]
    return (item, item + 1) if isinstance(item, int) else (0, None)


def spare(arrows: Sequence[Arrow], left: Collection[str]) -> list[Arrow]:
    """The arrows, those taken apart that were made of several and would take what is left."""
    merged = list(_merged_in(arrows)) if left else []
    takers = Takers(map(source_of, merged))
    greedy = {id(merged[at]) for key in left for at in takers.of(key)}
    spared: list[Arrow] = []
    waiting = list(arrows) if left else []
    while waiting:
        arrow = waiting.pop()
        if id(arrow) in greedy:
            waiting += arrow.parts
        else:
            spared.append(arrow)
    return spared if left else list(arrows)


def _merged_in(arrows: Iterable[Arrow]) -> Iterator[Arrow]:
    """The arrows that were made of several, and those among what they were made of."""
    waiting = [arrow for arrow in arrows if arrow.parts]
    while waiting:
        yield (arrow := waiting.pop())
        waiting += (part for part in arrow.parts if part.parts)


def source_of(arrow: Arrow) -> Units:
    """The pattern of the keys that an arrow takes: of a capture with a `pick` these integers."""
    if arrow.pick is None:
        return arrow.source
    place, integers = arrow.pick
    picked = Choice(tuple((str(one), str(one)) for one in integers))
    return tuple(
        picked if isinstance(unit, Capture) and unit.place == place else unit
        for unit in arrow.source
    )
