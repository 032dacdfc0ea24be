"""Tensors that lie dense in no file: read whole while there is room for them, and else in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.transfer import naming
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.plans.graph import Leaf

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Read = Callable[[int, int, "Array"], None]
"""(start, nbytes, out): fills uint8 memory with bytes of one tensor."""


class Readers:
    """What reads the tensors that are in use, of which those in memory have bounded room.

    Not for several threads at once.
    """

    def __init__(self, checkpoints: Mapping[str, Checkpoint], memory: int) -> None:
        self._checkpoints, self._memory = checkpoints, memory
        self._readers: dict[int, tuple[Leaf, Read, int]] = {}

    def of(self, leaf: Leaf) -> Read:
        """What reads a tensor; of others, those used longest ago are let go."""
        found = self._readers.pop(id(leaf), None) or self._open(leaf)
        held = sum(nbytes for _, _, nbytes in self._readers.values())
        while self._readers and held + found[2] > self._memory:
            held -= self._readers.pop(next(iter(self._readers)))[2]
        self._readers[id(leaf)] = found
        return found[1]

    def _open(self, leaf: Leaf) -> tuple[Leaf, Read, int]:
        checkpoint, nbytes = self._checkpoints[leaf.source], leaf.spec.nbytes
        if nbytes > self._memory and checkpoint.blocks(leaf.name) is not None:
            return leaf, Stream(checkpoint, leaf.name).read, 0
        whole = flat(checkpoint.read(leaf.name))

        def read(start: int, count: int, out: Array) -> None:
            out[:count] = whole[start : start + count]

        return leaf, read, nbytes


class Stream:
    """A tensor's bytes, read on from where it was; what lies before is read from the beginning."""

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        self._checkpoint, self._name = checkpoint, name
        self._begin()

    def _begin(self) -> None:
        self._blocks: Iterator[bytes] = self._checkpoint.blocks(self._name) or iter(())
        self._block, self._start = b"", 0

    def read(self, start: int, nbytes: int, out: Array) -> None:
        """Fills memory with so many bytes from a start; raises CheckpointError."""
        import numpy as np

        if start < self._start:
            self._begin()
        done = 0
        while done < nbytes:
            at = start + done - self._start
            part = self._block[at : at + nbytes - done]
            out[done : done + len(part)] = np.frombuffer(part, np.uint8)
            done += len(part)
            if done < nbytes:
                self._next()

    def _next(self) -> None:
        self._start += len(self._block)
        with naming(f"{self._checkpoint.path}: {self._name!r}"):
            block = next(self._blocks, None)
            if block is None:
                raise CheckpointError("its bytes end before the tensor does")
            self._block = block


def flat(array: Array) -> Array:
    """The array's bytes in row order."""
    import numpy as np

    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
