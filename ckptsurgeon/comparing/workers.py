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
from ckptsurgeon.engine.mover import MEMORY, Progress, default_jobs
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.ops.indexing import Region

Array = np.ndarray[Any, Any]

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
        tell: Callable[[Item], None] = lambda item: None,
    ) -> dict[Item, Result]:
        """What the work gives for each item; the first error ends all of it."""
        waiting, done = deque(items), dict[Item, Result]()
        jobs = min(self.jobs or default_jobs(), len(waiting))
        memory = (self.memory or MEMORY) // (2 * max(jobs, 1))
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

        with ThreadPoolExecutor(max(jobs, 1)) as threads, _ended_early(waiting):
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


def tell_progress(progress: Progress | None, total: int) -> Callable[[str, int], None]:
    """What tells a progress of a key and of the bytes that were read of it."""
    done = 0

    def tell(key: str, nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress is not None:
            progress(done, total, key)

    return tell
