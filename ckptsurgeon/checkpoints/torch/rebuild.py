"""What a call in a torch pickle would have built, told without making the call.

Only the few functions that build tensors and plain containers are known here. Everything else
stays an ObjectValue: a name and its arguments.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ckptsurgeon.checkpoints.counts import MAX_DIMS, are_counts, is_count
from ckptsurgeon.checkpoints.stored import Coding
from ckptsurgeon.checkpoints.torch.arrays import ARRAYS
from ckptsurgeon.checkpoints.torch.inert import (
    DTYPE_CODES,
    LONGEST_NAME,
    ArrayRecord,
    DictValue,
    GlobalName,
    ObjectValue,
    StorageRecord,
    Stretch,
    TensorRecord,
    is_tensor,
)
from ckptsurgeon.checkpoints.torch.keys import dict_key
from ckptsurgeon.checkpoints.torch.unreadable import META, explain
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import UnreadableSpec, unreadable_spec

SIZE = GlobalName("torch", "Size")

ORDERED_DICT = GlobalName("collections", "OrderedDict")

DICTS: Mapping[GlobalName, str] = {
    ORDERED_DICT: "OrderedDict",
    GlobalName("collections", "defaultdict"): "defaultdict",
    GlobalName("collections", "Counter"): "Counter",
    GlobalName("builtins", "dict"): "dict",
}
"""Dict classes that are read as dicts, and what they are called."""


def call(function: Any, arguments: tuple[Any, ...]) -> Any:
    """The inert value of `function(*arguments)`; an ObjectValue where nothing is known of it.

    A storage among the arguments tells that the function builds a tensor.
    """
    if not isinstance(function, GlobalName):
        name = GlobalName("", "a call of something that was itself called")
        return ObjectValue(name, (function, *arguments))
    build = _KNOWN.get(function) or ARRAYS.get(function)
    if build is not None:
        return build(function, arguments)
    if function in DICTS:
        return _dict(function, arguments)
    unreadable = explain(function, arguments)
    return ObjectValue(function, arguments, unreadable=unreadable)


def new_object(kind: Any, arguments: tuple[Any, ...]) -> Any:
    """The inert value of an object that `kind.__new__(kind, *arguments)` makes."""
    if not isinstance(kind, GlobalName):
        return call(kind, arguments)
    if kind in DICTS:
        return _dict(kind, arguments)
    return ObjectValue(kind, arguments, is_new=True)


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
    if not known or not is_count(numel):
        raise CheckpointError(
            "a storage whose class, key, location or size is of the wrong type; "
            "torch writes ('storage', class, key, location, number of items)"
        )
    view = len(identity) == 6 and identity[5] is not None
    return StorageRecord(kind.name, key, location, numel, view)


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
    if not isinstance(named, GlobalName) or named.module != "torch":
        return _tensor(function, arguments, None, metadata)
    dtype = DTYPE_CODES.get(named.name)
    made = _tensor(function, arguments, dtype, metadata)
    if dtype is None and isinstance(made, ObjectValue) and made.unreadable is not None:
        what = f"a tensor of {named}, a dtype that has no code here"
        made.unreadable = unreadable_spec(what, RECAST, None, made.unreadable.shape)
    return made


def _tensor(
    function: GlobalName, arguments: tuple[Any, ...], dtype: str | None, metadata: Any
) -> Any:
    if len(arguments) < 4 or not isinstance(arguments[0], StorageRecord):
        return ObjectValue(function, arguments, unreadable=explain(function, arguments))
    kept, offset, shape, stride = arguments[:4]
    sizes = _sizes(shape, "size"), _sizes(stride, "stride")
    if not is_count(offset):
        raise CheckpointError("a tensor whose offset into its storage is no count of items")
    if len(sizes[0]) != len(sizes[1]):
        raise CheckpointError(
            f"a tensor of {len(sizes[0])} sizes and {len(sizes[1])} strides; one of each per dim"
        )
    bits = _bits(metadata)
    reason = _unreadable(kept, dtype, bits)
    if dtype is None or reason is not None:
        known = reason and unreadable_spec(reason.what, reason.remedy, dtype, sizes[0])
        return ObjectValue(function, arguments, unreadable=known)
    return TensorRecord(kept, dtype, offset, *sizes, "conj" in bits, "neg" in bits)


BITS = ("conj", "neg")
"""torch's bits that are known: what is still to be done to the stored values."""

