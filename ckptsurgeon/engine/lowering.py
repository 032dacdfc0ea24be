"""Nodes of a plan told as mosaics of checkpoint tensors, where they only move elements."""

from __future__ import annotations

from ckptsurgeon.ops.indexing import resolve_index
from ckptsurgeon.ops.mosaic import Mosaic, constant, dense
from ckptsurgeon.ops.movable import NotAMosaic
from ckptsurgeon.ops.tiles import Tile
from ckptsurgeon.plans.graph import Assembly, Leaf, Made, Node, Result, Work, in_order, work_of


class Lowering:
    """Mosaics whose views look at `Leaf`s; each call is traced once."""

    def __init__(self) -> None:
        self._traced: dict[int, tuple[Mosaic, ...] | None] = {}
        self._kept: list[Work] = []

    def mosaic(self, node: Node) -> Mosaic | None:
        """The node's mosaic; None where something must be computed on whole tensors."""
        for work in in_order(work_of(node), lambda work: id(work) in self._traced):
            self._traced[id(work)] = self._trace(work)
            self._kept.append(work)
        return self._found(node)

    def _found(self, node: Node) -> Mosaic | None:
        mosaics = self._traced[id(work_of(node))]
        if mosaics is None:
            return None
        return mosaics[node.number if isinstance(node, Result) else 0]

    def _trace(self, work: Work) -> tuple[Mosaic, ...] | None:
        """The mosaics of a piece of work whose inputs are traced."""
        try:
            if isinstance(work, Leaf):
                return (dense(work, work.spec),)
            if isinstance(work, Made):
                return (_made(work),)
            if isinstance(work, Assembly):
                return (self._assembled(work),)
            inputs = tuple(map(self._input, work.inputs))
            return work.op.trace(inputs, tuple(node.spec for node in work.inputs))
        except NotAMosaic:
            return None

    def _input(self, node: Node) -> Mosaic:
        mosaic = self._found(node)
        if mosaic is None:
            raise NotAMosaic
        return mosaic

    def _assembled(self, node: Assembly) -> Mosaic:
        """The parts as tiles; what they leave is the base's, where it is a box."""
        tiles: list[Tile] = []
        for part in node.parts:
            region = resolve_index(part.index, node.spec.shape)
            tiles += _placed(self._input(part.node), region)
        if node.base is not None:
            tiles += self._rest(node, node.base)
        return Mosaic(node.spec.shape, tuple(tiles))

    def _rest(self, node: Assembly, base: Node) -> tuple[Tile, ...]:
        """The base around one part that takes a stretch of one dim and all of the others."""
        if len(node.parts) != 1:
            raise NotAMosaic
        shape = node.spec.shape
        region = [_as_range(item) for item in resolve_index(node.parts[0].index, shape)]
        partial = [dim for dim, size in enumerate(shape) if len(region[dim]) != size]
        if len(partial) != 1 or region[partial[0]].step != 1:
            raise NotAMosaic
        dim = partial[0]
        whole, taken = self._input(base), region[dim]
        before = whole.part(dim, range(taken.start))
        behind = whole.part(dim, range(taken.stop, shape[dim]))
        shifted = (
            Tile((*t.start[:dim], t.start[dim] + taken.stop, *t.start[dim + 1 :]), t.view)
            for t in behind.tiles
        )
        return (*before.tiles, *shifted)


def _as_range(item: range | int) -> range:
    return range(item, item + 1) if isinstance(item, int) else item


def _placed(mosaic: Mosaic, region: tuple[range | int, ...]) -> list[Tile]:
    """The tiles of a part at their place in the whole."""
    if any(isinstance(item, range) and item.step != 1 and len(item) > 1 for item in region):
        raise NotAMosaic
    starts = [_as_range(item).start for item in region]
    widened = mosaic.reshape(tuple(len(_as_range(item)) for item in region))
    return [
        Tile(tuple(at + start for at, start in zip(tile.start, starts, strict=True)), tile.view)
        for tile in widened.tiles
    ]


def _made(node: Made) -> Mosaic:
    """Zeros are one value everywhere; other fills are made whole."""
    if node.fill != "zeros" or node.spec.carrier is None:
        raise NotAMosaic
    return constant(node.spec.shape, node.spec.dtype, 0)
