"""Which elements of the sources end in outputs, and which slices, splits and takes leave out."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable, Iterator

from ckptsurgeon.checkpoints.base import DESTINATION
from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops.indexing import Region, Slice, Take
from ckptsurgeon.ops.regions import covered_count, taken_count
from ckptsurgeon.ops.tiles import View, long_axes_of
from ckptsurgeon.plans.graph import (
    Address,
    Call,
    Leaf,
    Made,
    Node,
    Result,
    inputs_of,
    walk,
    work_of,
)
from ckptsurgeon.plans.lowering import Lowering
from ckptsurgeon.plans.outputs import Outputs
from ckptsurgeon.specs import row_strides

Regions = tuple[Region, ...]


def leaves_out(node: Node) -> bool:
    """Whether something on the way to a tensor may leave out parts of what it is given."""
    if isinstance(node, Leaf | Made):
        return False
    return any(isinstance(work, Call) and _may_leave(work) for work in walk(node))


def any_left_out(outputs: Outputs) -> bool:
    """Whether that is so of any output."""
    return any(leaves_out(outputs.first(kind).node) for kind in outputs.kinds)


def _may_leave(call: Call) -> bool:
    return len(call.specs) > 1 or isinstance(call.op, Slice | Take)


class Usage:
    """What tensors use of the checkpoints' own, of which the destination's are not told.

    What is computed uses all of its inputs.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._whole: dict[Address, Leaf] = {}
        self._parts: dict[Address, tuple[Leaf, list[Regions]]] = {}
        self._lowering = Lowering()
        self._chains: dict[Hashable, Regions | None] = {}
        self._seen: set[tuple[int, int]] = set()
        for node in nodes:
            self._add(node)

    @property
    def tensors(self) -> int:
        """The tensors of which anything is used."""
        return len(self._whole.keys() | self._parts.keys())

    @property
    def nbytes(self) -> int:
        """The bytes that are used."""
        whole = sum(leaf.spec.nbytes for leaf in self._whole.values())
        return whole + sum(used for _, used in self._of_parts())

    def partly(self) -> Iterator[tuple[Leaf, int]]:
        """The tensors of which not all is used, with the number of bytes that are."""
        return ((leaf, used) for leaf, used in self._of_parts() if used < leaf.spec.nbytes)

    def _of_parts(self) -> Iterator[tuple[Leaf, int]]:
        """The tensors of which parts are used, with the bytes of these."""
        count = functools.cache(_count)
        for address, (leaf, parts) in self._parts.items():
            if address not in self._whole:
                elements = count(tuple(dict.fromkeys(parts)))
                yield leaf, leaf.spec.nbytes * elements // max(leaf.spec.count, 1)

    # --- what is used -----------------------------------------------------------------------------

    def _add(self, node: Node) -> None:
        waiting = [node]
        while waiting:
            one = waiting.pop()
            work = work_of(one)
            if isinstance(work, Leaf):
                self._take(work, None)
            elif isinstance(work, Call) and isinstance(one, Result) and _may_leave(work):
                waiting += self._add_part(one)
            elif not isinstance(work, Made) and (id(work), 0) not in self._seen:
                self._seen.add((id(work), 0))
                waiting += inputs_of(work)

    def _take(self, leaf: Leaf, regions: Regions | None) -> None:
        """Counts parts of a tensor as used, or with None all of it."""
        if leaf.source == DESTINATION:
            return
        address = leaf.source, leaf.key
        if regions is None:
            self._whole[address] = leaf
        else:
            self._parts.setdefault(address, (leaf, []))[1].append(regions)

    def _add_part(self, result: Result) -> tuple[Node, ...]:
        """Counts what a call takes of the tensors below; what it can't be told of is looked at."""
        alike, leaf = _chain(result)
        if leaf is not None:
            if alike not in self._chains:
                found = self._regions(result)
                self._chains[alike] = None if found is None else found.get(leaf, ())
            self._take(leaf, self._chains[alike])
            return ()
        seen = (id(result.call), result.number + 1)
        if seen in self._seen:
            return ()
        self._seen.add(seen)
        found = self._regions(result)
        if found is None:
            return inputs_of(result.call)
        for one, regions in found.items():
            self._take(one, regions)
        return ()

    def _regions(self, result: Result) -> dict[Leaf, Regions | None] | None:
        """What a result takes of each tensor that it is moved from; None where it is computed.

        None is said of a tensor, too, of which the parts can't be told.
        """
        mosaic = self._lowering.mosaic(result)
        if mosaic is None:
            return None
        found: dict[Leaf, list[Region]] = {}
        unknown: set[Leaf] = set()
        for tile in mosaic.tiles:
            leaf = tile.view.source
            if isinstance(leaf, Leaf):
                regions = regions_of(tile.view, leaf.spec.shape)
                found.setdefault(leaf, []).extend(regions or ())
                unknown |= {leaf} if regions is None else set()
        return {leaf: None if leaf in unknown else tuple(own) for leaf, own in found.items()}


