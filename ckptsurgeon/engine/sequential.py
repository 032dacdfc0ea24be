"""Tensors that lie dense in no file: read whole while there is room for them, and else in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Checkpoint, Span
from ckptsurgeon.checkpoints.transfer import naming
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.plans.graph import Leaf

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SpanOf = Callable[[Leaf], Span | None]
"""Where a tensor lies strided of which the stored bytes are read, and not the whole."""

Read = Callable[[int, int, "Array"], None]
"""(start, nbytes, out): fills uint8 memory with bytes of one tensor."""


class Readers:
    """What reads the tensors that are in use, of which those in memory have bounded room.

    Not for several threads at once.
    """

    def __init__(self, checkpoints: Mapping[str, Checkpoint], memory: int, span_of: SpanOf) -> None:
        self._checkpoints, self._memory, self._span_of = checkpoints, memory, span_of
        self._readers: dict[int, tuple[Leaf, Read, int]] = {}
        self._held = 0

    def of(self, leaf: Leaf) -> Read:
        """What reads a tensor; of others, those used longest ago are let go."""
        known = self._readers.pop(id(leaf), None)
        found = known or self._open(leaf)
        self._held -= 0 if known is None else known[2]
        while self._readers and self._held + found[2] > self._memory:
            self._held -= self._readers.pop(next(iter(self._readers)))[2]
        self._readers[id(leaf)] = found
        self._held += found[2]
        return found[1]

    def _open(self, leaf: Leaf) -> tuple[Leaf, Read, int]:
        checkpoint, nbytes = self._checkpoints[leaf.source], leaf.spec.nbytes
        where = f"{checkpoint.path}: {leaf.name!r}"
        if (span := self._span_of(leaf)) is not None:
            return leaf, Stream(where, span.blocks, span.nbytes).read, 0
        if nbytes > self._memory and checkpoint.blocks(leaf.name) is not None:
            stream = Stream(where, lambda: checkpoint.blocks(leaf.name) or iter(()), nbytes)
            return leaf, stream.read, 0
        whole = flat(checkpoint.read(leaf.name))

        def read(start: int, count: int, out: Array) -> None:
            out[:count] = whole[start : start + count]

        return leaf, read, nbytes


class Stream:
    """So many bytes, read on from where it was; what lies before is read from the beginning.

    `open_blocks` begins them anew, and checks behind the last that they are right; errors name
    `where` they lie.
    """

    def __init__(self, where: str, open_blocks: Callable[[], Iterator[bytes]], nbytes: int) -> None:
        self._where, self._open_blocks, self._nbytes = where, open_blocks, nbytes
        self._begin()

    def _begin(self) -> None:
        self._blocks = self._open_blocks()
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
        if start + nbytes == self._nbytes:
            with naming(self._where):
                next(self._blocks, None)

    def _next(self) -> None:
        self._start += len(self._block)
        with naming(self._where):
            block = next(self._blocks, None)
            if block is None:
                raise CheckpointError("its bytes end before the tensor does")
            self._block = block


def flat(array: Array) -> Array:
    """The array's bytes in row order."""
    import numpy as np

    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
