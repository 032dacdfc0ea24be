"""Rules under one prefix put into a `within`, where that makes the file shorter."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.groups import Groups
from ckptsurgeon.drafting.ordering import sort_by_waits, waits_of
from ckptsurgeon.drafting.units import (
    ALIAS,
    Choice,
    Open,
    Piece,
    Star,
    Units,
    cut_pieces,
    join_pieces,
    places_of,
)

LEAST_SAVED = 24
"""Characters that a block must save to be worth its two lines."""

ROUGH_CAPTURE = 3
"""Characters of a capture, about."""


@dataclass(frozen=True, slots=True)
class Block:
    """Arrows in order, and the prefix of their sources and of their targets."""

    prefix: tuple[Units, Units]
    arrows: tuple[Arrow, ...]


Entry = Arrow | Block


def fold(arrows: Sequence[Arrow]) -> list[Entry]:
    """The arrows in an order as good as theirs, with blocks of those that share a prefix."""
    blocks, waits = _find_blocks(arrows), waits_of(arrows)
    while True:
        entries = _entries(arrows, blocks)
        ordered = _in_order(arrows, entries, waits)
        if ordered is not None:
            return ordered
        blocks = blocks[:-1]


def _find_blocks(arrows: Sequence[Arrow]) -> list[Block]:
    """Blocks that no arrow is in twice, the ones that save most first."""
    groups = Groups(arrows, _prefixes, _saved)
    blocks: list[Block] = []
    while (best := groups.pop()) is not None:
        prefix, members = best
        if _saved(prefix, len(members)) < LEAST_SAVED:
            break
        blocks.append(Block(prefix, tuple(members.values())))
        groups.replace(members)
    return blocks


def _prefixes(arrow: Arrow) -> Iterator[tuple[Units, Units]]:
    """What may stand before an arrow's patterns in a `within`."""
    if not (arrow.source and arrow.target) or arrow.has_list:
        return
    source, target = cut_pieces(arrow.source), cut_pieces(arrow.target)
    for at in range(1, len(source)):
        start = source[:at]
        if not _may_lead(start):
            return
        for to in range(1, len(target)):
            if _may_lead(target[:to], Star) and _names(target[:to]) <= _names(start):
                yield (*join_pieces(start), "."), (*join_pieces(target[:to]), ".")


def _may_lead(pieces: Sequence[Piece], *barred: type) -> bool:
    """Whether pieces may be a prefix: what is spread may stand in one, not what is gathered."""
    units = [unit for piece in pieces for unit in piece]
    return ALIAS not in units and not any(
        isinstance(unit, barred or (Open, Star)) for unit in units
    )


def _names(pieces: Sequence[Piece]) -> set[object]:
    """The captures that pieces give or use."""
    units = [unit for piece in pieces for unit in piece]
    return {*places_of(units), *(unit for unit in units if isinstance(unit, Choice))}


def _saved(prefix: tuple[Units, Units], count: int) -> int:
    """About how many characters a block of so many arrows saves."""
    return (count - 1) * sum(map(_length, prefix)) - 2 * count - 12


def _length(units: Units) -> int:
    return sum(len(unit) if isinstance(unit, str) else ROUGH_CAPTURE for unit in units)


# --- order ----------------------------------------------------------------------------------------


def _entries(arrows: Sequence[Arrow], blocks: Sequence[Block]) -> list[Entry]:
    """The arrows and blocks, each where its first arrow stands."""
    block_of = {id(arrow): block for block in blocks for arrow in block.arrows}
    entries: dict[int, Entry] = {}
    for arrow in arrows:
        entry: Entry = block_of.get(id(arrow), arrow)
        entries.setdefault(id(entry), entry)
    return list(entries.values())


def _in_order(
    arrows: Sequence[Arrow], entries: Sequence[Entry], waits: Sequence[Collection[int]]
) -> list[Entry] | None:
    """The entries in an order in which arrows have those before them that they wait for, if any."""
    entry_of: dict[int, int] = {}
    for number, entry in enumerate(entries):
        for arrow in entry.arrows if isinstance(entry, Block) else (entry,):
            entry_of[id(arrow)] = number
    between: list[set[int]] = [set() for _ in entries]
    for at, before in enumerate(waits):
        own = entry_of[id(arrows[at])]
        between[own] |= {entry_of[id(arrows[one])] for one in before} - {own}
    ordered, stuck = sort_by_waits(between)
    return None if stuck else [entries[at] for at in ordered]
