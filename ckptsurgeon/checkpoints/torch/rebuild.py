"""What a call in a torch pickle would have built, told without making the call.

Only the few functions that build tensors and plain containers are known here. Everything else
stays an ObjectValue: a name and its arguments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from ckptsurgeon.checkpoints.strict_json import MAX_DIMS
from ckptsurgeon.checkpoints.torch.inert import (
    DTYPE_CODES,
    DictValue,
    GlobalName,
    ObjectValue,
    StorageRecord,
    TensorRecord,
    dict_key,
)
from ckptsurgeon.errors import CheckpointError

SIZE = GlobalName("torch", "Size")

ORDERED_DICT = GlobalName("collections", "OrderedDict")

DICTS: Mapping[GlobalName, str] = {
    ORDERED_DICT: "OrderedDict",
    GlobalName("collections", "defaultdict"): "defaultdict",
    GlobalName("collections", "Counter"): "Counter",
    GlobalName("builtins", "dict"): "dict",
}
"""Dict classes that are read as dicts, and what they are called."""

REASONS: Mapping[str, str] = {
    "_rebuild_qtensor": "a quantized tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor on the meta device, without values",
    "_rebuild_wrapper_subclass": "a tensor subclass that keeps its values elsewhere",
    "_rebuild_device_tensor_from_numpy": "a tensor kept as a NumPy array",
    "_rebuild_device_tensor_from_cpu_tensor": "a tensor of a device without storages",
    "_rebuild_xla_tensor": "a tensor kept as a NumPy array",
}
"""Why the tensor that a function of torch._utils builds can't be read as one."""


def call(function: Any, arguments: Any) -> Any:
    """The inert value of `function(*arguments)`; an ObjectValue where nothing is known of it."""
    if not isinstance(arguments, tuple):
        raise CheckpointError("a call whose arguments are no tuple")
    if not isinstance(function, GlobalName):
        return ObjectValue(GlobalName("", "a call of something that was itself called"), arguments)
    build = _KNOWN.get(function)
    if build is not None:
        return build(function, arguments)
    if function in DICTS:
        return _dict(function, arguments)
    reason = REASONS.get(function.name, "") if function.module == "torch._utils" else ""
    return ObjectValue(function, arguments, reason=reason)