NO_BITS: frozenset[str] = frozenset()


def _bits(metadata: Any) -> frozenset[str]:
    """The bits that are set."""
    if not isinstance(metadata, DictValue) or not metadata.entries:
        return NO_BITS
    bits = (key for key, value in metadata.entries.items() if value)
    return frozenset(key if key in BITS else "what is not known here" for key in bits)


RECAST = "load it with torch, and save it in another dtype, or its bytes by `.view(torch.uint8)`"


def _unreadable(
    kept: StorageRecord, dtype: str | None, bits: frozenset[str]
) -> UnreadableSpec | None:
    """Why a tensor's bytes don't say its values, or None."""
    if dtype is None:
        return unreadable_spec(f"a tensor of {kept.kind}, whose dtype has no code here", RECAST)
    if kept.location == "meta":
        return META
    if kept.view:
        return unreadable_spec("a tensor in a view of another storage, as torch 0.1 wrote them")
    if not bits.issubset(BITS):
        return unreadable_spec(f"a tensor that is stored before {', '.join(sorted(bits))}")
    return None


def _sizes(value: Any, what: str) -> tuple[int, ...]:
    if isinstance(value, ObjectValue) and value.name == SIZE and value.arguments:
        value = value.arguments[0]
    if not isinstance(value, tuple) or not are_counts(value, len(value)):
        raise CheckpointError(f"a tensor whose {what} is no tuple of counts")
    if len(value) > MAX_DIMS:
        raise CheckpointError(f"a tensor of {len(value)} dims; torch allows {MAX_DIMS}")
    return value


