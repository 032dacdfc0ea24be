"""Patterns that are near to one that matches no key: what somebody may have meant by it.

Each reading says in what it differs, and what the target of the rule becomes with it. Nothing here
looks at keys: `searching.py` tries the readings on them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptsurgeon.language.patterns import Capture, Kind, Pattern
from ckptsurgeon.planner.stage import near_captures as captures
from ckptsurgeon.planner.stage import near_keys as keys
from ckptsurgeon.planner.stage.near import Near, Use


def near_readings(pattern: Pattern, front: str, use: Use) -> Iterator[Near]:
    """The readings that differ in one thing from a resolved pattern, the likeliest first.

    `front` is what every key begins with.
    """
    yield from frequent_readings(pattern, front)
    if use is Use.LAYER:
        yield from keys.read_tensor(pattern)
    if use is not Use.DROP:
        yield from captures.read_letters(pattern)
    missing = list(keys.read_missing(pattern))
    yield from missing
    yield from (one.then(near) for one in missing for near in captures.read_padded(one.pattern))
    yield from keys.read_prefix(pattern)
    if use is not Use.DROP and not isinstance(pattern.pieces[0], Capture):
        yield from captures.read_integers(pattern, Kind.PATH)
    yield from keys.read_separator(pattern)
    yield from keys.read_joints(pattern)
    if use is not Use.DROP:
        yield from keys.read_other_words(pattern)
    yield from keys.read_cut(pattern)
    yield from keys.read_other_front(pattern, front)
    yield from keys.read_regex(pattern)


def frequent_readings(pattern: Pattern, front: str) -> Iterator[Near]:
    """Those of the readings that are often meant two at a time."""
    yield from captures.read_placeholders(pattern)
    yield from captures.read_alternatives(pattern)
    yield from captures.read_padded(pattern)
    yield from captures.read_unpadded(pattern)
    yield from captures.read_stars(pattern)
    yield from captures.read_undotted_stars(pattern)
    yield from keys.read_front(pattern, front)
    if not isinstance(pattern.pieces[0], Capture):  # text in front would match anything
        yield from captures.read_integers(pattern, Kind.TEXT)
    yield from keys.read_modules(pattern)
