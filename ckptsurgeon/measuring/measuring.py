"""The tensors of a checkpoint measured: each number is read once, by several threads."""

from __future__ import annotations

import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial, reduce
from operator import add, attrgetter
from typing import NamedTuple

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.crc import combine_all
from ckptsurgeon.checkpoints.transfer import Extent
from ckptsurgeon.engine.mover import MEMORY, Progress, count_up, default_jobs
from ckptsurgeon.engine.threads import Stopped, run_all
from ckptsurgeon.measuring.channels import count_zero_rows
from ckptsurgeon.measuring.measured import Measured, Measurements
from ckptsurgeon.measuring.meter import Meter, Stretch
from ckptsurgeon.measuring.reading import needs_whole, read_chunks
from ckptsurgeon.measuring.scratch import ROOM, Scratch
from ckptsurgeon.measuring.statistics import Statistics
from ckptsurgeon.specs import TensorSpec, UnreadableSpec, human_bytes, number_width
from ckptsurgeon.wording import argument

Limits = Mapping[str, tuple[float, ...]]
"""By key, the limits below which numbers are counted."""

PART = 32 << 20
"""Bytes of a large tensor that one thread reads before it takes up something else."""

SHORT = 512 << 10
"""Bytes of a part that takes no longer than it takes threads of Python to change places."""


@dataclass(frozen=True, slots=True)
class Job:
    """A tensor, or a part of one that lies in an extent; `at` is the place of its first number.

    `has_crc` says that the file tells a CRC-32 of the tensor.
    """

    key: str
    spec: TensorSpec
    at: int
    nbytes: int
    extent: Extent | None
    has_crc: bool = False


class Part(NamedTuple):
    """What is known of the numbers of a job, and the CRC-32 of their bytes where one is told."""

    job: Job
    stretch: Stretch
    crc: int


