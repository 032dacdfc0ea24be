"""A checkpoint that is a dict in memory: of torch tensors, also a model's, or NumPy arrays."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.base import (
    Checkpoint,
    Contents,
    Opaque,
    Outside,
    count_outside,
    group_ties,
)
from ckptsurgeon.checkpoints.npy import MASKED, explain_dtype
from ckptsurgeon.checkpoints.planting import Planter, array_dtype, is_tensor, text_dtype
from ckptsurgeon.checkpoints.tensors import is_torch, to_carrier
from ckptsurgeon.checkpoints.torch.choosing import choose_part
from ckptsurgeon.checkpoints.torch.described import opaque
from ckptsurgeon.checkpoints.torch.inert import DTYPE_CODES
from ckptsurgeon.checkpoints.torch.keys import MAX_BITS
from ckptsurgeon.checkpoints.torch.nesting import EXTRA_STATE, Leaf, flatten, wrappers
from ckptsurgeon.checkpoints.torch.rivals import find_rivals
from ckptsurgeon.checkpoints.torch.unreadable import META, of_class
from ckptsurgeon.checkpoints.transfer import Array
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import TensorSpec, UnreadableSpec, unreadable_spec

MEMORY = "memory"
"""The format of what is in no file."""

TENSOR = ("torch", "Tensor")
"""The module and the name of the class of all tensors, which may not be imported here."""


@dataclass(frozen=True, kw_only=True)
class MemoryCheckpoint(Checkpoint):
    """Tensors by key, also as arrays in the carriers of their specs; converted when asked for.

    `tree` is what they were nested in.
    """

    path: Path = Path("<memory>")
    format: str = MEMORY
    files: tuple[Path, ...] = ()
    tensors: Mapping[str, Any] = field(default_factory=dict)
    tree: Any = None

    def read(self, key: str) -> Array:
        """The array of a key, not a copy of it."""
        if not self.has_values:
            return super().read(key)
        return to_carrier(self.tensors[key], self.contents.specs[key])


def tensors_held(checkpoints: Mapping[str, Checkpoint]) -> dict[str, Mapping[str, Any]]:
    """The tensors themselves of those checkpoints that are in memory, by alias."""
    held = {alias: one for alias, one in checkpoints.items() if isinstance(one, MemoryCheckpoint)}
    return {alias: one.tensors for alias, one in held.items()}


def open_dict(held: Mapping[Any, Any], root: str | None = None) -> MemoryCheckpoint:
    """A checkpoint over a dict, which is opened like a file of its content.

    A dict of tensors alone is the state dict itself, whatever root is asked for, unless keys begin
    with that; of one with other entries, as a training checkpoint is, the default wrapper is opened
    or the root. Raises CheckpointError for a root that is not there, and for a dict without a
    tensor.
    """
    if _is_flat(held) and not has_root(held, root):
        return checkpoint_of(held)
    tree = Planter(partial(_explain, has_values=True)).plant(held)
    leaves = flatten(tree)
    if not any(leaf.is_tensor for leaf in leaves):
        key, value = next(iter(held.items()))
        raise CheckpointError(
            f"no tensor in the dict: {key!r} is {type(value).__name__}; wanted torch tensors or "
            "NumPy arrays by key, such as model.state_dict()"
        )
    part = choose_part(tree, leaves, root, _identify)
    tensors = {key: leaf.value.value for key, leaf in part.tensors.items()}
    found = checkpoint_of(tensors)
    rivals: tuple[Outside, ...] = ()
    if root is None:
        opened = list(part.tensors.values())
        rivals = find_rivals(opened, part.left, part.root, _identify, _nbytes)
    contents = replace(
        found.contents,
        module_metadata=part.metadata,
        opaque=(*found.contents.opaque, *(opaque(*entry) for entry in part.entries)),
        outside=count_outside(((leaf.key, _nbytes(leaf)) for leaf in part.left), part.root),
        outside_keys=tuple(leaf.key for leaf in part.left),
        rivals=rivals,
        root=part.root,
        wrappers=wrappers(tree),
    )
    return replace(found, contents=contents, tree=tree)


def has_root(held: Mapping[Any, Any], root: str | None) -> bool:
    """Whether keys of a dict begin with a root."""
    return bool(root) and any(str(key).startswith(f"{root}.") for key in held)


def _is_flat(held: Mapping[Any, Any]) -> bool:
    """Whether a dict holds tensors alone, under texts: a state dict and nothing beside."""
    return all(isinstance(key, str) and is_tensor(one) for key, one in held.items())


def _identify(leaf: Leaf) -> Hashable:
    """What is equal for tensors of one memory."""
    return id(leaf.value.value) if leaf.unreadable else _identity(leaf.value.value)


def _nbytes(leaf: Leaf) -> int:
    return (leaf.unreadable or _spec(leaf.key, leaf.value.value)).nbytes


def checkpoint_of(tensors: Mapping[str, Any], *, shapes_only: bool = False) -> MemoryCheckpoint:
    """A checkpoint over a dict's tensors, which are looked at only when they are needed.

    It has shapes alone where that is asked for, or where all are on the meta device; else those on
    it can't be read. A module's extra state that is no tensor is an entry, as are arrays of texts.
    Raises CheckpointError for another value that is neither a torch tensor nor a NumPy array.
    """
    opaque = {key: entry for key, value in tensors.items() if (entry := _entry(key, value))}
    kept = ((key, value) for key, value in tensors.items() if key not in opaque)
    held = dict(kept)
    has_values = not shapes_only and not (held and all(map(_is_meta, held.values())))
    specs = {key: _explain(value, has_values) or _spec(key, value) for key, value in held.items()}
    metadata = getattr(tensors, "_metadata", None)
    return MemoryCheckpoint(
        contents=Contents(
            specs,
            group_ties(
                {key: _identity(tensors[key]) for key in specs if type(specs[key]) is TensorSpec}
            ),
            module_metadata=metadata,
            opaque=tuple(opaque.values()),
        ),
        has_values=has_values,
        tensors=tensors,
    )


def _spec(key: str, value: Any) -> TensorSpec:
    if not isinstance(key, str):
        raise CheckpointError(f"a key that is no text: {key!r}")
    found = getattr(value, "dtype", None)
    name = str(getattr(found, "name", found)).removeprefix("torch.")
    shape = _shape(value)
    if name not in DTYPE_CODES or shape is None:
        is_tensor_like = found is not None and shape is not None
        kind = f"a tensor of {name}" if is_tensor_like else type(value).__name__
        raise CheckpointError(
            f"{key!r} is {kind}; wanted a flat dict of torch tensors or NumPy arrays, such as "
            "model.state_dict(), or the `state_dict` entry of a training checkpoint"
        )
    return TensorSpec(DTYPE_CODES[name], shape)


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a tensor; None where a value says none, or one of other than sizes."""
    try:
        shape = tuple(operator.index(size) for size in value.shape)
    except (AttributeError, TypeError):
        return None
    return shape if all(size.bit_length() <= MAX_BITS for size in shape) else None


