"""How a strided view lies in its storage, and whether the file holds what it reaches for."""

from __future__ import annotations

from collections.abc import Mapping

from ckptsurgeon.checkpoints.stored import Stored
from ckptsurgeon.checkpoints.torch.described import escaped
from ckptsurgeon.checkpoints.torch.inert import TensorRecord
from ckptsurgeon.checkpoints.transfer import Array
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import BITS, TensorSpec, number_width, row_strides

MAX_EXPANSION = 64 << 20
"""Bytes that a view with repeated elements may unfold to, whatever the size of its storage."""


def is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """True if the elements lie dense and in order; strides of dims of size 1 say nothing."""
    steps = zip(shape, stride, row_strides(shape), strict=True)
    return 0 in shape or all(size == 1 or step == dense for size, step, dense in steps)


def checked_spec(key: str, record: TensorRecord, storages: Mapping[str, Stored]) -> TensorSpec:
    """The tensor's spec, after its reach is held against its storage's bytes in the file."""
    name, storage = escaped(key), record.storage
    spec = TensorSpec(record.dtype, record.shape)
    place = storages.get(storage.key)
    if place is None:
        raise CheckpointError(f"{name}: its storage {escaped(storage.key)!r} is not in the file")
    declared = storage.numel * (BITS[storage.dtype] // 8 if storage.dtype else 1)
    if declared > place.nbytes:
        raise CheckpointError(
            f"{name}: a storage of {declared} bytes, of which the file holds {place.nbytes}"
        )
    needed = (record.offset + reach(record)) * itemsize(record) if spec.count else 0
    if needed > place.nbytes:
        raise CheckpointError(
            f"{name}: {spec} reaches to byte {needed} of a storage of {place.nbytes} bytes"
        )
    if spec.nbytes > max(place.nbytes, MAX_EXPANSION):
        raise CheckpointError(
            f"{name}: {spec} unfolds {place.nbytes} stored bytes to {spec.nbytes}; "
            f"at most {MAX_EXPANSION} are allowed: save it dense"
        )
    return spec


def itemsize(record: TensorRecord) -> int:
    """Bytes of one element."""
    return BITS[record.dtype] // 8


def reach(record: TensorRecord) -> int:
    """Number of items from the first element to behind the last one."""
    if 0 in record.shape:
        return 0
    steps = zip(record.shape, record.stride, strict=True)
    return 1 + sum((size - 1) * step for size, step in steps)


def view_strided(span: Array, record: TensorRecord, spec: TensorSpec) -> Array:
    """The dense tensor, in its carrier, of the bytes that a view reaches over."""
    import numpy as np  # headers alone are read without it

    strides = tuple(step * itemsize(record) for step in record.stride)
    items = span.view(spec.carrier or "u1")
    view = np.lib.stride_tricks.as_strided(items, record.shape, strides, writeable=False)
    dense = np.array(view, order="C").reshape(record.shape)
    _flip_signs(dense, record)
    return dense


def _flip_signs(dense: Array, record: TensorRecord) -> None:
    """Does what torch's conj and neg bits ask for, on the bits: a sign, or that of each number."""
    width = number_width(record.dtype)
    numbers = dense.reshape(-1).view(f"<u{width}")
    sign = 1 << (8 * width - 1)
    if record.conjugate and record.dtype.startswith("C"):
        numbers[1::2] ^= sign
    if record.negative:
        numbers ^= sign
