"""The bytes of a plan's nodes, read without writing them: whole, in part, or as a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.engine.blocks import BLOCK, Buffer
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.engine.mover import MEMORY, Workers
from ckptsurgeon.engine.sequential import flat
from ckptsurgeon.ops.indexing import Region
from ckptsurgeon.ops.mosaic import Mosaic
from ckptsurgeon.plans.graph import Leaf, Node
from ckptsurgeon.plans.lowering import Lowering
from ckptsurgeon.specs import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class NodeReader:
    """Reads nodes from checkpoints by alias, in blocks where they only move elements.

    A context manager, which closes the files that it opens. Not for several threads at once.
    """

    def __init__(self, checkpoints: Mapping[str, Checkpoint], memory: int | None = None) -> None:
        self._checkpoints = checkpoints
        self._workers = Workers(checkpoints, memory or MEMORY)
        self._lowering = Lowering(self._workers.stride)
        self._buffer = Buffer()

    def __enter__(self) -> NodeReader:
        self._workers.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._workers.__exit__(kind, error, trace)

    def digest(self, node: Node) -> bytes:
        """A digest of the node's bytes."""
        digest = hashlib.blake2b()
        for block in self.blocks(node):
            digest.update(block.data)
        return digest.digest()

    def blocks(self, node: Node) -> Iterator[Array]:
        """The bytes of the node in order; each block is good until the next one."""
        if not node.spec.nbytes:
            return
        if isinstance(node, Leaf) and (extent := self._workers.extent(node)) is not None:
            yield from extent.check(self._stored(node), node.name)
        elif (mosaic := self._mosaic(node)) is not None:
            for source in {tile.view.source for tile in mosaic.tiles}:
                if isinstance(source, Leaf):
                    self._workers.check(source)
            yield from (block for _, block in self._workers.own.blocks(mosaic, node.spec))
        else:
            yield flat(Evaluator(self._checkpoints, [node]).array(node))

    def _stored(self, leaf: Leaf) -> Iterator[Array]:
        """The bytes of a tensor as they lie in a file."""
        for start in range(0, leaf.spec.nbytes, BLOCK):
            block = self._buffer.of(min(BLOCK, leaf.spec.nbytes - start))
            self._workers.read(leaf, (start,), len(block), block)
            yield block

    def part(self, node: Node, region: Region) -> Array | None:
        """The bytes of a region of the node, in row order; None where it is computed whole."""
        import numpy as np

        mosaic = self._mosaic(node)
        if mosaic is None:
            return None
        spec = TensorSpec(node.spec.dtype, tuple(map(len, region)))
        blocks = self._workers.own.blocks(mosaic.within(region), spec)
        return np.concatenate([block.copy() for _, block in blocks])

    def _mosaic(self, node: Node) -> Mosaic | None:
        return self._lowering.mosaic(node) if node.spec.carrier else None