def _first(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """Its first argument: a Parameter is the tensor that it wraps, a typed list the list."""
    kinds = (TensorRecord, ArrayRecord, ObjectValue, list)
    if arguments and isinstance(arguments[0], kinds):
        return arguments[0]
    return ObjectValue(function, arguments)


def _with_state(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(tensor, requires_grad, hooks, attributes) -> the tensor with its attributes."""
    return _attributed(_first(function, arguments), arguments)


def _attributed(made: Any, arguments: tuple[Any, ...]) -> Any:
    """A tensor with the attributes that the fourth argument gives, if it gives any."""
    state = arguments[3] if len(arguments) > 3 else None
    if state and isinstance(made, (TensorRecord, ObjectValue)) and is_tensor(made):
        return dataclasses.replace(made, state=state)
    return made


def _compiled(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(module, context) -> torch.compile's module, which holds the other as `_orig_mod`."""
    inner = DictValue(entries={"_orig_mod": arguments[0] if arguments else None})
    state = DictValue(entries={"_parameters": DictValue(), "_modules": inner})
    return ObjectValue(function, state=state)


def _restore_type(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(value, type) -> value: TorchScript's note of a container's type."""
    return arguments[0] if arguments else ObjectValue(function, arguments)


TENSORS = (
    GlobalName("torch", "Tensor"),
    GlobalName("torch._tensor", "Tensor"),
    GlobalName("torch.nn.parameter", "Parameter"),
    GlobalName("torch.nn.parameter", "Buffer"),
)
"""Classes whose attributes are none of the values; those of others may be where they are kept."""


def _from_type(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(function, class, arguments, state) -> the tensor, whatever class of Tensor it was."""
    match arguments:
        case (GlobalName() as build, kind, tuple(given), *_) if build != function:
            made = call(build, given)
            keeps_values = isinstance(made, ObjectValue) and kind not in TENSORS
            return made if keeps_values else _attributed(made, arguments)
    return ObjectValue(
        function, arguments, unreadable=unreadable_spec("a tensor of an unknown build")
    )


def _from_device(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(tensor or array, dtype, device, requires_grad) -> the values, if kept in that dtype."""
    kept, named = (*arguments[:2], None, None)[:2]
    dtype = DTYPE_CODES.get(named.name) if isinstance(named, GlobalName) else None
    if isinstance(kept, (TensorRecord, ArrayRecord)) and kept.dtype == dtype is not None:
        return kept
    shape = kept.shape if isinstance(kept, (TensorRecord, ArrayRecord)) else None
    why = unreadable_spec(
        "a tensor of a device that kept it in another dtype", dtype=dtype, shape=shape
    )
    return ObjectValue(function, arguments, unreadable=why)


def _reconstructed(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(class, base class, the base's value) -> the object, as protocols 0 and 1 write it."""
    match arguments:
        case (GlobalName() as kind, GlobalName(), value):
            made = new_object(kind, value if isinstance(value, tuple) else ())
            if isinstance(made, ObjectValue) and isinstance(value, DictValue):
                made.entries = value
            if isinstance(made, ObjectValue) and isinstance(value, list):
                made.items = value
            return made
    return ObjectValue(function, arguments)


def _attribute(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(class, name) -> the class within a class, as protocols up to 3 name it."""
    match arguments:
        case (GlobalName() as outer, str(name)) if len(outer.name) + len(name) < LONGEST_NAME:
            return GlobalName(outer.module, f"{outer.name}.{name}")
    return ObjectValue(function, arguments)


def _deque(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(items, most) -> a deque, which the pickle may fill further."""
    given = arguments[0] if arguments else ()
    return ObjectValue(function, items=list(given) if isinstance(given, (list, tuple)) else [])


def _graph_module(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(attributes, imports) -> torch.fx's module, with the attributes as its state."""
    state = arguments[0] if arguments else None
    return ObjectValue(GlobalName("torch.fx", "GraphModule"), state=state)


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


def _named_array(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """((name, array),) -> the array, as Paddle pickles a variable; else an object's parts."""
    match arguments:
        case ((str(), ArrayRecord() as array),):
            return array
    return ObjectValue(function, arguments)


def _encoded(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    """(text, 'latin1') -> the bytes that protocol 2 has no opcode for."""
    match arguments:
        case (str(text), "latin1" | "latin-1"):
            with contextlib.suppress(UnicodeEncodeError):
                return text.encode("latin-1")
        case (Stretch(is_text=True) as text, "latin1" | "latin-1"):
            return dataclasses.replace(text, is_text=False, coding=Coding.LATIN)
    return ObjectValue(function, arguments)


def _bytes(function: GlobalName, arguments: tuple[Any, ...]) -> Any:
    return ObjectValue(function, arguments) if arguments else b""


_KNOWN: Mapping[GlobalName, Callable[[GlobalName, tuple[Any, ...]], Any]] = {
    GlobalName("torch._utils", "_rebuild_tensor"): _tensor_v2,
    GlobalName("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    GlobalName("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    GlobalName("torch._utils", "_rebuild_parameter"): _first,
    GlobalName("torch._utils", "_rebuild_parameter_with_state"): _with_state,
    GlobalName("torch.nn.parameter", "Parameter"): _first,
    GlobalName("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    GlobalName("torch.jit._pickle", "build_intlist"): _first,
    GlobalName("torch.jit._pickle", "build_doublelist"): _first,
    GlobalName("torch.jit._pickle", "build_boollist"): _first,
    GlobalName("torch.jit._pickle", "build_tensorlist"): _first,
    GlobalName("torch.jit._pickle", "restore_type_tag"): _restore_type,
    GlobalName("torch._utils", "_rebuild_device_tensor_from_numpy"): _from_device,
    GlobalName("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _from_device,
    GlobalName("torch._utils", "_rebuild_xla_tensor"): _from_device,
    GlobalName("torch._dynamo.eval_frame", "OptimizedModule"): _compiled,
    GlobalName("torch.fx.graph_module", "reduce_graph_module"): _graph_module,
    GlobalName("torch.fx.graph_module", "reduce_package_graph_module"): _graph_module,
    GlobalName("torch.fx.graph_module", "reduce_deploy_graph_module"): _graph_module,
    GlobalName("copyreg", "_reconstructor"): _reconstructed,
    GlobalName("collections", "deque"): _deque,
    GlobalName("builtins", "getattr"): _attribute,
    GlobalName("builtins", "tuple"): _named_array,
    GlobalName("_codecs", "encode"): _encoded,
    GlobalName("builtins", "bytes"): _bytes,
}
"""Functions whose result is known, by name."""
