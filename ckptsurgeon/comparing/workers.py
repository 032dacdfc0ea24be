"""Work on many tensors of two halves, by several threads with readers of their own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ckptsurgeon.comparing.halves import Half
from ckptsurgeon.engine.mover import MEMORY, default_jobs
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.ops.indexing import Region

Array = np.ndarray[Any, Any]

SHORT = 64 << 10
"""Bytes that are read, and compared, in about the time that threads of Python need for a turn."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the tensors of a half by name."""

    half: Half
    nodes: NodeReader

    def blocks(self, name: str) -> Iterator[Array]:
        """The bytes of a tensor in order; each block is good until the next one."""
        return self.nodes.blocks(self.half.nodes[name])

    def part(self, name: str, region: Region) -> Array | None:
        """The bytes of a region of a tensor in row order; None where it is computed whole."""
        return self.nodes.part(self.half.nodes[name], region)


@dataclass(frozen=True, slots=True)
class Workers:
    """Threads that work on tensors of two halves within `memory` bytes; `tell` hears of each."""

    first: Half
    second: Half
    memory: int | None = None
    jobs: int | None = None

    def run(
        self,
        items: Iterable[Item],
        work: Callable[[Item, Reader, Reader], Result],
        nbytes: Callable[[Item], int] = lambda item: 0,
        tell: Callable[[Item], None] = lambda item: None,
    ) -> dict[Item, Result]:
        """What the work gives for each item, the largest first; the first error ends all of it.

        Items of few bytes each are for one thread: several would wait for each other.
        """
        waiting, done = deque(sorted(items, key=nbytes, reverse=True)), dict[Item, Result]()
        are_short = sum(map(nbytes, waiting)) < SHORT * len(waiting)
        jobs = 1 if are_short else min(self.jobs or default_jobs(), max(len(waiting), 1))
        memory = (self.memory or MEMORY) // (2 * jobs)
        one_at_a_time = threading.Lock()

        def work_on() -> None:
            with (
                NodeReader(self.first.checkpoints, memory) as first,
                NodeReader(self.second.checkpoints, memory) as second,
            ):
                readers = Reader(self.first, first), Reader(self.second, second)
                while (item := _next(waiting)) is not None:
                    result = work(item, *readers)
                    with one_at_a_time:
                        done[item] = result
                        tell(item)

        with ThreadPoolExecutor(jobs) as threads, _ended_early(waiting):
            for future in [threads.submit(_ended_early(waiting)(work_on)) for _ in range(jobs)]:
                future.result()
        return done


def _next(waiting: deque[Item]) -> Item | None:
    """The next item; None where there is none, whoever took the last."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


@contextmanager
def _ended_early(waiting: deque[Item]) -> Iterator[None]:
    """Leaves nothing to do for the other threads where one of them, or who waits, fails."""
    try:
        yield
    except BaseException:
        waiting.clear()
        raise
