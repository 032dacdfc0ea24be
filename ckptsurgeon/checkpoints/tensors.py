"""Dicts of torch tensors or NumPy arrays as checkpoints, and arrays back as what they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.memory import MemoryCheckpoint
from ckptsurgeon.checkpoints.torch.inert import DTYPE_CODES
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import DTYPE_NAMES, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def checkpoint_of(tensors: Mapping[str, Any]) -> MemoryCheckpoint:
    """A checkpoint over a dict's tensors, which are looked at only when they are needed.

    Raises CheckpointError for a value that is neither a torch tensor nor a NumPy array.
    """
    specs = {key: _spec(key, value) for key, value in tensors.items()}
    on_meta = any(getattr(value, "is_meta", False) for value in tensors.values())
    arrays = None if on_meta else _Arrays(tensors, specs)
    metadata = getattr(tensors, "_metadata", None)
    return MemoryCheckpoint(arrays, specs, _tied(tensors), module_metadata=metadata)


def _spec(key: str, value: Any) -> TensorSpec:
    if not isinstance(key, str):
        raise CheckpointError(f"a key that is no text: {key!r}")
    found = getattr(value, "dtype", None)
    name = str(getattr(found, "name", found)).removeprefix("torch.")
    if name not in DTYPE_CODES or not hasattr(value, "shape"):
        kind = type(value).__name__ if found is None else f"a tensor of {name}"
        raise CheckpointError(
            f"{key!r} is {kind}; wanted a flat dict of torch tensors or NumPy arrays, such as "
            "model.state_dict(), or the `state_dict` entry of a training checkpoint"
        )
    if is_torch(value) and str(value.layout) != "torch.strided":
        raise CheckpointError(f"{key!r} is a tensor of {value.layout}; wanted a dense one")
    return TensorSpec(DTYPE_CODES[name], tuple(int(size) for size in value.shape))


def _tied(tensors: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Keys whose tensors are one view of one memory."""
    groups: dict[object, list[str]] = {}
    for key, value in tensors.items():
        groups.setdefault(_identity(value), []).append(key)
    return tuple(tuple(keys) for keys in groups.values() if len(keys) > 1)


def _identity(value: Any) -> object:
    if hasattr(value, "data_ptr") and not value.is_meta and value.numel():
        return value.data_ptr(), tuple(value.shape), value.stride(), value.dtype
    return id(value)


class _Arrays(Mapping[str, "Array"]):
    """The tensors as arrays in their carriers, each converted when it is asked for."""

    def __init__(self, tensors: Mapping[str, Any], specs: Mapping[str, TensorSpec]) -> None:
        self._tensors, self._specs = tensors, specs

    def __getitem__(self, key: str) -> Array:
        value = self._tensors[key]
        carrier = str(self._specs[key].carrier)
        if is_torch(value):
            return _from_torch(value).view(carrier)
        numbers: Array = _native(value).view(carrier)
        return numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


def is_torch(value: Any) -> bool:
    """Whether a value is a torch tensor; torch is not imported to find out."""
    return hasattr(value, "data_ptr") and hasattr(value, "detach")


def _native(array: Array) -> Array:
    """A NumPy array in the byte order that carriers have."""
    little = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
    return array.astype(little, copy=False)


def _from_torch(tensor: Any) -> Array:
    """The tensor's memory as unsigned integers of its width (complex128 as itself)."""
    import torch

    plain = tensor.detach().cpu()
    if plain.is_conj() or plain.is_neg():
        plain = plain.resolve_conj().resolve_neg()
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
