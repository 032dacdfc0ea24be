"""Tensors that hold what the other side has as a list: stacked experts, scanned layers.

Each is seen as the items that it holds, under names of their own, and the steps of all items are
put together again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step
from ckptsurgeon.keys import prefixes_of
from ckptsurgeon.specs import TensorSpec
from ckptsurgeon.suggesting.folding import HOLE, Index, fold, lists_of
from ckptsurgeon.suggesting.lists import own_name
from ckptsurgeon.suggesting.names import EMPTY, words_of
from ckptsurgeon.suggesting.units import Specs

DIMS = (0, 1)
"""Where items are stacked: experts in the first dim, T5X's scanned layers in the second."""

LEAST_KEYS = 3
"""Tensors of a container that are stacked alike, where no word tells of a list."""


class Item(NamedTuple):
    """What a name stands for: one item of a tensor; a guess, where they may lie in another dim."""

    key: str
    dim: int
    at: int
    of: int
    is_guess: bool


@dataclass(frozen=True, slots=True)
class Unstacked:
    """Specs of which some are items of tensors, and which these are."""

    specs: Specs
    items: Mapping[str, Item]


def unstack_both(source: Specs, target: Specs) -> tuple[Unstacked, Unstacked]:
    """Both sides, each with its tensors replaced by items where the other side has a list."""
    ours, theirs = _list_counts(source), _list_counts(target)
    return _unstack(source, ours, theirs), _unstack(target, theirs, ours)


def _unstack(own: Specs, counts: Mapping[str, int], other: Mapping[str, int]) -> Unstacked:
    known = set(counts.values())
    lists = {name: count for name, count in other.items() if count not in known}
    items: dict[str, Item] = {}
    specs = dict(own)
    for name, count in lists.items():
        words = frozenset(words_of(own_name(name))) - EMPTY
        for stack in _stacks(specs, count, words):
            dim, inner = stack.dims[0], len(stack.container)
            for key in stack.keys:
                spec = specs.pop(key)
                shape = (*spec.shape[:dim], *spec.shape[dim + 1 :])
                for at in range(count):
                    item = f"{stack.container}.{at}{key[inner:]}".lstrip(".")
                    specs[item] = TensorSpec(spec.dtype, shape)
                    items[item] = Item(key, dim, at, count, len(stack.dims) > 1)
    return Unstacked(specs, items)


def _list_counts(specs: Specs) -> dict[str, int]:
    """The items of each list, where they are as many wherever it stands, and numbered from 0."""
    found: dict[str, int] = {}
    for name, indices in lists_of(fold(specs).values()).items():
        holes = name.rpartition(".")[2].count(HOLE)
        inner: dict[Index, list[int]] = defaultdict(list)
        for index in indices:
            inner[index[:-1]].append(index[-1])
        sizes = {len(some) for some in inner.values()}
        counted = all(sorted(some) == list(range(len(some))) for some in inner.values())
        if len(sizes) == 1 and counted and holes == 1:
            found[name] = sizes.pop()
    return found


class _Stack(NamedTuple):
    """A container, its tensors, and the dims in which all of these have as many items."""

    container: str
    keys: Sequence[str]
    dims: Sequence[int]


def _stacks(specs: Specs, count: int, words: frozenset[str]) -> list[_Stack]:
    """The prefixes of which all tensors have that many items in one dim.

    These are containers that are called as the list is; else the outermost that hold no lists.
    """
    below: dict[str, list[str]] = defaultdict(list)
    for key in specs:
        for prefix in prefixes_of(key):
            below[prefix].append(key)
    called = {
        one: keys
        for one, keys in below.items()
        if not words.isdisjoint(words_of(one.rpartition(".")[2]))
    }
    large = {
        one: keys
        for one, keys in below.items()
        if len(keys) >= LEAST_KEYS and not any(_DIGIT.search(key[len(one) :]) for key in keys)
    }
    found = list(_outermost(called, specs, count))
    return found or list(_outermost(large, specs, count))


