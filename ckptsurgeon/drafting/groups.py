"""Arrows by what several of them share, the best group first, while arrows come and go."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from ckptsurgeon.drafting.arrows import Arrow

K = TypeVar("K", bound=Hashable)


class Groups(Generic[K]):
    """Groups of two arrows or more; of equally good ones that of the first arrow comes first.

    `keys_of` says what an arrow may share, `worth` how good a group is by what it shares and how
    many they are.
    """

    def __init__(
        self,
        arrows: Iterable[Arrow],
        keys_of: Callable[[Arrow], Iterable[K]],
        worth: Callable[[K, int], int],
    ) -> None:
        self._keys_of, self._worth = keys_of, worth
        self._arrows: dict[int, Arrow] = {}
        self._keys: dict[int, list[K]] = {}
        self._members: dict[K, dict[int, int]] = {}  # the numbers of arrows, and the key's place
        self._numbers, self._entries = itertools.count(), itertools.count()
        self._heap: list[tuple[int, int, int, int, K]] = []
        self._latest: dict[K, int] = {}
        self._rank(itertools.chain.from_iterable(map(self._put, arrows)))

    @property
    def arrows(self) -> Iterator[Arrow]:
        """All arrows in the order in which they came."""
        return iter(self._arrows.values())

    def pop(self) -> tuple[K, Mapping[int, Arrow]] | None:
        """The best group, with the numbers of its arrows, that was not given as it is."""
        while self._heap:
            *_, entry, key = heapq.heappop(self._heap)
            if self._latest[key] == entry:
                return key, {number: self._arrows[number] for number in self._members[key]}
        return None

    def replace(self, numbers: Collection[int], *come: Arrow) -> None:
        """Takes the arrows of these numbers out, and puts others behind all."""
        changed = [key for number in numbers for key in self._take_out(number)]
        self._rank([*changed, *itertools.chain.from_iterable(map(self._put, come))])

    def _put(self, arrow: Arrow) -> list[K]:
        number = next(self._numbers)
        self._arrows[number] = arrow
        self._keys[number] = keys = list(self._keys_of(arrow))
        for place, key in enumerate(keys):
            self._members.setdefault(key, {})[number] = place
        return keys

    def _take_out(self, number: int) -> list[K]:
        del self._arrows[number]
        keys = self._keys.pop(number)
        for key in keys:
            del self._members[key][number]
        return keys

    def _rank(self, changed: Iterable[K]) -> None:
        """Puts the groups that have changed in the order of their worth."""
        for key in dict.fromkeys(changed):
            members = self._members[key]
            self._latest[key] = entry = next(self._entries)
            if len(members) > 1:
                first, place = next(iter(members.items()))
                worth = self._worth(key, len(members))
                heapq.heappush(self._heap, (-worth, first, place, entry, key))
