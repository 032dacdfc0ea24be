"""The tensors of a plan moved into a writer: by the kernel, in blocks, or computed whole.

A plan is lowered first. What is made of long stretches of files is copied by the kernel, one tensor
after the other; the rest is made by several threads under one memory budget.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptsurgeon.checkpoints.base import Checkpoint, Span
from ckptsurgeon.checkpoints.transfer import Extent, naming, read_ranges
from ckptsurgeon.checkpoints.writing.filling import Writer
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles
from ckptsurgeon.engine.blocks import BlockMover
from ckptsurgeon.engine.boxes import Boxed, boxed
from ckptsurgeon.engine.evaluation import Evaluator, located
from ckptsurgeon.engine.needs import whole_bytes
from ckptsurgeon.engine.runs import FEW_RUNS, Run, kernel_runs, short_runs
from ckptsurgeon.engine.sequential import Readers
from ckptsurgeon.engine.sharing import group_sharing, order_by_sharing
from ckptsurgeon.engine.threads import Stopped, run_all
from ckptsurgeon.ops.mosaic import Mosaic
from ckptsurgeon.plans.graph import Leaf, Node, full_key, nbytes_of
from ckptsurgeon.plans.lowering import Lowering, dense_strides
from ckptsurgeon.plans.outputs import Output
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.specs import BITS

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Progress = Callable[[int, int, str], None]
"""Called after each tensor with the bytes done, the bytes in all and its key.

From any thread, but one call at a time.
"""

MEMORY = 256 << 20
"""Bytes that a run may hold of tensors, unless told."""

MOST_JOBS = 8

SHORT_READ = 16 << 10
"""Bytes of a read that takes no longer than it takes threads of Python to change places."""


def default_jobs() -> int:
    """As many threads as there are processors, up to eight."""
    return min(os.cpu_count() or 1, MOST_JOBS)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a run did: bytes copied as they lie, and bytes that went through memory."""

    copied: int
    computed: int

    def __add__(self, other: Moved) -> Moved:
        return Moved(self.copied + other.copied, self.computed + other.computed)


