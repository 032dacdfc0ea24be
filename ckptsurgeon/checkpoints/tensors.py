"""Torch tensors and NumPy arrays as arrays in their carriers, and back."""

from __future__ import annotations

from typing import Any

from ckptsurgeon.checkpoints.transfer import Array
from ckptsurgeon.specs import DTYPE_NAMES, TensorSpec


def is_torch(value: Any) -> bool:
    """Whether a value is a torch tensor; torch is not imported to find out."""
    return hasattr(value, "data_ptr") and hasattr(value, "detach")


def to_carrier(value: Any, spec: TensorSpec) -> Array:
    """A torch tensor's or NumPy array's memory as an array in the carrier of its spec."""
    if is_torch(value):
        value = _from_torch(value)
    elif value.dtype.byteorder == ">":
        value = value.astype(value.dtype.newbyteorder("<"))
    return value.view(spec.carrier or "u1")  # type: ignore[no-any-return]


def _from_torch(tensor: Any) -> Array:
    """The tensor's memory as unsigned integers of its width (complex128 as itself)."""
    import torch

    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    if plain.dtype == torch.complex128:
        return plain.numpy()  # type: ignore[no-any-return]
    width = plain.element_size()
    integers = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}
    return plain.view(integers[width]).numpy()  # type: ignore[no-any-return]


def to_torch(array: Array, spec: TensorSpec, device: Any) -> Any:
    """A carrier array as a torch tensor of the spec's dtype on the device."""
    import numpy as np
    import torch

    signed = {1: "u1", 2: "<i2", 4: "<i4", 8: "<i8", 16: "<c16"}
    dense = np.ascontiguousarray(array)
    owned = dense if dense.flags.writeable and dense.flags.owndata else dense.copy()
    tensor = torch.from_numpy(owned.reshape(-1).view(signed[owned.itemsize]))
    return tensor.view(getattr(torch, DTYPE_NAMES[spec.dtype])).reshape(spec.shape).to(device)


def to_numpy(array: Array, spec: TensorSpec) -> Array:
    """A carrier array as numbers of the spec's dtype, its memory its own."""
    from ckptsurgeon.ops.carriers import decode

    numbers: Array = decode(array, spec.dtype).copy()
    return numbers
