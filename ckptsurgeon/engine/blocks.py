"""Mosaics carried out in blocks: each is gathered in memory, cast where asked, and handed on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ckptsurgeon.engine.evaluation import run_op
from ckptsurgeon.engine.strided import assign
from ckptsurgeon.engine.windows import Piece, Tiling, items_of, long_axes, piece_of
from ckptsurgeon.ops.casting import Cast
from ckptsurgeon.ops.mosaic import Mosaic
from ckptsurgeon.ops.regions import boxes
from ckptsurgeon.ops.tiles import Tile, View, pieces_within
from ckptsurgeon.plans.graph import Leaf
from ckptsurgeon.specs import BITS, TensorSpec, row_strides

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BLOCK = 1 << 20
"""Bytes of a block of output: what a core's caches hold is moved fastest."""

TURNED_BLOCKS = 4
"""Blocks of a tensor that is turned are so many times as large: more rows use each line of it."""

WINDOW = 48 << 20
"""Most bytes of sources that are held at once where a tensor is turned."""

SMALL_READ = 16 << 10
"""Bytes of a read below which it is better to read for many blocks at once."""

ReadRanges = Callable[[Leaf, Iterable[int], int, "Array"], None]
"""(tensor, starts, nbytes, out): fills a uint8 array with so many bytes of a checkpoint's tensor
from each start, one range behind the other."""