_DIGIT = re.compile(r"\.[0-9]+\.")


def _outermost(below: Mapping[str, Sequence[str]], specs: Specs, count: int) -> Iterator[_Stack]:
    taken: set[str] = set()
    for container in sorted(below, key=lambda one: one.count(".")):
        keys = below[container]
        dims = _common_dims([specs[key].shape for key in keys], count)
        if dims and taken.isdisjoint(keys):
            taken.update(keys)
            yield _Stack(container, keys, dims)


def _common_dims(shapes: Sequence[tuple[int, ...]], count: int) -> list[int]:
    return [
        dim
        for dim in DIMS
        if all(len(shape) > max(1, dim) and shape[dim] == count for shape in shapes)
    ]


# --- put together ---------------------------------------------------------------------------------


def restack(
    steps: Sequence[Step], source: Unstacked, target: Unstacked
) -> tuple[list[Step], dict[str, str]]:
    """The steps of all items of a tensor as one, and what is left because items are lacking."""
    plain: list[Step] = []
    groups: dict[object, list[Step]] = defaultdict(list)
    for step in steps:
        sources = [source.items.get(key) for key in step.takes]
        targets = [target.items.get(key) for key in step.gives]
        if not any((*sources, *targets)):
            plain.append(step)
        else:
            groups[_whole(step, source), _whole(step, target, step.gives), step.calls].append(step)
    lost: dict[str, str] = {}
    for group in groups.values():
        made = _restacked(group, source, target)
        if made is None:
            told = "some items of a stacked tensor have no partner"
            names = [key for step in group for key in step.gives]
            lost |= {target.items[key].key if key in target.items else key: told for key in names}
        else:
            plain.append(made)
    return plain, lost


def _whole(step: Step, side: Unstacked, keys: Sequence[str] | None = None) -> object:
    """The tensors that a side of a step is an item of; what else it has, without its items."""
    names = step.takes if keys is None else keys
    found = tuple(side.items[key].key if key in side.items else "" for key in names)
    return found if any(found) else len(names)


def _restacked(group: Sequence[Step], source: Unstacked, target: Unstacked) -> Step | None:
    first = group[0]
    item = source.items.get(first.takes[0])
    into = target.items.get(first.gives[0])
    if (item is None) == (into is None):
        return None
    one = item or into
    assert one is not None  # as one of them is
    side, of = (source, "takes") if item is not None else (target, "gives")
    ordered = sorted(group, key=lambda step: side.items[getattr(step, of)[0]].at)
    places = [side.items[getattr(step, of)[0]].at for step in ordered]
    if places != list(range(one.of)):
        return None
    degree = max(step.degree for step in group)
    remark = next((step.remark for step in group if step.degree is degree), "")
    if one.is_guess and degree < Degree.LIKELY:
        degree, remark = Degree.LIKELY, f"{one.of} items in two dims of it: which holds the layers?"
    dim = (("dim", one.dim),) if one.dim else ()
    if item is not None:
        targets = _interleaved([step.targets for step in ordered])
        over = len(targets.sizes) - 1
        sources = Grid(tuple(source.items[key].key for key in first.takes), first.sources.sizes)
        calls = (Call("unstack", dim, over), *first.calls)
    else:
        sources = _interleaved([step.sources for step in ordered])
        targets = Grid(tuple(target.items[key].key for key in first.gives), first.targets.sizes)
        calls = (*first.calls, Call("stack", dim, len(sources.sizes) - 1))
    return replace(
        first, sources=sources, targets=targets, calls=calls, degree=degree, remark=remark
    )


def _interleaved(grids: Sequence[Grid]) -> Grid:
    """The keys of several grids, with a last dim for these."""
    keys = tuple(key for same in zip(*(grid.keys for grid in grids), strict=True) for key in same)
    return Grid(keys, (*grids[0].sizes, len(grids)))
