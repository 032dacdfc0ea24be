"""Work on many tensors of two halves, by several threads with readers of their own."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ckptsurgeon.comparing.halves import Half
from ckptsurgeon.engine.mover import MEMORY, default_jobs
from ckptsurgeon.engine.reading import NodeReader
from ckptsurgeon.engine.threads import Stopped, run_all
from ckptsurgeon.ops.indexing import Region

Array = np.ndarray[Any, Any]

SHORT = 64 << 10
"""Bytes that are read, and compared, in about the time that threads of Python need for a turn."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the tensors of a half by name, until the work is `stopped`."""

    half: Half
    nodes: NodeReader
    stopped: Stopped

    def blocks(self, name: str) -> Iterator[Array]:
        """The bytes of a tensor in order; each block is good until the next one."""
        for block in self.nodes.blocks(self.half.nodes[name]):
            if self.stopped.is_set():
                raise _Stopped
            yield block

    def part(self, name: str, region: Region) -> Array | None:
        """The bytes of a region of a tensor in row order; None where it is computed whole."""
        return self.nodes.part(self.half.nodes[name], region)


@dataclass(frozen=True, slots=True)
class Workers:
    """Threads that work on tensors of two halves within `memory` bytes."""

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
        """What the work gives for each item, the largest first; `tell` hears of each.

        Items of few bytes each are for one thread: several would wait for each other.
        """
        waiting, done = deque(sorted(items, key=nbytes, reverse=True)), dict[Item, Result]()
        are_short = sum(map(nbytes, waiting)) < SHORT * len(waiting)
        jobs = 1 if are_short else min(self.jobs or default_jobs(), max(len(waiting), 1))
        memory = (self.memory or MEMORY) // (2 * jobs)
        one_at_a_time = threading.Lock()

        def work_on(stopped: Stopped) -> None:
            with (
                contextlib.suppress(_Stopped),
                NodeReader(self.first.checkpoints, memory) as first,
                NodeReader(self.second.checkpoints, memory) as second,
            ):
                readers = (
                    Reader(self.first, first, stopped),
                    Reader(self.second, second, stopped),
                )
                while not stopped.is_set() and (item := _next(waiting)) is not None:
                    result = work(item, *readers)
                    with one_at_a_time:
                        done[item] = result
                        tell(item)

        run_all([work_on] * jobs, jobs)
        return done


def _next(waiting: deque[Item]) -> Item | None:
    """The next item; None where there is none, whoever took the last."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


class _Stopped(Exception):
    """The work was stopped, as another thread failed or the user wished."""
