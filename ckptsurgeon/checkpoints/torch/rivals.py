"""Weights that a file holds twice, as `model` and `ema`: which other set could as well be meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping

from ckptsurgeon.checkpoints.base import Outside, name_outside
from ckptsurgeon.checkpoints.torch.nesting import OPTIMIZERS, Leaf

ALIKE = 0.8
"""Share of the smaller set's tensors whose keys and shapes both have."""


def find_rivals(
    opened: Iterable[Leaf],
    left: Iterable[Leaf],
    root: str,
    view_of: Callable[[Leaf], Hashable],
    nbytes_of: Callable[[Leaf], int],
) -> tuple[Outside, ...]:
    """The containers beside a root that hold mostly its keys, with equal shapes and other values.

    `module.w` and `w` are one key where most of a set begin with `module.`. Optimizer state is no
    rival, and what shares the memory of the opened tensors is none.
    """
    known = {view_of(leaf) for leaf in opened}
    groups: dict[str, list[Leaf]] = {}
    for leaf in left:
        name = name_outside(leaf.key, root)
        if name.rpartition(".")[2] not in OPTIMIZERS and view_of(leaf) not in known:
            groups.setdefault(name, []).append(leaf)
    if not groups:
        return ()
    ours = _shapes(opened)
    return tuple(
        Outside(name, len(leaves), sum(map(nbytes_of, leaves)))
        for name, leaves in groups.items()
        if name != leaves[0].key and _are_alike(ours, _shapes(leaves))
    )


Shapes = Mapping[str, Hashable]


def _shapes(leaves: Iterable[Leaf]) -> Shapes:
    """The shapes by key, without the prefixes that most keys begin with."""
    shapes = {leaf.key: (leaf.unreadable or leaf.value).shape for leaf in leaves}
    prefix = _common_prefix(shapes)
    return {key.removeprefix(prefix): shape for key, shape in shapes.items()}


def _common_prefix(keys: Iterable[str]) -> str:
    """The longest prefix of whole pieces that over half of the keys begin with."""
    prefix, waiting = "", [key.split(".") for key in keys]
    most, depth = len(waiting) // 2 + 1, 0
    while True:
        firsts = Counter(pieces[depth] for pieces in waiting if len(pieces) > depth + 1)
        piece, count = max(firsts.items(), key=lambda one: one[1], default=("", 0))
        if count < most:
            return prefix
        waiting = [one for one in waiting if len(one) > depth + 1 and one[depth] == piece]
        prefix, depth = f"{prefix}{piece}.", depth + 1


def _are_alike(ours: Shapes, theirs: Shapes) -> bool:
    shared = sum(ours.get(key) == shape for key, shape in theirs.items())
    return shared >= ALIKE * min(len(ours), len(theirs))
