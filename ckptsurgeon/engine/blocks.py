"""Mosaics carried out in blocks: each is gathered in memory, cast where asked, and handed on."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ckptsurgeon.errors import CastOverflow
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.ops.mosaic import Mosaic
from ckptsurgeon.ops.tiles import Axis, Tile, View, pieces_within, size_of
from ckptsurgeon.plans.graph import Leaf
from ckptsurgeon.specs import BITS, CARRIERS, TensorSpec, row_strides

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BLOCK = 1 << 20
"""Bytes of a block of output: what a core's caches hold is moved fastest."""

DENSITY = 2
"""A stretch of a file is read at once where at least one byte in so many is wanted."""

SMALL_READ = 16 << 10
"""Bytes of a read below which it is better to hold the whole tensor."""

COLUMNS = 64
"""Columns of a transpose that are copied at a time: five times as fast as all at once."""

ReadRanges = Callable[[Leaf, Iterable[int], int, "Array"], None]
"""(tensor, starts, nbytes, out): fills a uint8 array with so many bytes of a checkpoint's tensor
from each start, one range behind the other."""


class BlockMover:
    """Makes the bytes of mosaics, with no more memory than it is given.

    `read` fetches bytes of a source tensor. Its buffers serve for one tensor after the other, as
    fresh memory is slow. Not for several threads at once.
    """

    def __init__(self, read: ReadRanges, memory: int) -> None:
        self._read = read
        self._memory = max(memory, 4 * BLOCK)
        self._held: OrderedDict[Leaf, Array] = OrderedDict()
        self._to_hold: frozenset[Leaf] = frozenset()
        self._block, self._scratch, self._spare = Buffer(), Buffer(), Buffer()

    def blocks(self, mosaic: Mosaic, spec: TensorSpec) -> Iterator[tuple[int, Array]]:
        """Offset in bytes and uint8 bytes of each block of the tensor, in order.

        A block is only good until the next one. Raises CastOverflow, and ShapeError of casts.
        """
        itemsize, strides = BITS[spec.dtype] // 8, row_strides(spec.shape)
        nbytes = self._choose_block(mosaic, spec)
        tiles = [(*_first_dim(tile), tile) for tile in mosaic.tiles]
        for region in regions(spec.shape, max(1, nbytes // itemsize)):
            low, high = (region[0].start, region[0].stop) if region else (0, 1)
            near = (tile for start, stop, tile in tiles if start < high and low < stop)
            pieces = [piece for tile in near for piece in pieces_within(tile, region)]
            first = sum(part.start * stride for part, stride in zip(region, strides, strict=True))
            yield first * itemsize, self._made(pieces, region, spec)
        while self._held:
            self._let_go()

    def _made(self, pieces: Sequence[Tile], region: Sequence[range], spec: TensorSpec) -> Array:
        """The bytes of the block that these pieces tile."""
        view = pieces[0].view if len(pieces) == 1 else None
        if view is not None and view.casts and view.source is not None:
            return self._cast(view).reshape(-1).view("u1")
        flat = self._block.of(math.prod(map(len, region)) * BITS[spec.dtype] // 8)
        block = flat.view(str(spec.carrier)).reshape([len(part) for part in region])
        for piece in pieces:
            self._fill(piece, block)
        return flat

    def _choose_block(self, mosaic: Mosaic, spec: TensorSpec) -> int:
        """Bytes of a block; notes which source tensors are better held whole while it is made.

        Where small blocks would need many short reads, as transposes do, a tensor is held if it
        fits; else the blocks become large, so that the reads are longer.
        """
        scattered = {
            tile.view.source for tile in mosaic.tiles if _reads_badly(tile, mosaic.shape, spec)
        }
        leaves = {source for source in scattered if isinstance(source, Leaf)}
        self._to_hold = frozenset(leaf for leaf in leaves if leaf.spec.nbytes <= self._memory // 2)
        return BLOCK if len(self._to_hold) == len(leaves) else self._memory // 4

    def _fill(self, piece: Tile, block: Array) -> None:
        view = piece.view
        ends = zip(piece.start, view.shape, strict=True)
        box: tuple[Any, ...] = (*(slice(start, start + size) for start, size in ends), ...)
        place = block[box]
        if view.source is None:
            place[...] = cast_all(_one_item(view), view)
        elif view.casts:
            place[...] = self._cast(view)
        else:
            items = self._items(view)
            _assign(place.reshape(items.shape), items)

    def _cast(self, view: View) -> Array:
        return cast_all(_in_row_order(self._items(view)).reshape(view.shape), view)

    # --- reading ----------------------------------------------------------------------------------

    def _items(self, view: View) -> Array:
        """The view's items, a dim for each of its long axes; good until the next call."""
        leaf = view.source
        if not isinstance(leaf, Leaf):
            raise TypeError(f"{leaf!r} is no tensor of a checkpoint")
        axes, dtype = long_axes(view), CARRIERS[BITS[view.dtype]]
        if leaf in self._to_hold:
            return _strided(self._whole(leaf), view.offset, axes, dtype)
        itemsize = BITS[view.dtype] // 8
        far = far_axes(axes)
        outer = [axes[at] for at in far]
        low, high = reach(view.offset, [axis for at, axis in enumerate(axes) if at not in far])
        span = high - low + 1
        data = self._scratch.of(span * math.prod(axis.size for axis in outer) * itemsize)
        starts = (start * itemsize for start in positions(low, outer))
        self._read(leaf, starts, span * itemsize, data)
        return _strided(data, view.offset - low, gathered_axes(axes, far, span), dtype)

    def _whole(self, leaf: Leaf) -> Array:
        """A source tensor that is held; those longest unused go where room is needed."""
        if leaf not in self._held:
            room = self._memory // 2 - leaf.spec.nbytes
            while self._held and sum(array.nbytes for array in self._held.values()) > room:
                self._let_go()
            data = self._spare.of(leaf.spec.nbytes)
            self._read(leaf, (0,), leaf.spec.nbytes, data)
            self._held[leaf], self._spare = data, Buffer()
        self._held.move_to_end(leaf)
        return self._held[leaf]

    def _let_go(self) -> None:
        """Drops the tensor longest unused; its memory serves for the next one."""
        self._spare = Buffer(self._held.popitem(last=False)[1])


class Buffer:
    """Memory that is used again and again."""

    def __init__(self, array: Array | None = None) -> None:
        self._array = array

    def of(self, nbytes: int) -> Array:
        """So many bytes of it, as uint8; what was there before is lost."""
        import numpy as np

        if self._array is None or self._array.nbytes < nbytes:
            self._array = np.empty(nbytes, np.uint8)
        return self._array[:nbytes]


# --- regions --------------------------------------------------------------------------------------


def regions(shape: tuple[int, ...], items: int) -> Iterator[tuple[range, ...]]:
    """A tensor cut in row order into boxes of about so many items, each a stretch of the order."""
    inner, dim = 1, len(shape)
    while dim and inner * shape[dim - 1] <= items:
        dim -= 1
        inner *= shape[dim]
    if dim == 0:
        yield tuple(map(range, shape))
        return
    behind = tuple(map(range, shape[dim:]))
    rows = max(1, items // inner)
    for leading in itertools.product(*map(range, shape[: dim - 1])):
        for start in range(0, shape[dim - 1], rows):
            stop = min(start + rows, shape[dim - 1])
            yield (*(range(at, at + 1) for at in leading), range(start, stop), *behind)


def _first_dim(tile: Tile) -> tuple[int, int]:
    """Where a tile begins and ends on the first dim; a scalar is one row."""
    if not tile.start:
        return 0, 1
    return tile.start[0], tile.start[0] + size_of(tile.view.dims[0])


def long_axes(view: View) -> tuple[Axis, ...]:
    """The axes of a view, in order, but for those of one item."""
    return tuple(axis for dim in view.dims for axis in dim if axis.size > 1)


def reach(offset: int, axes: Sequence[Axis]) -> tuple[int, int]:
    """The lowest and the highest item that the axes come to."""
    ends = [(axis.size - 1) * axis.stride for axis in axes]
    return offset + sum(min(0, end) for end in ends), offset + sum(max(0, end) for end in ends)


def is_dense(axes: Sequence[Axis]) -> bool:
    """Whether at least one item in DENSITY of what the axes span is wanted."""
    low, high = reach(0, axes)
    distinct = math.prod(axis.size for axis in axes if axis.stride)
    return high - low + 1 <= DENSITY * distinct


def far_axes(axes: Sequence[Axis]) -> list[int]:
    """The numbers of the axes, widest first, without which the others are dense."""
    far = sorted(range(len(axes)), key=lambda at: -abs(axes[at].stride))
    near = [axes[at] for at in far]
    while not is_dense(near):
        del near[0]
    return far[: len(axes) - len(near)]


def positions(first: int, axes: Sequence[Axis]) -> Iterator[int]:
    """Every position that the axes come to from the first one, in row order."""
    if not axes:
        yield first
        return
    for at in range(axes[0].size):
        yield from positions(first + at * axes[0].stride, axes[1:])


def gathered_axes(axes: Sequence[Axis], far: Sequence[int], span: int) -> list[Axis]:
    """The axes over ranges of `span` items, one for each position of the far ones."""
    gathered = list(axes)
    for at in reversed(far):
        gathered[at] = Axis(axes[at].size, span)
        span *= axes[at].size
    return gathered


def _strided(data: Array, first: int, axes: Sequence[Axis], dtype: str) -> Array:
    """The items of `data`, in a carrier dtype, that the axes come to from the first one."""
    import numpy as np

    itemsize = np.dtype(dtype).itemsize
    strides = [axis.stride * itemsize for axis in axes]
    shape = [axis.size for axis in axes]
    items: Array = np.ndarray(shape, dtype, data.data, first * itemsize, strides)
    return items


def _in_row_order(items: Array) -> Array:
    """The items as they are, or a copy where they don't lie in row order."""
    import numpy as np

    if items.flags.c_contiguous:
        return items
    copy = np.empty(items.shape, items.dtype)
    _assign(copy, items)
    return copy


def _assign(out: Array, strided: Array) -> None:
    """Copies between arrays of one shape.

    Where neighbours of the result lie far apart in the source, as in a transpose, so few columns
    are copied at a time that the lines of cache they lie in serve for all rows.
    """
    steps = [abs(stride) for stride in strided.strides]
    if len(steps) < 2 or min(steps) == steps[-1]:
        out[...] = strided
        return
    for at in range(0, out.shape[-1], COLUMNS):
        out[..., at : at + COLUMNS] = strided[..., at : at + COLUMNS]


def _reads_badly(tile: Tile, shape: tuple[int, ...], spec: TensorSpec) -> bool:
    """Whether a block of the tile would be gathered by many short reads."""
    if tile.view.source is None:
        return False
    itemsize = BITS[tile.view.dtype] // 8
    region = next(regions(tile.view.shape, BLOCK // itemsize))
    begins = zip(tile.start, region, strict=True)
    first = [range(at + part.start, at + part.stop) for at, part in begins]
    axes = long_axes(next(pieces_within(tile, first)).view)
    far = far_axes(axes)
    low, high = reach(0, [axis for at, axis in enumerate(axes) if at not in far])
    return (high - low + 1) * itemsize < SMALL_READ


def cast_all(array: Array, view: View) -> Array:
    """The items after the view's casts, in the carrier of the last; raises CastOverflow."""
    arrays: tuple[Array, ...] = (array,)
    spec = TensorSpec(view.dtype, array.shape)
    for dtype in view.casts:
        op = Cast(dtype=dtype)
        results = op.apply(arrays, (spec,))
        lost = op.overflows(arrays, results, (spec,))
        if lost:
            raise CastOverflow(f"{lost} finite values overflow in {dtype}")
        arrays, spec = results, TensorSpec(dtype, spec.shape)
    return arrays[0]


def _one_item(view: View) -> Array:
    """The item that a view without source repeats."""
    import numpy as np

    carrier = np.dtype(CARRIERS[BITS[view.dtype]])
    return np.frombuffer(view.bits.to_bytes(carrier.itemsize, "little"), carrier)
