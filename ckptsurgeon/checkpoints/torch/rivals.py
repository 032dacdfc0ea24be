"""Weights that a file holds twice, as `model` and `ema`: which other set could as well be meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

from ckptsurgeon.checkpoints.base import Outside, name_outside
from ckptsurgeon.checkpoints.torch.nesting import OPTIMIZERS, Leaf

ALIKE = 0.8
"""Share of the smaller set's tensors whose keys and shapes both have."""

AROUND = 0.5
"""Share of the root's keys that stand around it as well, from which on these are a set, too."""

DEEPEST = 16
"""Pieces of a key behind which a set may begin."""

TAKEN_OFF = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before keys."""


def find_rivals(
    opened: Sequence[Leaf],
    left: Iterable[Leaf],
    root: str,
    identify: Callable[[Leaf], Hashable],
    nbytes_of: Callable[[Leaf], int],
) -> tuple[Outside, ...]:
    """The sets of tensors beside a root that hold mostly its keys, with equal shapes, other values.

    A set is all that stands under one prefix, or around the root, which is told as "". Optimizer
    state is none, nor is what shares the memory of the opened tensors.
    """
    if not root:  # all is opened
        return ()
    known = {identify(leaf) for leaf in opened}
    groups: dict[str, list[Leaf]] = {}
    for leaf in left:
        name = name_outside(leaf.key, root)
        if name.rpartition(".")[2] not in OPTIMIZERS:
            groups.setdefault(name, []).append(leaf)
    ours = _keyed(opened) if groups else ({}, {})
    around = [leaf for own in groups.values() for leaf in own if _is_ours(leaf.key, leaf, ours)]
    if len(around) < AROUND * len(opened):
        around = []
    parts = {name_outside(leaf.key, root) for leaf in around}
    found = [
        (name, [leaf for leaf in own if _is_under(leaf.key, name)])
        for group, own in groups.items()
        if group not in parts
        for name in _sets_alike(group, own, ours)
    ]
    found += [("", around)] * bool(around)
    return tuple(
        Outside(name, len(leaves), sum(map(nbytes_of, leaves)))
        for name, leaves in found
        if any(identify(leaf) not in known for leaf in leaves)
    )


Shapes = Mapping[str, Hashable]


def _keyed(leaves: Sequence[Leaf]) -> tuple[Shapes, Shapes]:
    """The shapes by key, without what wrappers add; and without the prefix of all keys."""
    shapes = {_plain(leaf.key): _shape(leaf) for leaf in leaves}
    shared = _shared_prefix(list(shapes))
    return shapes, {key.removeprefix(shared): shape for key, shape in shapes.items()}


def _shape(leaf: Leaf) -> Hashable:
    return (leaf.unreadable or leaf.value).shape


def _plain(key: str) -> str:
    for prefix in TAKEN_OFF:
        key = key.removeprefix(prefix)
    return key


def _shared_prefix(keys: Sequence[str]) -> str:
    """The pieces that all keys begin with, but for their last one."""
    first, last = min(keys, default=""), max(keys, default="")
    pairs = enumerate(zip(first, last, strict=False))
    differs = next((at for at, (one, other) in pairs if one != other), len(first))
    return first[: first.rfind(".", 0, differs) + 1]


def _sets_alike(group: str, leaves: Sequence[Leaf], ours: tuple[Shapes, Shapes]) -> list[str]:
    """The prefixes under which mostly our keys stand; the group itself where that is one alone.

    A part of a group counts only if it is most of the group, or has most of our keys.
    """
    sizes: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for leaf in leaves:
        for prefix, rest in _cuts(leaf.key):
            sizes[prefix] += 1
            shared[prefix] += _is_ours(rest, leaf, ours)

    def enough(prefix: str, count: int) -> bool:
        is_whole = sizes[prefix] >= ALIKE * len(leaves) or count >= ALIKE * len(ours[0])
        return is_whole and count >= ALIKE * min(len(ours[0]), sizes[prefix])

    found = [prefix for prefix, count in shared.items() if count and enough(prefix, count)]
    rivals = [one for one in found if not any(_is_under(one, other) for other in found)]
    best = max(rivals, key=shared.__getitem__, default="")
    if len(rivals) == 1 and enough(group, shared[best]):
        return [group]
    return rivals


def _is_ours(key: str, leaf: Leaf, ours: tuple[Shapes, Shapes]) -> bool:
    """Whether the root has a tensor of this key, and of the leaf's shape."""
    return any(own.get(key) == _shape(leaf) for own in ours)


def _cuts(key: str) -> Iterator[tuple[str, str]]:
    """A key cut behind each of its pieces, with what wrappers add taken off the second part."""
    at = key.find(".")
    for _ in range(DEEPEST):
        if at < 0:
            return
        yield key[:at], _plain(key[at + 1 :])
        at = key.find(".", at + 1)


def _is_under(key: str, prefix: str) -> bool:
    return key.startswith(f"{prefix}.")