class BlockMover:
    """Makes the bytes of mosaics, with no more memory than it is given.

    `read` fetches bytes of a source tensor; of some it can read on alone (`in_order`), and begins
    anew for what lies before. Its buffers serve for one tensor after the other, as
    fresh memory is slow. Not for several threads at once.
    """

    def __init__(
        self, read: ReadRanges, memory: int, in_order: Callable[[Leaf], bool] = lambda _: False
    ) -> None:
        self._read, self._in_order = read, in_order
        self._memory = max(memory, 4 * BLOCK)
        self._block, self._window, self._rows = Buffer(), Buffer(), Buffer()

    def blocks(self, mosaic: Mosaic, spec: TensorSpec) -> Iterator[tuple[int, Array]]:
        """Offset in bytes and uint8 bytes of each block of the tensor, in order.

        A block is only good until the next one. Raises CastOverflow, and ShapeError of casts.
        """
        tiling, strides = Tiling(mosaic.tiles), row_strides(spec.shape)
        window, block = self._sizes(tiling, spec)
        for part in boxes(spec.shape, window):
            held = self._held(tiling.within(part))
            for region, tiles in _cut(held, _shape(part), block):
                first = _first(part, strides) + _first(region, strides)
                yield first * BITS[spec.dtype] // 8, self._made(tiles, _shape(region), spec)

    def _sizes(self, tiling: Tiling, spec: TensorSpec) -> tuple[int, int]:
        """Items of a window, for which the sources are read at once, and of a block.

        They are the same, but where small blocks would need many short reads, as transposes do, or
        would go back in what is read in order.
        """
        itemsize = BITS[spec.dtype] // 8
        if not any(_reads_badly(tile) or self._goes_back(tile) for tile in tiling.tiles):
            return max(1, BLOCK // itemsize), max(1, BLOCK // itemsize)
        block = max(1, min(TURNED_BLOCKS * BLOCK, self._memory // 8) // itemsize)
        window, room = spec.count, min(WINDOW, self._memory * 5 // 8)
        while window > block and _nbytes(tiling, next(boxes(spec.shape, window))) > room:
            window //= 2
        return max(window, block), block

    def _goes_back(self, tile: Tile) -> bool:
        """Whether what is read in order would be read in another one."""
        leaf, axes = tile.view.source, long_axes(tile.view)
        if not isinstance(leaf, Leaf) or not self._in_order(leaf):
            return False
        steps = [axis.stride for axis in axes]
        return any(step < 0 for step in steps) or steps != sorted(steps, reverse=True)

    def _held(self, tiles: Iterable[Tile]) -> list[Tile]:
        """The tiles over memory that their items are read into."""
        pieces = list(map(piece_of, tiles))
        data, at, held = self._window.of(sum(piece.nbytes for piece in pieces)), 0, []
        for piece in pieces:
            held.append(self._loaded(piece, data[at : at + piece.nbytes]))
            at += piece.nbytes
        return held

    def _loaded(self, piece: Piece, data: Array) -> Tile:
        leaf = piece.tile.view.source
        if leaf is None:
            return piece.tile
        if not isinstance(leaf, Leaf):
            raise TypeError(f"{leaf!r} is no tensor of a checkpoint")
        self._read(leaf, piece.starts, piece.span * piece.itemsize, data)
        return piece.over(data)

    # --- making -----------------------------------------------------------------------------------

    def _made(self, tiles: Sequence[Tile], shape: Sequence[int], spec: TensorSpec) -> Array:
        """The bytes of the block that these tiles of memory make up."""
        view = tiles[0].view
        alone = len(tiles) == 1 and view.source is not None
        if alone and (view.casts or items_of(view).flags.c_contiguous):
            return self._cast(view).reshape(-1).view("u1")
        flat = self._block.of(math.prod(shape) * BITS[spec.dtype] // 8)
        block = flat.view(str(spec.carrier)).reshape(shape)
        for tile in tiles:
            self._fill(tile, block)
        return flat

    def _fill(self, tile: Tile, block: Array) -> None:
        from ckptsurgeon.ops.carriers import encode

        view = tile.view
        ends = zip(tile.start, view.shape, strict=True)
        box: tuple[Any, ...] = (*(slice(start, start + size) for start, size in ends), ...)
        place = block[box]
        if view.source is None:
            place[...] = cast_all(encode(view.value, view.dtype), view)
        elif view.casts:
            place[...] = self._cast(view)
        else:
            items = items_of(view)
            assign(place.reshape(items.shape), items)

    def _cast(self, view: View) -> Array:
        """The view's items after its casts, in row order."""
        return cast_all(self._in_row_order(items_of(view)).reshape(view.shape), view)

    def _in_row_order(self, items: Array) -> Array:
        """The items as they are, or a copy where they don't lie in row order."""
        if items.flags.c_contiguous:
            return items
        copy: Array = self._rows.of(items.nbytes).view(items.dtype).reshape(items.shape)
        assign(copy, items)
        return copy


class Buffer:
    """Memory that is used again and again."""

    def __init__(self) -> None:
        self._array: Array | None = None

    def of(self, nbytes: int) -> Array:
        """So many bytes of it, as uint8; what was there before is lost."""
        import numpy as np

        if self._array is None or self._array.nbytes < nbytes:
            self._array = None
            self._array = np.empty(nbytes, np.uint8)
        return self._array[:nbytes]


# --- regions --------------------------------------------------------------------------------------


def _cut(
    tiles: list[Tile], shape: tuple[int, ...], items: int
) -> Iterator[tuple[Sequence[range], list[Tile]]]:
    """Regions of about so many items of what the tiles make up, with their parts of the tiles."""
    if math.prod(shape) <= items:
        yield tuple(map(range, shape)), tiles
        return
    tiling = Tiling(tiles)
    for region in boxes(shape, items):
        yield region, list(tiling.within(region))


def _shape(region: Sequence[range]) -> tuple[int, ...]:
    return tuple(map(len, region))


def _first(region: Sequence[range], strides: Sequence[int]) -> int:
    """The number of a region's first item."""
    return sum(part.start * stride for part, stride in zip(region, strides, strict=True))


def _nbytes(tiling: Tiling, region: Sequence[range]) -> int:
    """The bytes that are read for a region."""
    return sum(piece_of(tile).nbytes for tile in tiling.within(region))


def _reads_badly(tile: Tile) -> bool:
    """Whether a block of the tile would be gathered by many short reads."""
    if tile.view.source is None:
        return False
    region = next(boxes(tile.view.shape, BLOCK * 8 // BITS[tile.view.dtype]))
    begins = zip(tile.start, region, strict=True)
    first = [range(at + part.start, at + part.stop) for at, part in begins]
    piece = piece_of(next(pieces_within(tile, first)))
    return piece.ranges > 1 and piece.span * piece.itemsize < SMALL_READ


# --- casts ----------------------------------------------------------------------------------------


def cast_all(array: Array, view: View) -> Array:
    """The items after the view's casts, in the carrier of the last; raises CastOverflow."""
    held = view.dtype
    for dtype in view.casts:
        (array,) = run_op(Cast(dtype=dtype), (array,), (TensorSpec(held, array.shape),))
        held = dtype
    return array
