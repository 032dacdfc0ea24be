"""Literal integers as captures, where rules beside them have captures in their place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ckptsurgeon.drafting.arrows import Arrow
from ckptsurgeon.drafting.units import (
    Capture,
    Formula,
    Number,
    Units,
    forms_of,
    regex_of_units,
    sort_by_form,
)

Shared = Mapping[Units, tuple[Capture, frozenset[tuple[Units, int]]]]
"""By what stands before a captured integer: the capture, and where targets have it, how shifted."""


def share_captures(arrows: Sequence[Arrow]) -> list[Arrow]:
    """The arrows, each integer that siblings under the same prefix capture being captured too.

    A rule seen once, as for the only layer with a shortcut, then reads as its neighbours do. What
    is dropped stays as it is: no more may be lost than was seen.
    """
    shared: dict[Units, tuple[Capture, set[tuple[Units, int]]]] = {}
    for arrow in arrows:
        _note(arrow, shared)
    found = [_captured(arrow, shared) for arrow in arrows]
    keys = sort_by_form(key for arrow in found for key in arrow.samples)
    return [_alone(arrow, keys) for arrow in found]


def _alone(arrow: Arrow, keys: Mapping[str, Sequence[str]]) -> Arrow:
    """The arrow with a capture for each piece that is an integer on both sides.

    As the only item of a list has: where nothing else would match.
    """
    if arrow.pick is not None or arrow.has_list:
        return arrow
    place = -1
    for at, unit in enumerate(arrow.source):
        place += isinstance(unit, Number | Capture)
        if isinstance(unit, Number) and is_piece(arrow.source, at):
            to = [
                n for n, one in enumerate(arrow.target) if one == unit and is_piece(arrow.target, n)
            ]
            if len(to) == 1:
                capture = Capture(place, unit.width)
                wider = replace(
                    arrow,
                    source=(*arrow.source[:at], capture, *arrow.source[at + 1 :]),
                    target=(*arrow.target[: to[0]], capture, *arrow.target[to[0] + 1 :]),
                )
                if not _takes_others(wider, keys):
                    arrow = wider
    return arrow


def is_piece(units: Units, at: int) -> bool:
    """Whether a unit stands between two dots."""
    return at > 0 and units[at - 1] == "." and units[at + 1 : at + 2] in ((), (".",))


def _takes_others(wider: Arrow, keys: Mapping[str, Sequence[str]]) -> bool:
    pattern = re.compile(regex_of_units(wider.source))
    own = set(wider.samples)
    near = (key for form in forms_of(wider.source) for key in keys.get(form, ()))
    return any(key not in own and pattern.fullmatch(key) for key in near)


def _note(arrow: Arrow, shared: dict[Units, tuple[Capture, set[tuple[Units, int]]]]) -> None:
    """Keeps where an arrow captures an integer, and what becomes of it."""
    for at, unit in enumerate(arrow.source):
        if isinstance(unit, Capture):
            _, places = shared.setdefault(arrow.source[:at], (unit, set()))
            for to, other in enumerate(arrow.target):
                if (shift := _shift(other, unit.place)) is not None:
                    places.add((arrow.target[:to], shift))


def _shift(unit: object, place: int) -> int | None:
    """How much is added to a captured integer in a target."""
    if isinstance(unit, Capture) and unit.place == place:
        return 0
    if isinstance(unit, Formula) and unit.terms == ((place, 1),):
        return unit.offset
    return None


def _captured(
    arrow: Arrow, shared: Mapping[Units, tuple[Capture, set[tuple[Units, int]]]]
) -> Arrow:
    """The arrow with captures for its integers, from the front on, as far as siblings have them."""
    if not arrow.target or arrow.pick is not None or arrow.has_list:
        return arrow
    source, target = list(arrow.source), list(arrow.target)
    for at, unit in enumerate(source):
        known = shared.get(tuple(source[:at]))
        if not isinstance(unit, Number) or known is None:
            continue
        capture, places = known
        to = _place_in_target(target, unit, places)
        if to is None and target:
            break
        source[at] = replace(capture, width=unit.width)
        if to is not None:
            shift = next(one for before, one in places if tuple(target[:to]) == before)
            holed = Formula(((capture.place, 1),), shift) if shift else capture
            target[to] = holed
    return replace(arrow, source=tuple(source), target=tuple(target))


def _place_in_target(
    target: Sequence[object], number: Number, places: set[tuple[Units, int]]
) -> int | None:
    """Where a target has the integer just as siblings have it."""
    for before, shift in sorted(places, key=lambda one: len(one[0])):
        at = len(before)
        if at < len(target) and tuple(target[:at]) == before:
            there = target[at]
            if isinstance(there, Number) and there.value == number.value + shift:
                return at
    return None
