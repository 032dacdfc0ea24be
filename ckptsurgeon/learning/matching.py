"""What a tensor is made of, found by its signature: the tensor, its planes, or planes of items."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from ckptsurgeon.drafting.steps import Call
from ckptsurgeon.learning.locating import Run, axes_of, locate, order_of
from ckptsurgeon.learning.padding import pads_of
from ckptsurgeon.learning.permutations import name_fuse, name_order, name_take, order_between
from ckptsurgeon.learning.shaping import (
    MOST_PERMUTED,
    Shape,
    actual_dim,
    cut_shape,
    of_dim,
    orders_between,
    rearrangements,
    reorder,
    reshape,
    resize,
    with_size,
    without_dim,
)
from ckptsurgeon.learning.signatures import Signature, squeeze
from ckptsurgeon.learning.tables import MOST_ALIKE, UNIT, WHOLE, Tables, salted
from ckptsurgeon.learning.ways import Part, Way
from ckptsurgeon.learning.words import Array

Axis = tuple[int, int, int]


class Matcher:
    """Finds what tensors are made of, among sources whose signatures are of one dtype."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._shapes = tables.shapes
        self._places = {key: at for at, key in enumerate(tables.keys[: tables.whole])}

    def equals(self, signature: Signature, shape: Shape) -> list[str]:
        """The sources that hold just these values in this shape."""
        found = self._tables.by_flat.get((signature.count, signature.flat), [])
        return [self._tables.keys[at] for at in found if self._shapes[at] == shape]

    def doubles(self, key: str) -> list[str]:
        """The sources that hold the values of one in its shape, that one among them."""
        at = self._places.get(key)
        if at is None or self._tables.signatures[at].constant:
            return [key]
        one = self._tables.signatures[at]
        found = self._tables.by_flat[one.count, one.flat]
        return [self._tables.keys[n] for n in found if self._shapes[n] == self._shapes[at]]

    def scalars(self, signature: Signature) -> list[str]:
        """The sources of one element that hold just that value; empty for more elements."""
        found = self._tables.by_flat.get((1, signature.flat), []) if signature.count == 1 else []
        return [self._tables.keys[at] for at in found]

    def shared(self, signature: Signature) -> tuple[str, int] | None:
        """The source with most planes of a tensor in common, and how many: half of its at least."""
        planes = self._tables.planes
        counts: Counter[tuple[int, int]] = Counter()
        for dim, hashes in enumerate(signature.planes if not signature.constant else ()):
            starts, stops = planes.find(salted(hashes, signature.count // len(hashes)))
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                near = range(start, min(stop, start + MOST_ALIKE))
                places = (at for at in near if planes.dims[at] == dim and planes.items[at] == WHOLE)
                counts.update({(int(planes.tensors[at]), dim) for at in places})
        for (tensor, dim), count in counts.most_common():
            size = self._tables.signatures[tensor].shape[dim]
            if tensor < self._tables.whole and size > 1 and 2 * count >= size:
                return self._tables.keys[tensor], count
        return None

    def find(self, signature: Signature, shape: Shape) -> Iterator[Way]:
        """What it may be made of, the simplest first; nothing for one value throughout."""
        if signature.constant:
            return
        yield from self._reshaped(signature, shape)
        yield from self._permuted(signature, shape)
        yield from self._unstacked(signature, shape)
        yield from self._of_planes(signature, shape)
        yield from self._stacked(signature, shape)
        yield from self._stacked_joins(signature, shape)
        yield from pads_of(self._tables, signature, shape)

    # --- one whole tensor -------------------------------------------------------------------------

    def _reshaped(self, signature: Signature, shape: Shape) -> Iterator[Way]:
        for at in self._tables.by_flat.get((signature.count, signature.flat), ()):
            if self._shapes[at] != shape:
                yield Way((self._tables.keys[at],), after=reshape(self._shapes[at], shape))

    def _permuted(self, signature: Signature, shape: Shape) -> Iterator[Way]:
        for at in self._tables.by_total.get((signature.count, signature.total), ()):
            other = self._tables.signatures[at]
            if other.flat == signature.flat or len(other.shape) > MOST_PERMUTED:
                continue
            for dims in itertools.permutations(range(len(other.shape))):
                if tuple(other.shape[dim] for dim in dims) == signature.shape:
                    calls = self._in_order(at, dims, signature, shape)
                    if calls is not None:
                        yield Way((self._tables.keys[at],), after=calls)
            for call in rearrangements(self._shapes[at], shape):
                yield Way((self._tables.keys[at],), after=(call,))

    def _in_order(
        self, at: int, dims: Sequence[int], signature: Signature, shape: Shape
    ) -> tuple[Call, ...] | None:
        """The ops that bring a tensor's dims, and the items of each, into the order wanted."""
        other = self._tables.signatures[at]
        calls = reorder(self._shapes[at], dims, shape)
        for to, dim in enumerate(dims):
            order = order_between(other.planes[dim], signature.planes[to])
            if order is None:
                return None
            place = actual_dim(shape, to)
            named = name_order(order, place, len(shape)) or name_take(order, place)
            if not np.array_equal(order, np.arange(len(order))):
                if named is None:
                    return None
                calls = (*calls, *named)
        return calls

    # --- parts and joins --------------------------------------------------------------------------

    def _unstacked(self, signature: Signature, shape: Shape) -> Iterator[Way]:
        """An item of a dim of a larger tensor, or an item of an item."""
        hashes = np.array([signature.total], np.uint64)
        for planes in (self._tables.planes, self._tables.item_planes):
            first, last = planes.find(salted(hashes, signature.count))
            for place in range(int(first[0]), int(last[0])):
                tensor, item = int(planes.tensors[place]), int(planes.items[place])
                dim = int(planes.dims[place])
                if dim == UNIT:
                    continue
                index = np.array([planes.indices[place]])
                outer: tuple[Part, ...] = ()
                if item != WHOLE:
                    outer = (
                        Part(actual_dim(self._shapes[tensor], 0), np.array([item]), gone=True),
                    )
                kept = Part(actual_dim(self._shapes[tensor], dim), index)
                if cut_shape(self._shapes[tensor], (*outer, kept)) != shape:
                    kept = Part(kept.dim, index, gone=True)
                yield from self._shaped(tensor, (*outer, kept), signature, shape)

    def _shaped(
        self, tensor: int, parts: tuple[Part, ...], signature: Signature, shape: Shape
    ) -> Iterator[Way]:
        """A part of one tensor, its dims in the order that the shapes allow."""
        before = self._tables.before[tensor]
        if before and parts:
            return  # parts are taken before all ops
        own = cut_shape(self._shapes[tensor], parts)
        keys = (self._tables.keys[tensor],)
        for dims in orders_between(squeeze(own), signature.shape):
            calls = reorder(own, dims, shape)
            yield Way(keys, parts=parts, before=before, after=calls)
        for call in () if before else rearrangements(own, shape):
            yield Way(keys, parts=parts, after=(call,))

    def _of_planes(self, signature: Signature, shape: Shape) -> Iterator[Way]:
        """Planes of one source or of several, of whole tensors or of items."""
        for planes in (self._tables.planes, self._tables.item_planes):
            for dim, hashes in enumerate(signature.planes):
                size = signature.count // len(hashes)
                runs = locate(hashes, size, self._tables, planes)
                if runs is None or len({run.dim for run in runs} - {UNIT}) > 1:
                    continue
                axes = axes_of(runs)
                if len(axes) == 1:
                    yield from self._of_one(axes[0], runs, dim, signature, shape)
                elif len({tensor for tensor, *_ in axes}) == len(axes):
                    yield from self._of_several(axes, runs, dim, signature, shape)

    def _of_one(
        self, axis: Axis, runs: Sequence[Run], dim: int, signature: Signature, shape: Shape
    ) -> Iterator[Way]:
        """Some items of a dim of one tensor, or of one item of it."""
        tensor, item, source_dim = axis
        if source_dim == UNIT:
            return
        order = order_of(runs)
        part = Part(actual_dim(self._shapes[tensor], source_dim), np.unique(order))
        parts: tuple[Part, ...] = (part,)
        if item != WHOLE:
            gone = Part(actual_dim(self._shapes[tensor], 0), np.array([item]), gone=True)
            parts = (gone, part)
        elif len(part.order) == self._size(axis):
            parts = ()
        ranks = np.searchsorted(part.order, order)
        once = resize(signature, shape, dim, len(part.order))
        for found in self._shaped(tensor, parts, *once):
            calls = self._ordered(ranks, dim, shape)
            if calls is not None:
                after = (*found.after, *calls)
                yield Way(found.keys, parts=parts, before=found.before, after=after)

    def _ordered(self, order: Array, dim: int, shape: Shape) -> tuple[Call, ...] | None:
        """The op that puts items of a dim, counted without those of size 1, in an order."""
        place = actual_dim(shape, dim)
        if np.array_equal(order, np.arange(len(order))):
            return ()
        if len(set(order.tolist())) < len(order):
            return name_take(order, place)
        return name_order(order, place, len(shape)) or name_take(order, place)

    def _of_several(
        self,
        axes: Sequence[Axis],
        runs: Sequence[Run],
        dim: int,
        signature: Signature,
        shape: Shape,
    ) -> Iterator[Way]:
        """Several tensors, or the same part of each, one behind the other or mixed in an order."""
        if any(item != WHOLE for _, item, _ in axes):
            return
        span = self._common_span(axes, runs)
        if span is None:
            return
        tensors = [tensor for tensor, *_ in axes]
        whole = span == (0, None)
        sizes = [self._size(axis) if whole else int(span[1] or 0) - span[0] for axis in axes]
        offsets = [0, *itertools.accumulate(sizes)][:-1]
        starts = [offset - span[0] for offset in offsets]
        order = order_of(runs, starts)
        for actual in self._join_dims(axes):
            if len({without_dim(self._shapes[tensor], actual) for tensor in tensors}) == 1:
                join = (actual, dim)
                yield from self._joined(tensors, span, sizes, order, join, signature, shape)

    def _join_dims(self, axes: Sequence[Axis]) -> Iterator[int]:
        """The dims, counted with those of size 1, on which tensors may be joined."""
        for tensor, _, dim in axes:
            if dim != UNIT:
                yield actual_dim(self._shapes[tensor], dim)
                return
        first = self._shapes[axes[0][0]]
        yield from (dim for dim, size in enumerate(first) if size == 1)

    def _size(self, axis: Axis) -> int:
        if axis[2] == UNIT:
            return 1
        return self._tables.signatures[axis[0]].shape[axis[2]]

    def _common_span(
        self, axes: Sequence[Axis], runs: Sequence[Run]
    ) -> tuple[int, int | None] | None:
        """What is taken of each: all of it (0, None), or the same items from start to stop."""
        taken: dict[Axis, list[int]] = {axis: [] for axis in axes}
        for run in runs:
            taken[run.axis] += range(run.start, run.start + run.length)
        spans = {axis: (min(one), max(one) + 1) for axis, one in taken.items()}
        if any(len(set(one)) != len(one) for one in taken.values()):
            return None
        if any(len(taken[axis]) != stop - start for axis, (start, stop) in spans.items()):
            return None
        if all(spans[axis] == (0, self._size(axis)) for axis in axes):
            return (0, None)
        return spans[axes[0]] if len(set(spans.values())) == 1 else None

    def _joined(
        self,
        tensors: Sequence[int],
        span: tuple[int, int | None],
        sizes: Sequence[int],
        order: Array,
        join: tuple[int, int],
        signature: Signature,
        shape: Shape,
    ) -> Iterator[Way]:
        """The tensors joined on a dim (theirs, and the result's), its items then in an order."""
        actual, dim = join
        first = tensors[0]
        parts: tuple[Part, ...] = ()
        before = self._tables.before[first]
        if any(self._tables.before[one] != before for one in tensors) or (before and span[1]):
            return
        if span[1] is not None:
            parts = (Part(actual, np.arange(span[0], span[1])),)
        joined = with_size(self._shapes[first], actual, sum(sizes))
        place = len(squeeze(joined[:actual]))
        for permuted in orders_between(squeeze(joined), signature.shape):
            if permuted[dim] != place:
                continue
            joins: tuple[Call, ...] = (Call("concat", of_dim(actual), 0),)
            reordered = reorder(joined, permuted, shape)
            calls: tuple[Call, ...] | None = ()
            if not np.array_equal(order, np.arange(len(order))):
                fused = None if actual or parts else name_fuse(order, sizes)
                if fused is not None:
                    joins = (Call(fused.op, fused.parameters, 0),)
                else:
                    calls = self._ordered(order, dim, shape)
            if calls is not None:
                keys = tuple(self._tables.keys[tensor] for tensor in tensors)
                after = (*reordered, *calls)
                yield Way(keys, (len(keys),), parts, before, joins, after)

    # --- stacks -----------------------------------------------------------------------------------

    def _stacked(self, signature: Signature, shape: Shape) -> Iterator[Way]:
        """Whole tensors, each a plane of one dim."""
        for dim, hashes in enumerate(signature.planes):
            size = signature.count // max(1, len(hashes))
            if not len(hashes):
                continue
            rows = [self._tables.by_total.get((size, int(one)), []) for one in hashes]
            if all(len(row) == 1 for row in rows):
                tensors = [row[0] for row in rows]
                yield from self._stack_of(tensors, dim, signature, shape)

    def _stack_of(
        self, tensors: Sequence[int], dim: int, signature: Signature, shape: Shape
    ) -> Iterator[Way]:
        shapes = {self._shapes[tensor] for tensor in tensors}
        if len(shapes) > 1 or len(set(tensors)) < len(tensors):
            return
        one = shapes.pop()
        for permuted in orders_between(squeeze(one), without_dim(signature.shape, dim)):
            before = reorder(one, permuted, without_dim(squeeze(shape), dim))
            keys = tuple(self._tables.keys[tensor] for tensor in tensors)
            joins = (Call("stack", of_dim(dim), 0),)
            after = reshape(signature.shape, shape)
            yield Way(keys, (len(keys),), before=before, joins=joins, after=after)

    def _stacked_joins(self, signature: Signature, shape: Shape) -> Iterator[Way]:
        """Items of which each is several whole tensors one behind the other."""
        for dim, items in enumerate(signature.items, 1):
            size = signature.count // signature.shape[0] // items.shape[1]
            grid: list[list[int]] = []
            for hashes in items:
                runs = locate(hashes, size, self._tables, self._tables.planes)
                if runs is None or not all(self._is_all(run, dim - 1) for run in runs):
                    break
                grid.append([run.tensor for run in runs])
            if len(grid) < len(items) or len({len(row) for row in grid}) > 1:
                continue
            keys = tuple(self._tables.keys[tensor] for row in grid for tensor in row)
            shapes = {self._shapes[tensor] for row in grid for tensor in row}
            plain = all(1 not in one for one in shapes) and shape == signature.shape
            if len(set(keys)) == len(keys) and len(grid[0]) > 1 and plain:
                calls = (Call("stack", (), 0), Call("concat", of_dim(dim), 1))
                yield Way(keys, (len(grid), len(grid[0])), joins=calls)

    def _is_all(self, run: Run, dim: int) -> bool:
        """Whether a run is a whole tensor, on this dim of it."""
        whole = self._tables.signatures[run.tensor].shape
        return run.dim == dim and run.start == 0 and run.length == whole[dim]
