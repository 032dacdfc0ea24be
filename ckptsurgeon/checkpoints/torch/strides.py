"""How a strided view lies in its storage, and whether the file holds what it reaches for."""

from __future__ import annotations

from collections.abc import Mapping

from ckptsurgeon.checkpoints.stored import Stored
from ckptsurgeon.checkpoints.strided import reach
from ckptsurgeon.checkpoints.torch.described import escaped
from ckptsurgeon.checkpoints.torch.inert import TensorRecord
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import BITS, TensorSpec

MAX_EXPANSION = 64 << 20
"""Bytes that a view with repeated elements may unfold to, whatever the size of its storage."""


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
    items = record.offset + reach(record.shape, record.stride) if spec.count else 0
    needed = items * BITS[record.dtype] // 8
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
