"""Containers that hold the same under two names: a network and its twin, or two towers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ckptsurgeon.drafting.steps import Step
from ckptsurgeon.keys import without_integers
from ckptsurgeon.suggesting.units import Specs

DEEPEST = 3
"""Pieces of the name of a tower."""

LEAST_HELD, SHARE = 3, 0.6
"""Tensors in a tower, and the share of them that two towers have in common."""

MODULES = 3
"""Modules in a network: what holds fewer may be a layer with its norm."""

MOST_CONTAINERS = 60
"""Containers of one depth that are compared with each other: towers are few."""


Held = Mapping[tuple[str, object], str]
"""The keys of a container by what is behind its name, and by shape."""


def doubt_towers(steps: Sequence[Step], source: Specs, target: Specs) -> Iterator[Step]:
    """The steps, those likely at most whose side has more towers that hold the same."""
    ours, theirs = count_towers(source), count_towers(target)
    for step in steps:
        counts = (
            {ours.get(key, ALONE) for key in step.takes},
            {theirs.get(key, ALONE) for key in step.gives},
        )
        if counts[0] == counts[1] or step.takes == step.gives:
            yield step
        else:
            yield step.doubted("several hold these, and not as many on the other side")


def count_towers(specs: Specs) -> dict[str, tuple[int, int]]:
    """How many towers hold each key that is in one, and how many of them are networks."""
    found: dict[str, tuple[int, int]] = {}
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
            whole = count if count and _is_network(inside) else 0
            for key in inside.values() if count else ():
                some, networks = found.get(key, ALONE)
                found[key] = (max(some, 1 + count), max(networks, 1 + whole))
    return found


ALONE = (1, 1)
"""The counts of a key that is in no tower, or in one that has no like."""


def _is_network(inside: Held) -> bool:
    return len({rest.rpartition(".")[0] for rest, _ in inside}) >= MODULES


def _cut(key: str, depth: int) -> tuple[str, str]:
    pieces = key.split(".", depth)
    return ".".join(pieces[:depth]), pieces[depth] if len(pieces) > depth else ""


def _are_towers(one: str, mine: Held, other: str, theirs: Held) -> bool:
    """Whether two containers hold mostly the same, and aren't items of one list."""
    if without_integers(one) == without_integers(other):
        return False
    return len(mine.keys() & theirs.keys()) >= SHARE * max(len(mine), len(theirs))
