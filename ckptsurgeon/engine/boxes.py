"""Computed tensors that are made box by box, where there is no room for them as a whole.

That can be done where each op on the way makes a box of its result of boxes of its inputs, of which
at most one is computed itself, in the result's shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckptsurgeon.engine.blocks import BlockMover
from ckptsurgeon.engine.evaluation import run_op
from ckptsurgeon.errors import CastOverflow
from ckptsurgeon.ops.indexing import Region, as_slices
from ckptsurgeon.ops.mosaic import Mosaic
from ckptsurgeon.ops.regions import first_item, grained_boxes, stretches, within
from ckptsurgeon.plans.graph import Node, Result
from ckptsurgeon.plans.lowering import Lowering
from ckptsurgeon.specs import BITS, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_ITEMS = 1 << 20
"""Items of a box: more make it no faster."""

ITEM_BYTES = 64
"""Memory that an item of a box takes at most, with all that is there beside it."""

MOST_TILES = 256
"""Most tiles of an input: any part of such a mosaic is one again."""


@dataclass(frozen=True, slots=True)
class Link:
    """A result and the mosaics of its call's inputs, None for the one that is computed."""

    result: Result
    inputs: tuple[Mosaic | None, ...]


@dataclass(frozen=True, slots=True)
class Boxed:
    """A tensor that is made box by box: the ops on the way, the first one first.

    `grain` has the sizes of which those of all boxes but the last on a dim are multiples.
    """

    spec: TensorSpec
    links: tuple[Link, ...]
    grain: tuple[int, ...]

    @property
    def mosaics(self) -> Iterator[Mosaic]:
        """What is read."""
        return (one for link in self.links for one in link.inputs if one is not None)

    @property
    def ratio(self) -> int:
        """How many items are read for one that is made: a scale is that of a whole block."""
        inputs = (node.spec.count for link in self.links for node in link.result.call.inputs)
        return -(-max(self.spec.count, *inputs) // max(self.spec.count, 1))

    @property
    def least(self) -> int:
        """The memory that the smallest box takes."""
        return math.prod(map(min, self.grain, self.spec.shape)) * self.ratio * ITEM_BYTES

    def blocks(self, mover: BlockMover, memory: int) -> Iterator[tuple[int, Array]]:
        """Offset in bytes and uint8 bytes of each part of the tensor.

        Raises CastOverflow, and ShapeError of ops.
        """
        itemsize = BITS[self.spec.dtype] // 8
        items = max(1, min(MOST_ITEMS, memory // ITEM_BYTES) // self.ratio)
        for box in grained_boxes(self.spec.shape, self.grain, items):
            made = self._made(mover, box)
            for part in stretches(box, self.spec.shape):
                first = first_item(part, self.spec.shape)
                own = made[as_slices(within(part, box))]
                yield first * itemsize, own.reshape(-1).view("u1")

    def _made(self, mover: BlockMover, box: Region) -> Array:
        """The box of the tensor."""
        made: Array | None = None
        for link in self.links:
            call, number = link.result.call, link.result.number
            specs = tuple(node.spec for node in call.inputs)
            op, regions = call.op.part(number, box, specs)
            own = tuple(map(_part_of, specs, regions))
            arrays = (
                _gathered(mover, mosaic.within(region), spec) if mosaic is not None else made
                for mosaic, region, spec in zip(link.inputs, regions, own, strict=True)
            )
            try:
                made = run_op(op, tuple(one for one in arrays if one is not None), own)[number]
            except CastOverflow as error:  # further boxes may have more
                raise CastOverflow(f"at least {error}", error.help) from None
        if made is None:
            raise TypeError("nothing is computed")
        return made


def boxed(node: Node, lowering: Lowering, memory: int) -> Boxed | None:
    """How a computed tensor is made box by box; None where that can't be in so much memory."""
    spec, links, grain = node.spec, list[Link](), (1,) * len(node.spec.shape)
    waiting: Node | None = node
    while waiting is not None:
        if not isinstance(waiting, Result) or waiting.spec.shape != spec.shape:
            return None
        call = waiting.call
        own = call.op.grain(waiting.number, tuple(one.spec for one in call.inputs))
        inputs = tuple(map(lowering.mosaic, call.inputs))
        computed = [one for one, found in zip(call.inputs, inputs, strict=True) if found is None]
        tiles = max((len(found.tiles) for found in inputs if found), default=0)
        if own is None or len(computed) > 1 or tiles > MOST_TILES:
            return None
        links.append(Link(waiting, inputs))
        grain = tuple(map(math.lcm, grain, own))
        waiting = computed[0] if computed else None
    found = Boxed(spec, tuple(reversed(links)), grain)
    return found if found.least <= memory else None


def _part_of(spec: TensorSpec, region: Region) -> TensorSpec:
    return TensorSpec(spec.dtype, tuple(map(len, region)))


def _gathered(mover: BlockMover, mosaic: Mosaic, spec: TensorSpec) -> Array:
    """A part of an input, read into memory."""
    import numpy as np

    data = np.empty(spec.nbytes, np.uint8)
    for offset, block in mover.blocks(mosaic, spec):
        data[offset : offset + block.nbytes] = block
    return data.view(str(spec.carrier)).reshape(spec.shape)
