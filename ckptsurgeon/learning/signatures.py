"""What is kept of a tensor's values after one pass: hashes of the whole, and of every plane of it.

The hash of a set of elements is the sum of their scrambled words: it says nothing of their order,
and sums of parts are the hash of the whole. A *plane* is what one index of one dim takes: a row, a
column, a channel. Hashes nominate; what comes of it is compared element by element.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.learning.words import CHUNK, Words, read_words
from ckptsurgeon.ops.splitmix import scramble
from ckptsurgeon.specs import TensorSpec

MOST_PLANES = 1 << 16
"""Planes of items that are kept of any tensor; of a large one a 32nd of its elements."""

MOST_ELEMENTS = 1 << 14
"""Elements of a tensor that is also taken for a vector."""

WORDS = 1 << 64
"""Sums are taken modulo this."""

_ODD = (np.arange(CHUNK, dtype=np.uint64) << np.uint64(1)) | np.uint64(1)


@dataclass(frozen=True, slots=True)
class Signature:
    """Hashes of a tensor whose dims of size 1 are left out: `shape` has the others.

    `flat` depends on the order of all elements, `total` on none. `planes` has one hash for each
    index of each dim; `items`, by dims from 1 on, those of each item of dim 0, or nothing.
    `merged` has the planes of dims that are taken for one, by the first and the one behind the
    last. `constant` says that all its elements are equal, and not one alone.
    """

    shape: tuple[int, ...]
    flat: int
    total: int
    planes: tuple[Words, ...]
    items: tuple[Words, ...] = ()
    merged: Mapping[tuple[int, int], Words] = field(default_factory=dict)
    constant: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def squeeze(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without dims of size 1."""
    return tuple(size for size in shape if size != 1)


def sign(checkpoint: Checkpoint, key: str, wanted: str) -> Signature:
    """The signature of a tensor's values in a dtype, read once and not kept."""
    spec = checkpoint.contents.specs[key]
    shape = _shape(spec)
    if not spec.count:
        return Signature(
            shape, 0, 0, tuple(np.zeros(size, np.uint64) for size in shape), constant=True
        )
    sums = _Sums(shape)
    flat = total = at = 0
    first, constant = None, True
    with np.errstate(over="ignore"):  # sums are taken modulo 2**64
        for words in _in_chunks(read_words(checkpoint, key, wanted), shape):
            if constant and len(words):
                first = words[0] if first is None else first
                constant = bool((words == first).all())
            hashes = scramble(words)
            flat += int((hashes * (_ODD[: len(hashes)] + np.uint64(2 * at))).sum())
            total += sums.add(hashes, at)
            at += len(hashes)
    constant = constant and at != 1
    flat, total = flat % WORDS, total % WORDS
    return Signature(shape, flat, total, sums.planes, sums.items, sums.merged, constant)


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return (spec.nbytes,) if spec.carrier is None else squeeze(spec.shape)


def _in_chunks(runs: Iterator[Words], shape: tuple[int, ...]) -> Iterator[Words]:
    """The words in chunks that hold whole rows, or lie within one."""
    row = _row(shape)
    waiting: list[Words] = []
    held, done, whole = 0, 0, math.prod(shape[_level(shape) :])
    for run in runs:
        waiting.append(run)
        held += len(run)
        words = np.concatenate(waiting) if len(waiting) > 1 else run
        while held and (size := _next(done, held, row, whole)):
            yield words[:size]
            words, held, done = words[size:], held - size, done + size
        waiting = [words] if held else []


