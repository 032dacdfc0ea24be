"""Objects of classes that nobody imports: which of their parts have names, and which are buried.

What a class does with what it is given can't be known, so only attributes, entries, items and the
parts of tuples are taken for what they look like.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptsurgeon.checkpoints.torch.inert import (
    ArrayRecord,
    DictValue,
    GlobalName,
    ObjectValue,
    TensorRecord,
)
from ckptsurgeon.checkpoints.torch.keys import key_text, named_entries

SETS = frozenset((GlobalName("builtins", "set"), GlobalName("builtins", "frozenset")))


SCRIPT_OBJECT = GlobalName("torch", "ScriptObject")

GROUPS = ("_parameters", "_buffers", "_modules")
"""The attributes of an nn.Module that its state dict is made of."""


def is_module(value: Any) -> bool:
    """True for a pickled nn.Module and for an object of TorchScript."""
    if not isinstance(value, ObjectValue) or not isinstance(value.state, DictValue):
        return False
    return value.name.module.startswith("__torch__") or "_parameters" in value.state.entries


def object_children(value: ObjectValue) -> Iterator[tuple[str, Any]]:
    """The parts of an object that have names: a module's state, else entries and attributes."""
    if value.unreadable is not None:
        return
    if is_module(value):
        yield from _module_children(value.state)
        return
    seen: dict[str, Any] = {}
    for piece, entry in _parts(value):
        if piece not in seen or seen[piece] is not entry:  # two of one name are told later
            seen[piece] = entry
            yield piece, entry


def _parts(value: ObjectValue) -> Iterator[tuple[str, Any]]:
    """Entries, items and attributes; an attribute may be an entry as well."""
    groups = [value.entries, *attributes(value.state)]
    for group in groups:
        if group is not None:
            yield from ((piece, entry) for piece, _, entry in named_entries(group))
    yield from ((str(index), entry) for index, entry in enumerate(_items(value)))


def attributes(state: Any) -> list[DictValue]:
    """The attributes that a state gives: a dict, or with slots a pair of dicts."""
    if isinstance(state, DictValue):
        return [state]
    if isinstance(state, tuple) and len(state) == 2:
        parts = [part for part in state if isinstance(part, DictValue)]
        return parts if len(parts) + state.count(None) == 2 else []
    return []


def _items(value: ObjectValue) -> list[Any] | tuple[Any, ...]:
    """What a list, a tuple or a set holds, of any class."""
    if value.name in SETS:
        return value.arguments[0] if isinstance(next(iter(value.arguments), None), list) else ()
    if value.items or not value.is_new:
        return value.items
    first = value.arguments[0] if len(value.arguments) == 1 else None
    return first if isinstance(first, tuple) else value.arguments


def sequence_of(value: ObjectValue) -> list[Any] | tuple[Any, ...] | None:
    """The items of a list, a tuple or a deque of any class; None for what has other parts."""
    has_others = value.entries is not None or attributes(value.state) or is_module(value)
    items = _items(value)
    return items if items and not has_others and value.name not in SETS else None


def buried(value: ObjectValue) -> tuple[Any, ...]:
    """The parts that no name leads to: what a function was called with, and states of any form."""
    if is_module(value) or value.unreadable is not None:
        return ()
    is_walked = value.name in SETS or (value.is_new and not value.items)
    called = () if is_walked else (value.arguments,)
    is_told = attributes(value.state) or value.state is value
    return (*called, *(() if is_told else (value.state,)))


def all_parts(value: ObjectValue) -> tuple[Any, ...]:
    """What an object was pickled with, as it stands: many objects may share one of these."""
    if is_module(value) or value.unreadable is not None:
        return tuple(part for _, part in object_children(value))
    return value.entries, value.items, value.arguments, value.state


def extras(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that a tensor or a dict has beside its values, with their names."""
    for group in extra_groups(value):
        yield from ((piece, entry) for piece, _, entry in named_entries(group))


def extra_groups(value: Any) -> list[DictValue]:
    """The dicts of these attributes, which many values may share."""
    is_unreadable = isinstance(value, ObjectValue) and value.unreadable is not None
    if (isinstance(value, TensorRecord) or is_unreadable) and value.state is not None:
        return attributes(value.state)
    if isinstance(value, DictValue) and value.attributes is not None:
        return [value.attributes]
    return []


def scanned(value: Any) -> int:
    """The entries of a module's groups, and the names that don't persist: all are looked at."""
    if not is_module(value):
        return 0
    names = _listed(value.state.entries.get("_non_persistent_buffers_set"))
    return len(names) + sum(len(group.entries) for group in _groups(value.state).values())


def module_attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """What a pickled nn.Module has beside its state: buffers that don't persist, plain attributes,
    lists of modules."""
    entries = value.state.entries if is_module(value) else {}
    if "_parameters" in entries:
        passing = _passing(value.state)
        yield from ((key_text(key), entry) for key, entry in passing.items())
        others = ((key, entry) for key, entry in entries.items() if key not in GROUPS)
        yield from ((key_text(key), entry) for key, entry in others if not _is_packed(entry))


def _module_children(state: DictValue) -> Iterator[tuple[str, Any]]:
    """What a module's state dict would hold: parameters, buffers that persist, submodules, and the
    packed weights of quantized layers."""
    passing = _passing(state)
    yield from ((key_text(key), entry) for key, entry in state.entries.items() if _is_packed(entry))
    for name, group in _groups(state).items():
        for key, entry in group.entries.items():
            if isinstance(entry, _WEIGHTY) and not (name == "_buffers" and key in passing):
                yield key_text(key), entry


def _groups(state: DictValue) -> dict[str, DictValue]:
    """The dicts of an nn.Module's state by name; TorchScript keeps all in one."""
    if "_parameters" not in state.entries:
        return {"": state}
    groups = {name: state.entries.get(name) for name in GROUPS}
    return {name: group for name, group in groups.items() if isinstance(group, DictValue)}


def _is_packed(value: Any) -> bool:
    """Whether a value is an object of torch's own in C++, as a quantized layer has its weights."""
    return isinstance(value, ObjectValue) and value.name == SCRIPT_OBJECT


def _passing(state: DictValue) -> dict[str, Any]:
    """The buffers that don't persist."""
    names = _names(state.entries.get("_non_persistent_buffers_set"))
    buffers = _groups(state).get("_buffers")
    entries = buffers.entries if buffers and names else {}
    return {key: entry for key, entry in entries.items() if key in names}


_WEIGHTY = (TensorRecord, ArrayRecord, ObjectValue, DictValue, list, tuple)
"""What may be or hold tensors; a module's other attributes are no part of its state dict."""


def _names(value: Any) -> frozenset[str]:
    """The texts in a set."""
    return frozenset(name for name in _listed(value) if isinstance(name, str))


def _listed(value: Any) -> list[Any]:
    """The items of a set as the pickle spells it: a call with a list."""
    held = value.arguments[0] if isinstance(value, ObjectValue) and value.arguments else None
    return held if isinstance(held, list) else []
