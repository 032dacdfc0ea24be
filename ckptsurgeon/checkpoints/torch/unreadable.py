"""Calls that build tensors whose values can't be read: what they are, and the way out.

What each function is given is written in torch/_utils.py and torch/_tensor.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckptsurgeon.checkpoints.counts import are_counts
from ckptsurgeon.checkpoints.torch.inert import (
    DTYPE_CODES,
    GlobalName,
    ObjectValue,
    StorageRecord,
    is_tensor,
)
from ckptsurgeon.specs import UnreadableSpec, unreadable_spec

META = unreadable_spec(
    "a tensor on the meta device, without values",
    "load the weights into the model before you save it",
)

DENSE = "load it with torch and save `.to_dense()` of it"
DEQUANTIZED = "load it with torch and save `.dequantize()` of it"
PICKLED = "load it with pickle where it came from, and save it with torch.save"
WRAPPED = (
    "load it where it was made and save it plain: `.full_tensor()` of a DTensor, `.dequantize()` "
    "of a quantized one"
)


@dataclass(frozen=True, slots=True)
class Build:
    """What a function builds, and which of its arguments tell shape and dtype (-1 for none)."""

    what: str
    remedy: str
    shape: int = -1
    dtype: int = -1


BUILDS: Mapping[str, Build] = {
    "_rebuild_qtensor": Build("a quantized tensor", DEQUANTIZED, shape=2),
    "_rebuild_sparse_tensor": Build("a sparse tensor", DENSE),
    "_rebuild_sparse_csr_tensor": Build("a sparse tensor", DENSE),
    "_rebuild_nested_tensor": Build(
        "a nested tensor", "load it with torch and save its parts: `list(x.unbind())`"
    ),
    "_rebuild_meta_tensor_no_storage": Build(META.what, META.remedy, shape=1, dtype=0),
    "_rebuild_wrapper_subclass": Build(
        "a tensor subclass that keeps its values elsewhere", WRAPPED, shape=2, dtype=1
    ),
}
"""By the names of functions of torch._utils."""

FILES = frozenset((GlobalName("torch.storage", "_load_from_bytes"),))
"""What reads a storage from a whole legacy file in the pickle, as pickle itself writes tensors."""

EMPTY_CLASSES = frozenset(("UninitializedParameter", "UninitializedBuffer"))
"""Classes of torch.nn.parameter whose tensors have no shape yet."""


def of_class(name: str) -> str:
    """What a tensor is of a class that keeps its values in another way."""
    article = "an" if name[:1] in "AEIOU" else "a"
    return f"{article} {name}, a tensor subclass that keeps its values elsewhere"


def explain(function: GlobalName, arguments: tuple[Any, ...]) -> UnreadableSpec | None:
    """Why the tensor that a call builds can't be read; None for a call that builds none."""
    if function.name in EMPTY_CLASSES and function.module == "torch.nn.parameter":
        return unreadable_spec("a parameter without a shape", "run a batch through the model first")
    build = BUILDS.get(function.name) if function.module == "torch._utils" else None
    if build is None:
        return _unknown(function, arguments)
    parts = arguments[1] if len(arguments) > 1 and isinstance(arguments[1], tuple) else ()
    if "sparse" in function.name:
        at = 2 if is_tensor(_at(parts, 2)) else 1  # behind two indices, or one
        values, shape = _at(parts, at), _at(parts, at + 1)
        return unreadable_spec(
            build.what, build.remedy, getattr(values, "dtype", None), sizes_of(shape)
        )
    what, first = build.what, _at(arguments, 0)
    if function.name == "_rebuild_wrapper_subclass" and isinstance(first, GlobalName):
        what = of_class(f"{first.name} ({first.module})")
    dtype = _at(arguments, build.dtype)
    code = DTYPE_CODES.get(dtype.name) if isinstance(dtype, GlobalName) else None
    return unreadable_spec(what, build.remedy, code, sizes_of(_at(arguments, build.shape)))


def _unknown(function: GlobalName, arguments: tuple[Any, ...]) -> UnreadableSpec | None:
    """Why what an unknown function makes of storages or tensors can't be read."""
    of_storage = any(isinstance(one, StorageRecord) for one in arguments)
    held = [one for one in arguments if isinstance(one, StorageRecord) or is_tensor(one)]
    is_build = function.name.startswith("_rebuild") and (held or "torch" in function.module)
    if not (of_storage or is_build):
        return None
    if any(isinstance(one, ObjectValue) and one.name in FILES for one in arguments):
        return unreadable_spec(
            "a tensor of a plain pickle", PICKLED, None, sizes_of(_at(arguments, 2))
        )
    return unreadable_spec(
        f"a tensor that `{function}` builds, which is not known here",
        dtype=next((one.dtype for one in held if not isinstance(one, ObjectValue)), None),
        shape=sizes_of(_at(arguments, 2)) if of_storage else None,
    )


def _at(values: Sequence[Any], number: int) -> Any:
    return values[number] if 0 <= number < len(values) else None


def sizes_of(value: Any) -> tuple[int, ...] | None:
    """A shape as the pickle tells it; None where it is none."""
    if isinstance(value, ObjectValue) and value.arguments:  # torch.Size
        value = value.arguments[0]
    return tuple(value) if are_counts(value) else None
