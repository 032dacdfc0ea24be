"""Lists of layers, as `blocks.<i>`, of which one side of a plan has more than the other."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from ckptsurgeon.keys import INTEGER, group_forms, range_text, without_integers
from ckptsurgeon.plans.account import Note
from ckptsurgeon.plans.graph import Address
from ckptsurgeon.plans.leftovers import Leftovers, find_origin
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.plans.views import SourceView

T = TypeVar("T")

NUMBER = re.compile(r"(?<![^.])(?:0|[1-9][0-9]{0,3})(?![^.])")
"""A whole piece of a key that numbers a layer."""

MOST_LAYERS = 10_000
"""Numbers that are looked for below that of a layer that is known."""

GAP = 16
"""Numbers without a layer after which a list ends: a Sequential has activations between layers."""

MOST_KEYS, MOST_ALIKE, MOST_LISTS, MOST_SUFFIXES = 100_000, 500, 200, 12
"""What is looked at of very many keys: keys in all, those alike but for integers, lists, and
suffixes in a list. Beyond this a list may go untold."""


MOST_NUMBERS = 16
"""Numbers of a key that are taken for that of a layer."""


class Slot(NamedTuple):
    """What stands in a key before and after the number of a layer."""

    before: str
    after: str


class Pair(NamedTuple):
    """A source key, and the output that it goes into."""

    origin: Address
    key: str


class Evidence(NamedTuple):
    """What goes from one list to another: of two layers, or of the only one.

    `at` tells which of the numbers in a key is the layer's.
    """

    pairs: tuple[Pair, ...]
    at: int


def list_notes(
    left: Leftovers,
    outputs: Outputs,
    sources: Mapping[str, SourceView],
    destination: SourceView | None,
) -> Iterator[Note]:
    """A note for each list of the destination that is longer or shorter than the source's.

    Lists belong together where tensors go from layers of one to layers of the other; what the
    longer one has more must be left over. Without a destination, holes are told.
    """
    if destination is None:
        yield from _hole_notes(outputs, sources)
        return
    reads = {alias: _Side(view, left.read.get(alias, ())) for alias, view in sources.items()}
    wants, told = _Side(destination, left.wanted), set[str]()
    for evidence in (*_find_wanted(left.wanted, outputs), *_find_read(reads, outputs)):
        slots, (alias, _) = _find_slots(evidence), evidence.pairs[0].origin
        if slots is not None and slots[1].before not in told:
            has, wanted = _count_both(evidence.pairs[0], slots, reads[alias], wants)
            if has != wanted:
                told.add(slots[1].before)
                text = f"{has} in {alias or 'the source'}, {wanted} in the destination"
                yield Note("layers", text, f"{slots[1].before}<i>")


def _count_both(
    pair: Pair, slots: tuple[Slot, Slot], source: _Side, destination: _Side
) -> tuple[int, int]:
    """How many layers both lists have; none where that is not for layers that are left over."""
    sides = (source, slots[0], pair.origin[1]), (destination, slots[1], pair.key)
    lists = [side.find_layers(slot, key) for side, slot, key in sides]
    counts = len(lists[0]), len(lists[1])
    if counts[0] == counts[1]:
        return counts
    longer = counts[0] < counts[1]
    side, slot, key = sides[longer]
    left = side.count_left(slot, key, lists[longer])
    return counts if left >= abs(counts[0] - counts[1]) else (0, 0)


def _hole_notes(outputs: Outputs, sources: Mapping[str, SourceView]) -> Iterator[Note]:
    """A note for each list with holes, of layers that come from a list without any.

    Of a key's numbers the first is looked at. Outputs are one where they share out a list.
    """
    keys = {address.rpartition("::")[2]: address for address in outputs}
    for before, numbers in _count_lists(keys).items():
        if max(numbers) >= MOST_LAYERS or _is_regular(sorted(numbers)):
            continue
        holes = [one for one in range(min(numbers), max(numbers)) if one not in numbers]
        if not holes:
            continue
        first = next(key for key in keys if key.startswith(before) and NUMBER.search(key))
        origin = find_origin(outputs.nodes[keys[first]])
        number = origin and NUMBER.search(origin[1])
        if origin is None or not number or origin[0] not in sources:
            continue
        front = origin[1][: number.start()]
        there = _count_lists(sources[origin[0]].specs)[front]
        if len(there) == max(there) - min(there) + 1 > 1:
            lacking = range_text(tuple(holes)).strip("<>")
            text = f"no {lacking}, and the source has all of its `{front}<i>`"
            yield Note("layers", text, f"{before}<i>")


def _count_lists(keys: Iterable[str]) -> dict[str, set[int]]:
    """The first numbers of keys, by what stands before them."""
    lists: dict[str, set[int]] = {}
    for key in keys:
        if number := NUMBER.search(key):
            lists.setdefault(key[: number.start()], set()).add(int(number[0]))
    return lists


def _is_regular(numbers: Sequence[int]) -> bool:
    """Whether numbers go by steps, as those of layers with activations between them."""
    return len({after - before for before, after in itertools.pairwise(numbers)}) == 1


# --- lists that belong together -------------------------------------------------------------------


def _find_wanted(wanted: Collection[str], outputs: Outputs) -> Iterator[Evidence]:
    """For each list of keys that no source gives: keys of its other layers, with their origins."""

    def find_pair(key: str) -> Pair | None:
        origin = find_origin(outputs.nodes.get(key))
        return None if origin is None else Pair(origin, key)

    for before, after in _find_lists(wanted).items():
        if pairs := _find_layers(before, after, find_pair):
            yield Evidence(pairs, _count_numbers(before))


def _find_read(reads: Mapping[str, _Side], outputs: Outputs) -> Iterator[Evidence]:
    """For each list of keys that go nowhere: keys of its other layers, with their outputs."""
    found: dict[Address, str] = {}
    lists: list[tuple[int, list[Address]]] = []
    for alias, side in reads.items():
        for before, after in _find_lists(side.left).items():
            keys = _find_layers(before, after, side.find_used)
            lists.append((_count_numbers(before), [(alias, key) for key in keys]))
    asked = {one for _, addresses in lists for one in addresses}
    for key, node in outputs.nodes.items() if asked else ():
        if (origin := find_origin(node)) in asked and origin is not None:
            found.setdefault(origin, key)
    for at, addresses in lists:
        if pairs := tuple(Pair(one, found[one]) for one in addresses if one in found):
            yield Evidence(pairs, at)


def _find_lists(keys: Collection[str]) -> dict[str, dict[str, None]]:
    """The lists that keys are of, by what stands before the number, with what stands behind."""
    lists: dict[str, dict[str, None]] = {}
    for key in _choose(list(itertools.islice(keys, 0, None, len(keys) // MOST_KEYS + 1))):
        for number in itertools.islice(NUMBER.finditer(key), MOST_NUMBERS):
            lists.setdefault(key[: number.start()], {})[key[number.end() :]] = None
    return dict(itertools.islice(lists.items(), MOST_LISTS))


def _choose(keys: Sequence[str]) -> Iterator[str]:
    """Some of the keys, from all over, of those that differ in integers alone."""
    for numbers in group_forms(keys).values():
        yield from (keys[at] for at in numbers[:: len(numbers) // MOST_ALIKE + 1])


def _find_layers(
    before: str, after: Iterable[str], find: Callable[[str], T | None]
) -> tuple[T, ...]:
    """What is found of two layers of a list, or of the only one, behind the first such suffix."""
    for suffix in itertools.islice(after, MOST_SUFFIXES):
        keys = (f"{before}{number}{suffix}" for number in itertools.count())
        if found := tuple(itertools.islice(_take_found(map(find, keys)), 2)):
            return found
    return ()


def _take_found(found: Iterable[T | None]) -> Iterator[T]:
    """What is found of layers by their numbers, until there is nothing for a while."""
    misses = 0
    for one in found:
        misses = misses + 1 if one is None else 0
        if misses > GAP:
            return
        if one is not None:
            yield one


def _count_numbers(text: str) -> int:
    return sum(1 for _ in NUMBER.finditer(text))


def _find_slots(evidence: Evidence) -> tuple[Slot, Slot] | None:
    """Where the number of the layer stands in a source key and in its output."""
    keys = [(pair.origin[1], pair.key) for pair in evidence.pairs]
    if len(keys) > 1:
        source, output = (_find_difference(*pair) for pair in zip(*keys, strict=True))
    elif len({_count_numbers(key) for key in keys[0]}) == 1:
        source, output = (_find_number(key, evidence.at) for key in keys[0])
    else:
        return None
    return (source, output) if source and output else None


def _find_difference(one: str, other: str) -> Slot | None:
    """The one integer in which two keys differ."""
    parts, others = (INTEGER.split(key) for key in (one, other))
    if len(parts) != len(others):
        return None
    different = [at for at, part in enumerate(parts) if part != others[at]]
    if len(different) != 1 or not different[0] % 2:
        return None
    return Slot("".join(parts[: different[0]]), "".join(parts[different[0] + 1 :]))


def _find_number(key: str, at: int) -> Slot:
    number = next(itertools.islice(NUMBER.finditer(key), at, None))
    return Slot(key[: number.start()], key[number.end() :])


# --- how many layers they have --------------------------------------------------------------------


class _Side:
    """A checkpoint with the keys of it that are left over."""

    def __init__(self, view: SourceView, left: Collection[str]) -> None:
        self.specs, self.left = view.specs, left
        self._suffixes: dict[str, list[str]] = {}

    def find_used(self, key: str) -> str | None:
        """The key, if it is there and goes somewhere."""
        return key if key in self.specs and key not in self.left else None

    def find_layers(self, slot: Slot, key: str) -> list[int]:
        """The numbers of the layers in a key's list, which have suffixes of the key's own layer."""
        after = self._find_suffixes(slot, key)
        own = int(key[len(slot.before) : len(key) - len(slot.after)])

        def find(number: int) -> int | None:
            layer = f"{slot.before}{number}"
            return number if any(layer + suffix in self.specs for suffix in after) else None

        before, behind = map(find, range(min(own, MOST_LAYERS))), map(find, itertools.count(own))
        return [*(found for found in before if found is not None), *_take_found(behind)]

    def count_left(self, slot: Slot, key: str, layers: Iterable[int]) -> int:
        """How many of these layers are left over with all their keys."""
        after = self._find_suffixes(slot, key)
        keys = ([f"{slot.before}{number}{suffix}" for suffix in after] for number in layers)
        return sum(all(k in self.left for k in layer if k in self.specs) for layer in keys)

    def _find_suffixes(self, slot: Slot, key: str) -> list[str]:
        """Suffixes of a layer's keys, found once for lists that differ in integers alone."""
        kind = without_integers(slot.before)
        if kind not in self._suffixes:
            layer = key[: len(key) - len(slot.after)]
            found = (one[len(layer) :] for one in self.specs if one.startswith(f"{layer}."))
            self._suffixes[kind] = [slot.after, *itertools.islice(found, MOST_SUFFIXES)]
        return self._suffixes[kind]
