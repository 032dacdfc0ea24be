"""Tensors as strided views of stored bytes: those of torch's files, of pickles and of npz."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator
from dataclasses import dataclass

from ckptsurgeon.checkpoints.base import Checkpoint, Span
from ckptsurgeon.checkpoints.stored import Held, Stored, gather, swap
from ckptsurgeon.checkpoints.transfer import Array, Extent, naming, read_extent
from ckptsurgeon.specs import BITS, CARRIERS, TensorSpec, number_width, row_strides

Shape = tuple[int, ...]

SPARSE = 2
"""How many times as many items a stretch may have as are wanted of it."""


@dataclass(frozen=True, slots=True)
class View:
    """Items of a dtype in stored bytes, the first `start` bytes behind their beginning.

    `stride` is in items. Numbers are big-endian where `swapped`; `conjugate` and `negative` are
    what is still to be done to the stored values.
    """

    stored: Stored | Held
    dtype: str
    start: int
    shape: Shape
    stride: Shape
    swapped: bool = False
    conjugate: bool = False
    negative: bool = False

    @property
    def itemsize(self) -> int:
        return BITS[self.dtype] // 8

    @property
    def is_dense(self) -> bool:
        """Whether the items lie in order, and have the values that are stored."""
        changed = self.conjugate or self.negative
        return not changed and is_contiguous(self.shape, self.stride)

    @property
    def extent(self) -> Extent | None:
        """Where the bytes lie, or None where they don't lie dense and as they are.

        It has a CRC-32 where it is all of the stored bytes.
        """
        whole = self.stored.extent
        if whole is None or not self.is_dense or self._width > 1:
            return None
        start, nbytes = whole.offset + self.start, self._nbytes
        is_all = (start, nbytes) == (whole.offset, whole.nbytes)
        return Extent(whole.path, start, nbytes, whole.crc if is_all else None)

    def blocks(self) -> Iterator[bytes] | None:
        """The bytes in order, from first to last; None where they don't lie in order."""
        return self._part(self._nbytes) if self.is_dense else None

    @property
    def span(self) -> Span | None:
        """Where the items lie in another order, or but a few of them are left out.

        None where they lie dense, far apart or over each other, or have other values than are
        stored: these are best read whole.
        """
        if self.is_dense or self.conjugate or self.negative or not self._is_permuted:
            return None
        whole, nbytes = self.stored.extent, self._reach
        extent, has_crc = None, False
        if whole is not None and self._width == 1:
            extent = Extent(whole.path, whole.offset + self.start, nbytes)
            has_crc = whole.crc is not None and nbytes == whole.nbytes
        return Span(self.stride, nbytes, extent, has_crc, lambda: self._part(nbytes))

    def read(self) -> Array:
        """The dense tensor, in its carrier."""
        import numpy as np  # headers alone are read without it

        dtype = np.dtype(CARRIERS[BITS[self.dtype]])
        items = self._span().view(dtype)
        strides = tuple(step * self.itemsize for step in self.stride)
        view = np.lib.stride_tricks.as_strided(items, self.shape, strides, writeable=False)
        dense: Array = np.array(view, order="C").reshape(self.shape)
        self._flip_signs(dense)
        return dense

    @property
    def _nbytes(self) -> int:
        """Bytes of the dense tensor."""
        return TensorSpec(self.dtype, self.shape).nbytes

    @property
    def _reach(self) -> int:
        """Bytes from the first item to behind the last one."""
        return reach(self.shape, self.stride) * self.itemsize

    @property
    def _is_permuted(self) -> bool:
        """Whether the items are those of a stretch in some order, at least one in SPARSE of it."""
        pairs = zip(self.stride, self.shape, strict=True)
        steps = sorted((step, size) for step, size in pairs if step and size > 1)
        end = 1
        for step, size in steps:
            if step < end:
                return False
            end += step * (size - 1)
        return end <= SPARSE * math.prod(size for _, size in steps)

    @property
    def _width(self) -> int:
        """Bytes of what is to be turned around; 1 where nothing is."""
        return number_width(self.dtype) if self.swapped else 1

    def _part(self, nbytes: int) -> Iterator[bytes]:
        blocks = self.stored.part(self.start, nbytes)
        return swap(blocks, self._width) if self._width > 1 else blocks

    def _span(self) -> Array:
        """The bytes that the view reaches over, from its first item on."""
        stored, nbytes = self.stored, self._reach
        if isinstance(stored, Stored) and stored.extent is not None and self._width == 1:
            crc = stored.crc if nbytes == stored.nbytes else None
            return read_extent(Extent(stored.path, stored.offset + self.start, nbytes, crc))
        return gather(self._part(nbytes), nbytes)

    def _flip_signs(self, dense: Array) -> None:
        """Does what torch's conj and neg bits ask for, on the bits of each number."""
        import numpy as np  # headers alone are read without it

        width = number_width(self.dtype)
        numbers = dense.reshape(-1).view(f"<u{width}")
        sign = 1 << (8 * width - 1)
        if self.conjugate and self.dtype.startswith("C"):
            numbers[1::2] ^= sign
        if self.negative and self.dtype[0] in "IU":  # two's complement
            numbers[...] = ~numbers + np.uint8(1)
        elif self.negative:
            numbers ^= sign


@dataclass(frozen=True, kw_only=True)
class StridedCheckpoint(Checkpoint, abc.ABC):
    """A checkpoint whose tensors are views."""

    @abc.abstractmethod
    def view(self, key: str) -> View:
        """The view that a key's tensor is."""

    def extent(self, key: str) -> Extent | None:
        """Where the tensor's bytes lie; None where they don't lie dense and as they are."""
        return self.view(key).extent

    def blocks(self, key: str) -> Iterator[bytes] | None:
        """The tensor's bytes in order, also where they are deflated, big-endian, or text."""
        return self.view(key).blocks()

    def span(self, key: str) -> Span | None:
        """Where the tensor's items lie strided, with the values that are stored."""
        return self.view(key).span

    def read(self, key: str) -> Array:
        """The whole tensor, dense, in its carrier dtype."""
        view = self.view(key)
        if view.is_dense:
            return super().read(key)
        with naming(f"{self.path}: {key!r}"):
            return view.read()


def is_contiguous(shape: Shape, stride: Shape) -> bool:
    """True if the elements lie dense and in order; strides of dims of size 1 say nothing."""
    steps = zip(shape, stride, row_strides(shape), strict=True)
    return 0 in shape or all(size == 1 or step == dense for size, step, dense in steps)


def reach(shape: Shape, stride: Shape) -> int:
    """Number of items from the first element to behind the last one."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))


def column_strides(shape: Shape) -> Shape:
    """Items from one to the next on each dim of a tensor that lies column by column."""
    return tuple(reversed(row_strides(tuple(reversed(shape)))))