def storage(identity: Any) -> Any:
    """The storage that a persistent id names, or the class, for ids of module sources."""
    if not isinstance(identity, tuple) or not identity:
        raise CheckpointError("a persistent id that is no tuple; torch writes ('storage', …)")
    if identity[0] == "module" and len(identity) >= 2:
        return identity[1]
    if identity[0] != "storage" or len(identity) not in (5, 6):
        raise CheckpointError("a persistent id of an unknown form; torch writes ('storage', …)")
    kind, key, location, numel = identity[1:5]
    known = isinstance(kind, GlobalName) and isinstance(key, str) and isinstance(location, str)
    if not known or not _is_count(numel):
        raise CheckpointError(
            "a storage whose class, key, location or size is of the wrong type; "
            "torch writes ('storage', class, key, location, number of items)"
        )
    view = len(identity) == 6 and identity[5] is not None
    return StorageRecord(kind.name, key, location, numel, view)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _tensor_v2(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(storage, offset, size, stride, requires_grad, hooks, metadata) -> tensor."""
    metadata = arguments[6] if len(arguments) > 6 else None
    kept = arguments[0] if arguments else None
    dtype = kept.dtype if isinstance(kept, StorageRecord) else None
    return _tensor(function, arguments, dtype, metadata)


def _tensor_v3(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(storage, offset, size, stride, requires_grad, hooks, dtype, metadata) -> tensor."""
    named = arguments[6] if len(arguments) > 6 else None
    metadata = arguments[7] if len(arguments) > 7 else None
    dtype = None
    if isinstance(named, GlobalName) and named.module == "torch":
        dtype = DTYPE_CODES.get(named.name)
    return _tensor(function, arguments, dtype, metadata)


def _tensor(
    function: GlobalName, arguments: tuple[Any, ...], dtype: str | None, metadata: Any
) -> Any:
    if len(arguments) < 4 or not isinstance(arguments[0], StorageRecord):
        return ObjectValue(function, arguments, reason="a tensor without a storage")
    kept, offset, shape, stride = arguments[:4]
    sizes = _sizes(shape, "size"), _sizes(stride, "stride")
    if not _is_count(offset):
        raise CheckpointError("a tensor whose offset into its storage is no count of items")
    if len(sizes[0]) != len(sizes[1]):
        raise CheckpointError(
            f"a tensor of {len(sizes[0])} sizes and {len(sizes[1])} strides; one of each per dim"
        )
    reason = _unreadable(kept, dtype, metadata)
    if dtype is None or reason:
        return ObjectValue(function, arguments, reason=reason)
    return TensorRecord(kept, dtype, offset, *sizes)


def _unreadable(kept: StorageRecord, dtype: str | None, metadata: Any) -> str:
    """Why a tensor's bytes don't say its values, or nothing."""
    if dtype is None:
        return f"a tensor of {kept.kind}, whose dtype has no code here"
    if kept.location == "meta":
        return "a tensor on the meta device, without values"
    if kept.view:
        return "a tensor in a view of another storage, as torch 0.1 wrote them"
    if isinstance(metadata, DictValue) and any(metadata.entries.values()):
        return "a tensor that is stored before its conjugation or negation"
    return ""


def _sizes(value: Any, what: str) -> tuple[int, ...]:
    if isinstance(value, ObjectValue) and value.name == SIZE and value.arguments:
        value = value.arguments[0]
    if not isinstance(value, tuple) or not all(map(_is_count, value)):
        raise CheckpointError(f"a tensor whose {what} is no tuple of counts")
    if len(value) > MAX_DIMS:
        raise CheckpointError(f"a tensor of {len(value)} dims; torch allows {MAX_DIMS}")
    return value


def _first(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """Its first argument: a Parameter is the tensor that it wraps, a typed list the list."""
    kinds = (TensorRecord, ObjectValue, list)
    if arguments and isinstance(arguments[0], kinds):
        return arguments[0]
    return ObjectValue(function, arguments)


def _restore_type(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(value, type) -> value: TorchScript's note of a container's type."""
    return arguments[0] if arguments else ObjectValue(function, arguments)


def _from_type(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(function, class, arguments, state) -> the tensor, whatever class of Tensor it was."""
    if len(arguments) >= 3 and isinstance(arguments[0], GlobalName) and arguments[0] != function:
        return call(arguments[0], arguments[2])
    return ObjectValue(function, arguments, reason="a tensor of an unknown build")


def _dict(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """An empty dict of the class, or one with the entries it was given to begin with."""
    made = DictValue(DICTS[function])
    given = arguments[-1] if arguments else None
    if isinstance(given, DictValue):
        made.entries.update(given.entries)
    elif isinstance(given, list) and all(
        isinstance(p, (tuple, list)) and len(p) == 2 for p in given
    ):
        made.entries.update((dict_key(key), value) for key, value in given)
    elif isinstance(given, (list, tuple)):
        return ObjectValue(function, arguments)
    return made


def _encoded(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(text, 'latin1') -> the bytes that protocol 2 has no opcode for."""
    match arguments:
        case (str(text), "latin1" | "latin-1"):
            with contextlib.suppress(UnicodeEncodeError):
                return text.encode("latin-1")
    return ObjectValue(function, arguments)


def _bytes(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    return ObjectValue(function, arguments) if arguments else b""


_KNOWN: Mapping[GlobalName, Callable[[GlobalName, tuple[Any, ...]], Any]] = {
    GlobalName("torch._utils", "_rebuild_tensor"): _tensor_v2,
    GlobalName("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    GlobalName("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    GlobalName("torch._utils", "_rebuild_parameter"): _first,
    GlobalName("torch._utils", "_rebuild_parameter_with_state"): _first,
    GlobalName("torch.nn.parameter", "Parameter"): _first,
    GlobalName("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    GlobalName("torch.jit._pickle", "build_intlist"): _first,
    GlobalName("torch.jit._pickle", "build_doublelist"): _first,
    GlobalName("torch.jit._pickle", "build_boollist"): _first,
    GlobalName("torch.jit._pickle", "build_tensorlist"): _first,
    GlobalName("torch.jit._pickle", "restore_type_tag"): _restore_type,
    GlobalName("_codecs", "encode"): _encoded,
    GlobalName("builtins", "bytes"): _bytes,
}
"""Functions whose result is known, by name."""