def _chain(node: Node) -> tuple[Hashable, Leaf | None]:
    """What is equal for tensors that are made alike from one each, and that one."""
    ops: list[tuple[int, int]] = []
    while isinstance(node, Result) and len(node.call.inputs) == 1:
        ops.append((id(node.call.op), node.number))
        node = node.call.inputs[0]
    if isinstance(node, Leaf):
        return (id(node.spec), *ops), node
    return None, None


def _count(parts: tuple[Regions, ...]) -> int:
    """How many elements some parts of one tensor take together."""
    regions = [region for part in parts for region in part]
    try:
        return covered_count(regions)
    except ShapeError:  # too many that interleave
        return sum(map(taken_count, regions))


MOST_REGIONS = 4096
"""Regions into which a view is cut before it is taken for the whole tensor."""

Axes = tuple[tuple[int, int], ...]
"""Sizes and strides, the widest stride first."""


def regions_of(view: View, shape: tuple[int, ...]) -> Regions | None:
    """The elements of a dense tensor that a view looks at; None where that takes too many regions.

    A view that is no region, as rows out of every group of rows, is halved until its parts are.
    """
    axes = (axis for dim in view.dims for axis in long_axes_of(dim) if axis.stride)
    pairs = sorted(((axis.size, axis.stride) for axis in axes), key=lambda pair: -abs(pair[1]))
    waiting: list[tuple[int, Axes]] = [(view.offset, tuple(pairs))]
    found: list[Region] = []
    while waiting:
        offset, own = waiting.pop()
        region = _region(offset, own, shape)
        if region is not None:
            found.append(region)
            continue
        waiting += _halves(offset, own)
        if len(found) + len(waiting) > MOST_REGIONS:
            return None
    return tuple(found)


def _halves(offset: int, axes: Axes) -> Iterator[tuple[int, Axes]]:
    """The two halves of the widest axis that has more than one item."""
    at = max(range(len(axes)), key=lambda at: axes[at][0] > 1)
    size, stride = axes[at]
    for first, count in ((0, size // 2), (size // 2, size - size // 2)):
        yield offset + first * stride, (*axes[:at], (count, stride), *axes[at + 1 :])


def _region(offset: int, axes: Axes, shape: tuple[int, ...]) -> Region | None:
    """The region of a dense tensor that axes come to from an item; None where it is none."""
    strides, rest = row_strides(shape), offset
    first: list[int] = []
    for size, stride in zip(shape, strides, strict=True):
        at = rest // stride if size > 1 else 0
        rest -= at * stride
        first.append(at)
    steps: list[list[tuple[int, int]]] = [[] for _ in shape]
    for size, stride in axes:
        if size == 1:
            continue
        dim = _dim_of(abs(stride), shape, strides)
        if dim is None:
            return None
        steps[dim].append((size, stride // strides[dim]))
    ranges = [_range(at, own, size) for at, own, size in zip(first, steps, shape, strict=True)]
    return None if None in ranges else tuple(one for one in ranges if one is not None)


def _dim_of(stride: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> int | None:
    """The dim on which a step of so many items leads on."""
    for dim, (size, own) in enumerate(zip(shape, strides, strict=True)):
        if size > 1 and own <= stride:
            return dim if stride % own == 0 else None
    return None


def _range(first: int, steps: list[tuple[int, int]], size: int) -> range | None:
    """The positions on one dim that nested axes of a size and a step come to, widest first."""
    found = range(first, first + 1)
    for count, step in reversed(steps):
        if len(found) > 1 and abs(step) != len(found) * found.step:
            return None
        low = found.start + min(0, (count - 1) * step)
        apart = found.step if len(found) > 1 else abs(step)
        found = range(low, low + len(found) * count * apart, apart)
    inside = not found or (found[0] >= 0 and found[-1] < size)
    return found if inside else None