class Filling(NamedTuple):
    """A plan and the writer that it goes into; the alias of the output, if it has one."""

    plan: Plan
    writer: Writer
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One output tensor: as runs of files, as a mosaic, in boxes, or else to be computed whole."""

    filling: Filling
    output: Output
    runs: list[Run] | None
    mosaic: Mosaic | None
    boxes: Boxed | None = None

    @property
    def mosaics(self) -> Iterable[Mosaic]:
        """What is read in parts."""
        if self.boxes is not None:
            return self.boxes.mosaics
        return () if self.mosaic is None else (self.mosaic,)

    @property
    def computed(self) -> bool:
        return self.runs is None and self.mosaic is None and self.boxes is None

    @property
    def copied(self) -> bool:
        """Whether the kernel moves all of it."""
        copies = self.filling.writer.copies
        return self.runs is not None and all(copies(run.extent) for run in self.runs)

    @property
    def nbytes(self) -> int:
        """The bytes that it fills, in each of its places."""
        return self.output.spec.nbytes * self.filling.writer.count_places(self.output.name)


def without_short_runs(jobs: list[Job]) -> list[Job]:
    """The jobs, of which those that have short runs are made in blocks if any other one is.

    Blocks are faster, but need NumPy, whose import takes longer than a few short copies.
    """
    short = [short_runs(job.runs or ()) for job in jobs]
    if sum(short) <= FEW_RUNS and all(job.runs is not None for job in jobs):
        return jobs
    pairs = zip(jobs, short, strict=True)
    return [replace(job, runs=None) if number else job for job, number in pairs]


def _side_by_side(computed: Sequence[Job]) -> list[Job]:
    """The jobs, those that share work next to each other."""
    return [computed[at] for at in order_by_sharing([job.output.node for job in computed])]


def count_moved(plan: Plan) -> int:
    """The bytes that a progress tells in all: tensors that are tied are moved once."""
    nodes = plan.outputs.nodes
    return sum(node.spec.nbytes for key, node in nodes.items() if key not in plan.ties)


def count_up(progress: Progress | None, total: int) -> Callable[[int, str], None]:
    """What tells a progress, from any thread, that so many bytes more are done, and the key.

    What is done again, as nobody foresaw, is no more than all.
    """
    done, one_at_a_time = 0, threading.Lock()

    def tell(nbytes: int, key: str) -> None:
        nonlocal done
        if progress is not None:
            with one_at_a_time:
                done = min(done + nbytes, total)
                progress(done, total, key)

    return tell


class Mover:
    """Moves tensors of plans from their checkpoints, by alias, into writers.

    What plans share is lowered once, and computed once by those that are moved together. `memory`
    bounds what is held of tensors over all of the `jobs` threads; a single tensor that must be
    computed whole may need more, and is then made alone.
    """

    def __init__(
        self,
        checkpoints: Mapping[str, Checkpoint],
        *,
        memory: int | None = None,
        jobs: int | None = None,
    ) -> None:
        self._checkpoints = checkpoints
        self._threads = jobs or default_jobs()
        self._computing = threading.Lock()
        self._memory = memory or MEMORY
        self._workers = Workers(checkpoints, self._memory // self._threads)
        self._lowering = Lowering(self._workers.stride)

    def groups(self, plans: Mapping[str, Plan]) -> list[list[str]]:
        """The aliases of plans, those in one group that share what is computed."""

        def computed(plan: Plan) -> Iterator[Node]:
            nodes = plan.outputs.nodes.values()
            return (one for one in nodes if not isinstance(one, Leaf) and self._mosaic(one) is None)

        return group_sharing({alias: computed(plan) for alias, plan in plans.items()})

    def move(self, *fillings: Filling, progress: Progress | None = None) -> Moved:
        """Fills the writers with every output tensor; raises FindingsError and PlanError."""
        lowered = (job for filling in fillings for job in self._lowered(filling))
        jobs = without_short_runs(list(lowered))
        copies = [job for job in jobs if job.copied]
        computed = _side_by_side([job for job in jobs if job.computed])
        in_blocks = [job for job in jobs if not job.computed and not job.copied]
        evaluator = self._evaluator(computed, in_blocks)
        tell = count_up(progress, sum(job.output.spec.nbytes for job in jobs))

        def make(some: Iterable[Job], stopped: Stopped) -> None:
            for job in some:
                if stopped.is_set():
                    return
                self._make(job, evaluator)
                tell(job.output.spec.nbytes, full_key(job.filling.alias, job.output.key))

        shared = [computed, *([job] for job in in_blocks)]
        with self._workers:
            works = [partial(make, some) for some in shared if some]
            run_all(works, self._threads, here=partial(make, copies))
        return Moved(
            sum(job.nbytes for job in jobs if job.runs is not None),
            sum(job.nbytes for job in jobs if job.runs is None),
        )

    def _evaluator(self, computed: Sequence[Job], in_blocks: Sequence[Job]) -> Evaluator:
        """What computes whole tensors, with the memory that other threads leave it."""
        share = self._memory // self._threads
        taken = (max(share, job.boxes.least if job.boxes else 0) for job in in_blocks)
        room = self._memory - sum(heapq.nlargest(self._threads - 1, taken))
        return Evaluator(self._checkpoints, (job.output.node for job in computed), room)

    # --- lowering ---------------------------------------------------------------------------------

    def _lowered(self, filling: Filling) -> Iterator[Job]:
        for key, output in filling.plan.outputs.items():
            if key in filling.plan.ties:
                continue  # filled with the tensor that it is tied to
            if isinstance(output.node, Leaf) and (extent := self._workers.extent(output.node)):
                yield Job(filling, output, [Run(extent, 0)], None)
                continue
            mosaic = self._mosaic(output.node)
            itemsize = BITS[output.spec.dtype] // 8
            runs = kernel_runs(mosaic, itemsize, self._workers.place) if mosaic else None
            boxes = self._boxed(output) if mosaic is None else None
            yield Job(filling, output, runs, mosaic, boxes)

    def _boxed(self, output: Output) -> Boxed | None:
        """How a tensor is computed for which there is no room as a whole."""
        found = boxed(output.node, self._lowering, self._memory)
        fits = found is None or whole_bytes(output.node, nbytes_of) <= self._memory
        return None if fits else found

    def _mosaic(self, node: Node) -> Mosaic | None:
        return self._lowering.mosaic(node) if node.spec.carrier else None

    # --- making -----------------------------------------------------------------------------------

    def _make(self, job: Job, evaluator: Evaluator) -> None:
        output, writer, alias = job.output, job.filling.writer, job.filling.alias
        for source in {tile.view.source for mosaic in job.mosaics for tile in mosaic.tiles}:
            if isinstance(source, Leaf):
                self._workers.check(source)
        if job.runs is not None:
            for run in job.runs:
                writer.copy(output.name, run.extent, run.offset)
        elif job.mosaic is not None:
            with located(output, alias):
                for offset, block in self._workers.own.blocks(job.mosaic, output.spec):
                    writer.write(output.name, block, offset)
        elif job.boxes is not None:
            share = self._memory // self._threads
            alone = self._computing if job.boxes.least > share else nullcontext()
            with located(output, alias), alone:
                for offset, block in job.boxes.blocks(self._workers.own, share):
                    writer.write(output.name, block, offset)
        else:
            with self._computing:
                writer.write(output.name, evaluator.output(output, alias))


class Workers:
    """A block mover for each thread, with buffers of its own; files are open for all of them.

    Tensors that lie dense in no file are read whole, if there is room. Else they are read in order,
    or, where they lie strided, as the bytes between their first item and their last.
    """

    def __init__(self, checkpoints: Mapping[str, Checkpoint], memory: int) -> None:
        self._checkpoints, self._memory = checkpoints, memory
        self._local = threading.local()
        self._files, self._short_reads = SourceFiles(), threading.Lock()
        self._checked, self._checking = set[int](), threading.Lock()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        self._files.close()
        self._local = threading.local()

    @property
    def own(self) -> BlockMover:
        """The calling thread's."""
        if not hasattr(self._local, "mover"):
            self._local.mover = BlockMover(self.read, self._memory, self._is_in_order)
            self._local.readers = Readers(self._checkpoints, self._memory, self._span)
        mover: BlockMover = self._local.mover
        return mover

    def extent(self, leaf: Leaf) -> Extent | None:
        """Where a checkpoint's tensor lies dense in a file."""
        return self._checkpoints[leaf.source].extent(leaf.name)

    def stride(self, leaf: Leaf) -> tuple[int, ...]:
        """From one item of a tensor to the next, in what is read of it."""
        span = self._span(leaf)
        return dense_strides(leaf) if span is None else span.stride

    def place(self, leaf: Leaf) -> Extent | None:
        """Where what is read of a tensor lies in a file."""
        span = self._span(leaf)
        return self.extent(leaf) if span is None else span.extent

    def check(self, leaf: Leaf) -> None:
        """Raises CheckpointError where the bytes that a tensor lies in are damaged.

        They are read once for that alone: what is read, or copied, of them later is in parts, in
        any order.
        """
        with self._checking:
            if id(leaf) in self._checked:
                return
            self._checked.add(id(leaf))
            checkpoint, span = self._checkpoints[leaf.source], self._span(leaf)
            extent = self.extent(leaf)
            if span is not None and span.has_crc:
                with naming(f"{checkpoint.path}: {leaf.name!r}"):
                    for _ in span.blocks():
                        pass
            elif extent is not None and extent.crc is not None:
                extent.verify(leaf.name)

    def _is_in_order(self, leaf: Leaf) -> bool:
        """Whether a tensor is read from its first byte on, as a deflated one without room is."""
        return leaf.spec.nbytes > self._memory and self.place(leaf) is None

    def _span(self, leaf: Leaf) -> Span | None:
        """Where a tensor lies strided, for which there is no room as a whole."""
        if leaf.spec.nbytes <= self._memory:
            return None
        return self._checkpoints[leaf.source].span(leaf.name)

    def read(self, leaf: Leaf, starts: Iterable[int], nbytes: int, out: Array) -> None:
        """Fills a uint8 array with so many of the tensor's bytes from each start.

        Many short reads are made by one thread at a time: each gives way to other threads of
        Python, and would wait for its turn again.
        """
        extent = self.place(leaf)
        if extent is None:
            read = self._local.readers.of(leaf)
            for start, at in sorted((start, at) for at, start in enumerate(starts)):
                read(start, nbytes, out[at * nbytes : (at + 1) * nbytes])
            return
        alone = self._short_reads if nbytes < SHORT_READ else nullcontext()
        with self._files.opened(extent.path) as descriptor, alone:
            read_ranges(descriptor, extent, starts, nbytes, out.data)
