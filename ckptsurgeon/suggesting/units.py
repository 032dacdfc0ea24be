"""Modules with all their leaves, folded over the items of lists."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ckptsurgeon.keys import prefixes_of
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.suggesting.folding import HOLE, Folded, Index
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.roles import Found, roles_of

Shape = tuple[int, ...]
Specs = Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One tensor of a module: its name there, and for each item its key and shape.

    A leaf of several tensors has all keys of each item in a row, `parts` of them, whose rows are
    `sizes`.
    """

    name: str
    keys: tuple[str, ...]
    shapes: tuple[Shape, ...]
    parts: int = 1
    sizes: tuple[tuple[int, ...], ...] = ()


UNTOLD = frozenset({"", "weight", "bias", "kernel", "embedding"})
"""Names of leaves that say nothing of their module."""


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """A module, once for each item of the lists that it is in."""

    module: str
    indices: tuple[Index, ...]
    leaves: Mapping[str, Leaf]
    fused: str = ""

    @property
    def spelled(self) -> str:
        """Its name, with the name of a lone leaf where that tells something."""
        alone = next(iter(self.leaves.values())).name if len(self.leaves) == 1 else ""
        told = alone not in UNTOLD
        return f"{self.module}.{alone}" if told else self.module

    @property
    def roles(self) -> Mapping[str, Found]:
        """What it is for."""
        return roles_of(self.spelled)

    @property
    def signature(self) -> tuple[tuple[str, Shape], ...]:
        """The shapes of its first item."""
        return tuple((kind, leaf.shapes[0]) for kind, leaf in sorted(self.leaves.items()))


def units_of(specs: Specs, folded: Mapping[str, Folded]) -> list[Unit]:
    """The units of these keys, in their order; items with other leaves are other units."""
    modules: dict[tuple[str, Index], dict[str, tuple[str, str]]] = defaultdict(dict)
    for key in specs:
        one = folded[key]
        module, leaf, kind = cut_leaf(one.form)
        at = (module, one.index)
        if kind in modules[at]:  # `w` beside `weight`: a module of its own
            at, leaf = (one.form, one.index), ""
        modules[at][kind] = (leaf, key)
    groups: dict[tuple[object, ...], list[tuple[Index, dict[str, tuple[str, str]]]]] = defaultdict(
        list
    )
    for (module, index), leaves in modules.items():
        names = tuple(sorted((kind, leaf) for kind, (leaf, _) in leaves.items()))
        groups[module, names].append((index, leaves))
    return [
        _unit(str(group[0]), sorted(items, key=lambda item: item[0]), specs)
        for group, items in groups.items()
    ]


def _unit(
    module: str,
    items: Sequence[tuple[Index, Mapping[str, tuple[str, str]]]],
    specs: Specs,
) -> Unit:
    leaves = {
        kind: Leaf(
            name,
            tuple(one[kind][1] for _, one in items),
            tuple(specs[one[kind][1]].shape for _, one in items),
        )
        for kind, (name, _) in items[0][1].items()
    }
    return Unit(module, tuple(index for index, _ in items), leaves)


def taken_at(unit: Unit, at: Sequence[int]) -> Unit:
    """The unit of some of its items, in this order."""
    if list(at) == list(range(len(unit.indices))):
        return unit
    leaves = {
        kind: Leaf(
            leaf.name,
            tuple(
                key for one in at for key in leaf.keys[one * leaf.parts : (one + 1) * leaf.parts]
            ),
            tuple(leaf.shapes[one] for one in at),
            leaf.parts,
            tuple(leaf.sizes[one] for one in at) if leaf.sizes else (),
        )
        for kind, leaf in unit.leaves.items()
    }
    return replace(unit, indices=tuple(unit.indices[one] for one in at), leaves=leaves)


@functools.lru_cache(maxsize=1 << 14)
def lists_around(module: str) -> tuple[str, ...]:
    """The lists that a folded name is in, the outermost first."""
    every = (*prefixes_of(module), module)
    return tuple(one for one in every if HOLE in one.rpartition(".")[2])


def list_of(module: str) -> str:
    """The innermost list that a folded name is in; empty where it is in none."""
    return next(reversed(lists_around(module)), "")


def holes_of(form: str) -> int:
    """How many indices a folded name has."""
    return form.count(HOLE)