def measure(
    checkpoint: Checkpoint,
    keys: Iterable[str],
    *,
    limits: Limits,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Measurements:
    """What is known of the numbers of some tensors; of keys that are tied, one is read.

    `memory` bounds what is held of tensors over all threads, which hold a few MB each; what can
    only be read whole, and has no room, is left out. Raises CheckpointError for what can't be read.
    """
    wanted, limit = list(keys), memory or MEMORY
    left_out = dict(_left_out(checkpoint, wanted, limit))
    twins = _find_twins(checkpoint, [key for key in wanted if key not in left_out])
    jobs = [job for key in dict.fromkeys(twins.values()) for job in _jobs(checkpoint, key)]
    threads = max(1, min(default_jobs(), limit // ROOM))
    room = max(1, limit // threads - ROOM)
    tell = count_up(progress, sum(job.nbytes for job in jobs))
    asked = {twins[key]: own for key, own in limits.items() if key in twins}
    crew = Crew(checkpoint, asked, room, tell)
    parts_of = crew.run(jobs, threads)
    for key, parts in parts_of.items():
        _refuse_damaged(checkpoint, key, parts)
    found = {key: _put_together(parts) for key, parts in parts_of.items()}
    nothing = Measured(Statistics())
    return Measurements({key: found.get(twins[key], nothing) for key in twins}, left_out)


def _left_out(
    checkpoint: Checkpoint, keys: Iterable[str], memory: int
) -> Iterator[tuple[str, str]]:
    """The keys that have no numbers, or too many, and why."""
    for key in keys:
        spec = checkpoint.contents.specs[key]
        if isinstance(spec, UnreadableSpec):
            yield key, spec.what
        elif spec.carrier is None:
            yield key, f"{spec.dtype}: its items are smaller than a byte"
        elif spec.nbytes > memory and needs_whole(checkpoint, key):
            size = human_bytes(spec.nbytes)
            yield key, f"can only be read whole, in {size}; {argument('memory')} gives it room"


def _find_twins(checkpoint: Checkpoint, keys: Sequence[str]) -> dict[str, str]:
    """For each key the one that is read: of those that are tied, the first."""
    group_of = {key: group for group in checkpoint.contents.aliases for key in group}
    firsts: dict[tuple[str, ...], str] = {}
    return {key: firsts.setdefault(group_of.get(key, (key,)), key) for key in keys}


def _jobs(checkpoint: Checkpoint, key: str) -> Iterator[Job]:
    spec = checkpoint.contents.specs[key]
    if not spec.count:
        return
    extent = checkpoint.extent(key)
    if extent is None:
        yield Job(key, spec, 0, spec.nbytes, None)
        return
    for part in extent.cut(PART):  # which ends between items
        at = (part.offset - extent.offset) // number_width(spec.dtype)
        yield Job(key, spec, at, part.nbytes, part, has_crc=extent.crc is not None)


class Crew:
    """Threads that measure parts of tensors; `memory` is what one of them has for reading."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        limits: Limits,
        memory: int,
        tell: Callable[[int, str], None],
    ) -> None:
        self._checkpoint, self._limits, self._memory = checkpoint, limits, memory
        self._tell = tell
        self._taking, self._holding = threading.Lock(), threading.Lock()
        self._found: dict[str, list[Part]] = defaultdict(list)

    def run(self, jobs: Iterable[Job], threads: int) -> Mapping[str, Sequence[Part]]:
        """What is known of the parts, by key. The largest come first, short ones in one thread."""
        ordered = sorted(jobs, key=attrgetter("nbytes"), reverse=True)
        long = iter([job for job in ordered if job.nbytes > SHORT])
        short = (job for job in ordered if job.nbytes <= SHORT)
        run_all([partial(self._work, some) for some in (*[long] * threads, short)], threads)
        return self._found

    def _work(self, waiting: Iterator[Job], stopped: Stopped) -> None:
        scratch = Scratch()
        while not stopped.is_set():
            with self._taking:
                job = next(waiting, None)
            if job is None:
                return
            part = self._measure(job, scratch, stopped)
            with self._taking:
                self._found[job.key].append(part)
            self._tell(job.nbytes, job.key)

    def _measure(self, job: Job, scratch: Scratch, stopped: Stopped) -> Part:
        crc = 0
        count = job.nbytes // number_width(job.spec.dtype)
        meter = Meter(job.spec, job.at, count, self._limits.get(job.key, ()), scratch)
        chunks = read_chunks(self._checkpoint, job.key, job.extent, scratch, self._memory)
        with self._room(job), np.errstate(invalid="ignore"):  # a NaN may be one that signals
            for chunk in chunks:
                meter.add(chunk)
                crc = zlib.crc32(chunk.data, crc) if job.has_crc else 0
                if stopped.is_set():
                    break
        return Part(job, meter.stretch, crc)

    def _room(self, job: Job) -> AbstractContextManager[object]:
        """The right to hold a tensor that may have to be read whole, which one thread has."""
        is_large = job.extent is None and job.nbytes > self._memory
        return self._holding if is_large else nullcontext()


def _refuse_damaged(checkpoint: Checkpoint, key: str, parts: Sequence[Part]) -> None:
    """Raises CheckpointError where a tensor's bytes don't have the CRC-32 that their file tells."""
    extent = checkpoint.extent(key)
    if extent is not None and extent.crc is not None:
        told = ((part.job.at, part.job.nbytes, part.crc) for part in parts)
        extent.refuse_damaged(combine_all(told), key)


def _put_together(parts: Sequence[Part]) -> Measured:
    """What is known of a tensor by that of its parts, put together in their order."""
    ordered = sorted((part.stretch for part in parts), key=attrgetter("at"))
    return Measured(
        reduce(add, (part.statistics for part in ordered)),
        count_zero_rows(rows for part in ordered for rows in part.rows),
        tuple(map(sum, zip(*(part.below for part in ordered), strict=True))),
    )