def _next(done: int, held: int, row: int, whole: int) -> int:
    """Items of the next chunk: as many rows as there are, up to the end of an item."""
    left = whole - done % whole
    return min(max(row, CHUNK // row * row), left, held // row * row if held < left else left)


def _level(shape: tuple[int, ...]) -> int:
    """The first dim whose items all fit in a chunk."""
    level = 0
    while level < len(shape) - 1 and math.prod(shape[level + 1 :]) > CHUNK:
        level += 1
    return level


def _row(shape: tuple[int, ...]) -> int:
    """Items that are never parted; 1 for a vector."""
    return math.prod(shape[_level(shape) + 1 :]) if shape else 1


def _merges(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """The dims that are taken for one: from the first to behind the last."""
    dims, count = len(shape), math.prod(shape)
    most = max(MOST_PLANES, count // 8)
    if dims > 2 and count // shape[0] <= most and _level(shape) == 0:
        yield 1, dims
    if dims > 2 and count // shape[-1] <= most and shape[-1] <= CHUNK:
        yield 0, dims - 1
    if dims > 1 and count <= MOST_ELEMENTS:
        yield 0, dims


class _Sums:
    """The hashes of planes, summed up as chunks come in."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape, self._level = shape, _level(shape)
        self.planes = tuple(np.zeros(size, np.uint64) for size in shape)
        self.items: tuple[Words, ...] = ()
        inner = shape[0] * sum(shape[1:]) if len(shape) > 2 else 0
        if 0 < inner <= max(MOST_PLANES, math.prod(shape) // 32):
            self.items = tuple(np.zeros((shape[0], size), np.uint64) for size in shape[1:])
        self.merged = {
            dims: np.zeros(math.prod(shape[dims[0] : dims[1]]), np.uint64)
            for dims in _merges(shape)
        }

    def add(self, hashes: Words, at: int) -> int:
        """Adds a chunk that begins with the item at `at`; its sum comes back."""
        if not self._shape:
            return int(hashes.sum())
        level, rest = self._level, self._shape[self._level + 1 :]
        rows = hashes.reshape(-1, *rest)
        outer, first = self._place(at)
        sums = rows.reshape(len(rows), -1).sum(1) if rest else rows
        end = first + len(rows)
        self.planes[level][first:end] += sums
        total = int(sums.sum())
        for dim, index in enumerate(outer):
            self.planes[dim][index] += np.uint64(total)
        if rest:
            self._add_inner(rows.sum(0), level)
        if self.items:
            self._add_items(rows, sums, outer, first)
        self._add_merged(hashes, at)
        return total

    def _add_merged(self, hashes: Words, at: int) -> None:
        """The planes of dims that are taken for one; all but the first are held whole by chunks."""
        for (start, stop), planes in self.merged.items():
            if start:
                planes += hashes.reshape(-1, len(planes)).sum(0)
            else:
                size = math.prod(self._shape[stop:])
                summed = hashes.reshape(-1, size).sum(1)
                planes[at // size : at // size + len(summed)] += summed

    def _place(self, at: int) -> tuple[tuple[int, ...], int]:
        """The indices of the outer dims, and that of the first row, where an item stands."""
        row = math.prod(self._shape[self._level + 1 :])
        places = np.unravel_index(at // row, self._shape[: self._level + 1])
        *outer, first = (int(place) for place in places)
        return tuple(outer), first

    def _add_inner(self, summed: Words, level: int) -> None:
        for dim in range(summed.ndim):
            others = tuple(other for other in range(summed.ndim) if other != dim)
            self.planes[level + 1 + dim][:] += summed.sum(others) if others else summed

    def _add_items(self, rows: Words, sums: Words, outer: tuple[int, ...], first: int) -> None:
        """The planes of each item of dim 0."""
        end = first + len(rows)
        if self._level == 0:
            for dim, planes in enumerate(self.items, 1):
                others = tuple(other for other in range(1, rows.ndim) if other != dim)
                planes[first:end] += rows.sum(others)
            return
        item = outer[0]
        for dim, planes in enumerate(self.items, 1):
            if dim < self._level:
                planes[item, outer[dim]] += sums.sum()
            elif dim == self._level:
                planes[item, first:end] += sums
        summed = rows.sum(0)
        for dim in range(summed.ndim):
            others = tuple(other for other in range(summed.ndim) if other != dim)
            self.items[self._level + dim][item] += summed.sum(others) if others else summed
