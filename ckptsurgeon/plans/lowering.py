"""Nodes of a plan told as mosaics of checkpoint tensors, where they only move elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ckptsurgeon.ops.indexing import Region, resolve_index
from ckptsurgeon.ops.mosaic import Mosaic, constant, strided
from ckptsurgeon.ops.movable import NotAMosaic
from ckptsurgeon.ops.regions import taken_count, uncovered
from ckptsurgeon.ops.tiles import Tile
from ckptsurgeon.plans.fills import numbers_of
from ckptsurgeon.plans.graph import Assembly, Leaf, Made, Node, Result, Work, in_order, work_of
from ckptsurgeon.specs import row_strides

FEW_PARTS = 256
"""Most parts that a base is cut up around, which takes the square of their number."""


StrideOf = Callable[[Leaf], tuple[int, ...]]
"""From one item of a tensor to the next on each dim, in items."""


def dense_strides(leaf: Leaf) -> tuple[int, ...]:
    """Those of a tensor whose items lie in row order."""
    return row_strides(leaf.spec.shape)


class Lowering:
    """Mosaics whose views look at `Leaf`s; each call is traced once.

    `stride_of` gives the strides of a checkpoint's tensor, which is dense unless it says other.
    """

    def __init__(self, stride_of: StrideOf = dense_strides) -> None:
        self._stride_of = stride_of
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
                return (strided(work, work.spec, self._stride_of(work)),)
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
        """The parts as tiles, and what they leave as tiles of the base."""
        shape = node.spec.shape
        regions = [resolve_index(part.index, shape) for part in node.parts]
        parts = [self._input(part.node) for part in node.parts]
        if node.base is not None:
            if len(parts) > FEW_PARTS:
                raise NotAMosaic
            base = self._input(node.base)
            rest = uncovered(tuple(map(range, shape)), regions)
            parts += map(base.within, rest)
            regions += rest
        if sum(map(taken_count, regions)) != node.spec.count:
            raise NotAMosaic  # what the parts leave is in too many pieces
        pairs = zip(parts, regions, strict=True)
        return Mosaic(shape, tuple(tile for pair in pairs for tile in _placed(*pair)))


def _placed(mosaic: Mosaic, region: Region) -> Iterator[Tile]:
    """The tiles of a part at their place in the whole."""
    if any(part.step != 1 and len(part) > 1 for part in region):
        raise NotAMosaic
    for tile in mosaic.reshape(tuple(map(len, region))).tiles:
        start = tuple(at + part.start for at, part in zip(tile.start, region, strict=True))
        yield Tile(start, tile.view)


def _made(node: Made) -> Mosaic:
    """One number everywhere; other fills are made whole."""
    numbers = numbers_of(node.fill)
    if len(numbers) != 1:
        raise NotAMosaic
    return constant(node.spec.shape, node.spec.dtype, *numbers)
