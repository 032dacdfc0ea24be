"""Nested values in memory as the tree that a file of them would be: dicts, models, objects."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from ckptsurgeon.checkpoints.npy import TEXT_KINDS, kind_of
from ckptsurgeon.checkpoints.tensors import is_torch
from ckptsurgeon.checkpoints.torch.inert import (
    LONGEST_NAME,
    ArrayRecord,
    DictValue,
    GlobalName,
    HeldTensor,
    ObjectValue,
)
from ckptsurgeon.checkpoints.torch.keys import dict_key
from ckptsurgeon.checkpoints.torch.nesting import FLAT, MAX_DEPTH
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import UnreadableSpec

Explain = Callable[[Any], UnreadableSpec | None]
"""Why the values of a tensor can't be read; None where they can."""

MOST_VALUES = 1_000_000
"""Containers and objects of one tree that are looked into: a trainer may lead to all there is."""

CODE = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
"""What has attributes, and is pickled by its name alone."""


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor or an array, of whatever library; NumPy's scalars are numbers."""
    if isinstance(value, type | Mapping):  # some dicts answer to any name
        return False
    is_array = hasattr(value, "dtype") and not _is_scalar(value)
    return is_torch(value) or (is_array and hasattr(value, "shape"))


def is_model(value: Any) -> bool:
    """Whether a value is an `nn.Module`, which takes no import of torch."""
    if isinstance(value, type | Mapping):
        return False
    return hasattr(value, "named_parameters") and hasattr(value, "state_dict")


def text_dtype(value: Any) -> str:
    """The type string of a NumPy array of texts or dates; "" for what is none."""
    descr = array_dtype(value)
    return descr if descr and kind_of(descr) in TEXT_KINDS else ""


def array_dtype(value: Any) -> str | None:
    """The type string of a NumPy array's dtype; None for what is none."""
    found = getattr(getattr(value, "dtype", None), "str", None)
    return found if isinstance(found, str) else None


def _is_scalar(value: Any) -> bool:
    """Whether a value is a scalar of NumPy, which has a dtype and a shape as well."""
    return any(kind.__module__ == "numpy" and kind.__name__ == "generic" for kind in _mro(value))


def _mro(value: Any) -> tuple[type, ...]:
    return type(value).__mro__


class Planter:
    """Makes trees; what is shared or holds itself is one node, as in a file."""

    def __init__(self, explain: Explain) -> None:
        self._explain = explain
        self._planted: dict[int, tuple[Any, Any]] = {}  # with the values, whose ids stay theirs

    def plant(self, value: Any, depth: int = 0) -> Any:
        """The tree of a value, of which tensors are HeldTensors."""
        if type(value) in FLAT:
            return value
        if id(value) in self._planted:
            return self._planted[id(value)][1]
        if len(self._planted) >= MOST_VALUES:
            raise CheckpointError(
                f"the dict leads to over {MOST_VALUES:,} values; give the part with the tensors"
            )
        return self._plant(value, depth)

    def _plant(self, value: Any, depth: int) -> Any:
        if is_tensor(value):
            if text := text_dtype(value):
                return self._keep(value, ArrayRecord(text=f"{text}, texts or dates"))
            return self._keep(value, HeldTensor(value, self._explain(value)))
        kind = type(value)
        name = GlobalName(kind.__module__, kind.__qualname__[:LONGEST_NAME])
        if isinstance(value, CODE) or depth > MAX_DEPTH:  # of which walks of trees make an error
            return self._keep(value, ObjectValue(name))
        if is_model(value):
            return self._keep(value, self._plant(value.state_dict(keep_vars=True), depth))
        if isinstance(value, Mapping):
            tree = self._keep(value, DictValue())
            tree.entries.update(self._plant_entries(value.items(), depth))
            own = dict(self._plant_entries(_attributes(value), depth))
            tree.attributes = DictValue(entries=own) if own and isinstance(value, dict) else None
            return tree
        if isinstance(value, list | tuple | deque | set | frozenset):
            if FLAT.issuperset(map(type, value)):
                return self._keep(value, tuple(value))
            items = self._keep(value, [])
            items += (self.plant(one, depth + 1) for one in value)
            return items
        made = self._keep(value, ObjectValue(name, is_new=True))
        made.state = DictValue(entries=dict(self._plant_entries(_attributes(value), depth)))
        return made

    def _plant_entries(self, entries: Any, depth: int) -> Iterator[tuple[Any, Any]]:
        return ((dict_key(key), self.plant(one, depth + 1)) for key, one in entries)

    def _keep(self, value: Any, tree: Any) -> Any:
        self._planted[id(value)] = value, tree
        return tree


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that an object itself has, those in slots too."""
    yield from getattr(value, "__dict__", {}).items()
    for kind in _mro(value):
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            is_private = slot.startswith("__") and not slot.endswith("__")
            name = f"_{kind.__name__.lstrip('_')}{slot}" if is_private else slot
            if slot not in {"__dict__", "__weakref__"} and hasattr(value, name):
                yield name, getattr(value, name)