def _entry(key: Any, value: Any) -> Opaque | None:
    """The entry that a value is which is no tensor, where a state dict may have such."""
    if descr := text_dtype(value):
        return Opaque(key, f"numpy {descr}", "texts or dates")
    if str(key).rpartition(".")[2] == EXTRA_STATE and not hasattr(value, "dtype"):
        return Opaque(key, type(value).__name__, "extra state of a module")
    return None


def _is_meta(value: Any) -> bool:
    return bool(getattr(value, "is_meta", False))


def _explain(value: Any, has_values: bool) -> UnreadableSpec | None:
    """Why the values of a tensor or an array can't be read; None where they can.

    A tensor on the meta device has a shape, which is enough where no values are wanted.
    """
    if not is_torch(value):
        return _explain_array(value)
    if hasattr(value, "materialize"):
        return unreadable_spec("a parameter without a shape", "run a batch through the model first")
    shape = None if value.is_nested else tuple(value.shape)
    dtype = DTYPE_CODES.get(str(value.dtype).removeprefix("torch."))
    layout = str(value.layout).removeprefix("torch.")
    if value.is_nested:
        what, remedy = "a nested tensor", "give its parts: `list(x.unbind())`"
    elif layout != "strided":
        what, remedy = f"a tensor of the layout {layout}", "give `.to_dense()` of it"
    elif _keeps_elsewhere(value):
        what = of_class(type(value).__name__)
        remedy = "give `.full_tensor()` of a DTensor, `.dequantize()` of a quantized one"
    elif dtype is None:
        what = f"a tensor of {value.dtype}"
        remedy = "give it in another dtype, or its bytes by `.view(torch.uint8)`"
        if value.is_quantized:
            remedy = "give `.dequantize()` of it"
    elif has_values and value.is_meta:
        what, remedy = META.what, "give it values first"
    else:
        return None
    return unreadable_spec(what, remedy, dtype, shape)


def _keeps_elsewhere(value: Any) -> bool:
    """Whether a tensor is of a class that answers for its values itself."""
    kind = type(value)
    if hasattr(kind, "__tensor_flatten__") or hasattr(kind, "full_tensor"):
        return True
    (base,) = (one for one in kind.__mro__ if (one.__module__, one.__name__) == TENSOR)
    return kind.__torch_dispatch__ is not base.__torch_dispatch__  # type: ignore[attr-defined]


def _explain_array(value: Any) -> UnreadableSpec | None:
    """Why the values of a NumPy array can't be read; None where they can, and for what is none."""
    dtype, descr = getattr(value, "dtype", None), array_dtype(value)
    if descr is None or dtype is None:
        return None
    if hasattr(value, "mask"):
        return unreadable_spec(*MASKED, None, tuple(value.shape))
    if str(dtype.name) in DTYPE_CODES:
        return None
    return explain_dtype("structured" if dtype.names else descr, tuple(value.shape))


def _identity(value: Any) -> Hashable:
    if hasattr(value, "data_ptr") and not value.is_meta and value.numel():
        place = value.data_ptr(), tuple(value.shape), value.stride(), value.dtype
        return *place, value.is_conj(), value.is_neg()
    return id(value)
