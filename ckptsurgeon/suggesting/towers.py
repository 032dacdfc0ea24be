"""Containers that hold the same under two names: a network and its twin, or two towers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ckptsurgeon.keys import without_integers
from ckptsurgeon.suggesting.units import Specs

DEEPEST = 3
"""Pieces of the name of a tower."""

LEAST_HELD, SHARE = 3, 0.6
"""Tensors in a tower, and the share of them that two towers have in common."""

MOST_CONTAINERS = 60
"""Containers of one depth that are compared with each other: towers are few."""


def count_towers(specs: Specs) -> dict[str, int]:
    """How many towers hold each key, of keys that are in one."""
    found: dict[str, int] = {}
    for depth in range(1, DEEPEST + 1):
        held: dict[str, dict[tuple[str, object], str]] = defaultdict(dict)
        for key, spec in specs.items():
            prefix, rest = _cut(key, depth)
            if rest:
                held[prefix][rest, spec.shape] = key
        large = {prefix: one for prefix, one in held.items() if len(one) >= LEAST_HELD}
        if len(large) > MOST_CONTAINERS:
            continue
        for prefix, inside in large.items():
            count = sum(_are_towers(prefix, inside, *other) for other in large.items())
            if count:
                for key in inside.values():
                    found[key] = max(found.get(key, 1), 1 + count)
    return found


def _cut(key: str, depth: int) -> tuple[str, str]:
    pieces = key.split(".", depth)
    return ".".join(pieces[:depth]), pieces[depth] if len(pieces) > depth else ""


Held = Mapping[tuple[str, object], str]


def _are_towers(one: str, mine: Held, other: str, theirs: Held) -> bool:
    """Whether two containers hold mostly the same, and aren't items of one list."""
    if without_integers(one) == without_integers(other):
        return False
    return len(mine.keys() & theirs.keys()) >= SHARE * max(len(mine), len(theirs))
