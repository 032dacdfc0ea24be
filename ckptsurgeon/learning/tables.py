"""Where values stand in the sources, by the hash of a tensor, of a plane, or of an item's plane."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ckptsurgeon.learning.shaping import reshape
from ckptsurgeon.learning.signatures import Signature
from ckptsurgeon.learning.words import Array, Words
from ckptsurgeon.ops.splitmix import scramble_number

WHOLE = -1
"""The item of a plane that is one of the whole tensor."""

MOST_ALIKE = 8
"""Tensors with one plane in common that are looked at."""

UNIT = -1
"""The dim of a plane that is the whole tensor: the only one of a dim of size 1."""


@dataclass(frozen=True, slots=True)
class Planes:
    """Planes of sources in the order of their hashes: tensor, item of dim 0, dim, index."""

    hashes: Words
    tensors: Array
    items: Array
    dims: Array
    indices: Array

    def find(self, hashes: Words) -> tuple[Array, Array]:
        """For each hash the first and behind the last place where it stands."""
        return (
            np.searchsorted(self.hashes, hashes, "left"),
            np.searchsorted(self.hashes, hashes, "right"),
        )


class Tables:
    """The signatures of sources, read in one dtype, with what finds them by their hashes.

    Tensors are counted through: first all as they are, then again with several dims taken for one,
    which `before` leads to. `shapes` are with dims of size 1.
    """

    def __init__(
        self, signatures: Mapping[str, Signature], shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        merged = [_merged(key, one, dims) for key, one in signatures.items() for dims in one.merged]
        self.keys = (*signatures, *(key for key, _ in merged))
        self.signatures = (*signatures.values(), *(one for _, one in merged))
        self.whole = len(signatures)
        own = [shapes[key] for key in signatures]
        self.shapes = (*own, *(one.shape for _, one in merged))
        self.before = tuple(
            reshape(shapes[key], shape) for key, shape in zip(self.keys, self.shapes, strict=True)
        )
        self.has_unit = tuple(1 in shape for shape in own)

    @cached_property
    def by_flat(self) -> Mapping[tuple[int, int], list[int]]:
        """Tensors by (count, hash of all elements in order)."""
        found: dict[tuple[int, int], list[int]] = defaultdict(list)
        for at, one in enumerate(self.signatures[: self.whole]):
            found[one.count, one.flat].append(at)
        return found

    @cached_property
    def by_total(self) -> Mapping[tuple[int, int], list[int]]:
        """Tensors by (count, hash of all elements in any order)."""
        found: dict[tuple[int, int], list[int]] = defaultdict(list)
        for at, one in enumerate(self.signatures[: self.whole]):
            found[one.count, one.total].append(at)
        return found

    @cached_property
    def planes(self) -> Planes:
        """The planes of all tensors that vary."""
        columns = [
            _columns(at, WHOLE, dim, planes, one.count // len(planes))
            for at, one in enumerate(self.signatures)
            if not one.constant
            for dim, planes in enumerate(one.planes)
            if len(planes)
        ]
        units = [
            _columns(at, WHOLE, UNIT, np.array([one.total], np.uint64), one.count)
            for at, one in enumerate(self.signatures[: self.whole])
            if self.has_unit[at] and not one.constant
        ]
        return _sorted([*columns, *units])

    @cached_property
    def item_planes(self) -> Planes:
        """The planes of the items of tensors with three dims and more."""
        columns = [
            _columns(at, item, dim, row, one.count // one.shape[0] // len(row))
            for at, one in enumerate(self.signatures)
            if not one.constant
            for dim, planes in enumerate(one.items, 1)
            for item, row in enumerate(planes)
        ]
        return _sorted(columns)


def _merged(key: str, one: Signature, dims: tuple[int, int]) -> tuple[str, Signature]:
    """A tensor with some dims taken for one, of which alone the planes are kept."""
    start, stop = dims
    size = math.prod(one.shape[start:stop])
    shape = (*one.shape[:start], size, *one.shape[stop:])
    none = np.zeros(0, np.uint64)
    planes = tuple(one.merged[dims] if dim == start else none for dim in range(len(shape)))
    return key, Signature(shape, one.flat, one.total, planes, constant=one.constant)


def _columns(at: int, item: int, dim: int, planes: Words, size: int) -> tuple[Array, ...]:
    length = len(planes)
    return (
        salted(planes, size),
        np.full(length, at, np.int32),
        np.full(length, item, np.int32),
        np.full(length, dim, np.int16),
        np.arange(length, dtype=np.int32),
    )


def salted(planes: Words, size: int) -> Words:
    """Hashes of planes of so many elements, which are those of no other size."""
    mixed: Words = planes ^ np.uint64(scramble_number(size))
    return mixed


def _sorted(columns: Sequence[tuple[Array, ...]]) -> Planes:
    if not columns:
        empty = np.zeros(0, np.int32)
        return Planes(np.zeros(0, np.uint64), empty, empty, empty, empty)
    whole = [np.concatenate(column) for column in zip(*columns, strict=True)]
    order = np.argsort(whole[0], kind="stable")
    return Planes(*(column[order] for column in whole))
