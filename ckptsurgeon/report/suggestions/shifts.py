"""Lists of equal names that are counted from elsewhere: `blocks.1` to `.12`, `blocks.0` to `.11`.

Without rules all items but one are copied under their names, each to a wrong place. To move only
the one that is left over would make the account clean, and every item wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ckptsurgeon.language.patterns import write_literal
from ckptsurgeon.report.suggestions.model import Degree, Keys, Specs, Suggestion
from ckptsurgeon.report.suggestions.writing import alias_prefix, arrow, quoted, sayable

MOST_LISTS = 8
"""Lists that are looked at; each costs a pass over the keys."""

DEEPEST = 16
"""Pieces of a key that are looked at."""

LONGEST = 9
"""Digits of an item's number."""

Item = tuple[int, str]
"""The number of an item, and what stands behind it."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A list whose items have numbers that are `by` more in the destination."""

    alias: str
    before: str
    by: int
    spare: tuple[str, ...]
    missing: tuple[str, ...]


def find_shifts(alias: str, spare: Specs, missing: Specs, keys: Keys) -> Iterator[Shift]:
    """The lists of which each key has its place in the destination, all by one shift."""
    theirs = set(_lists(missing))
    both = dict.fromkeys(before for before in _lists(spare) if before in theirs)
    for before in list(both)[:MOST_LISTS]:
        by = _shift(_items(before, keys.untaken(alias)), _items(before, keys.destination))
        if by:
            ours, lacking = (_items(before, side).values() for side in (spare, missing))
            yield Shift(alias, before, by, tuple(ours), tuple(lacking))


def _lists(keys: Iterable[str]) -> Iterator[str]:
    """What stands before each number of an item: `blocks.` of `blocks.12.mlp.weight`."""
    for key in keys:
        pieces = key.split(".", DEEPEST)
        for at, piece in enumerate(pieces[:-1]):
            if at and _is_number(piece):
                yield ".".join([*pieces[:at], ""])


def _is_number(piece: str) -> bool:
    plain = piece.isdecimal() and piece.isascii() and len(piece) <= LONGEST
    return plain and str(int(piece)) == piece


def _items(before: str, keys: Iterable[str]) -> dict[Item, str]:
    """The keys of a list by their items."""
    items: dict[Item, str] = {}
    for key in keys:
        number, dot, rest = key[len(before) :].partition(".")
        if key.startswith(before) and dot and _is_number(number):
            items[int(number), rest] = key
    return items


def _shift(ours: dict[Item, str], theirs: dict[Item, str]) -> int:
    """By how much all items of the one are moved in the other; 0 where they aren't."""
    if len(ours) != len(theirs) or not all(map(sayable, ours.values())):
        return 0
    by = min(theirs)[0] - min(ours)[0] if ours else 0
    return by if all((number + by, rest) in theirs for number, rest in ours) else 0


def shift_suggestion(shift: Shift) -> Suggestion:
    """The arrow that moves all items."""
    name, before = alias_prefix(shift.alias), write_literal(shift.before)
    line = arrow(f"{name}{before}<i>.**", f"{before}<i{shift.by:+d}>.**")
    sentence = (
        f"items of {quoted(shift.before)} are counted from elsewhere:"
        f" as equal names they are the wrong ones, move all by {shift.by:+d}"
    )
    return Suggestion(sentence, line, Degree.LIKELY)
