"""Objects of TorchScript: which of their entries are parameters and buffers, as their code lists.

The code is text beside the pickle, a file for the classes of a namespace; it is never compiled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ckptsurgeon.checkpoints.torch.inert import DictValue, GlobalName, ObjectValue
from ckptsurgeon.checkpoints.torch.objects import GROUPS, is_module
from ckptsurgeon.errors import CheckpointError

NAMESPACE = "__torch__"

MAX_CODE = 64 << 20
"""Bytes of code that are read of one file; those of large networks are a few megabytes."""

CLASS = re.compile(
    rb"^class (\w+)\(Module\):\n"
    rb"\s+__parameters__ = \[([^\]\n]*)\]\n\s+__buffers__ = \[([^\]\n]*)\]",
    re.MULTILINE,
)
"""How a class begins, with the names of its parameters and of its buffers."""

NAME = re.compile(rb'"([^"\\]*)"')

Names = tuple[frozenset[str], frozenset[str]]
"""Those of a class's parameters and of its buffers."""


def sort_entries(tree: Any, read: Callable[[str], bytes]) -> None:
    """Sorts the entries of TorchScript's modules into the groups that an nn.Module pickles.

    `read` gives the code of a path below `code/`, of which no more than MAX_CODE is read. What has
    no class there stays as it is.
    """
    code = _Code(read)
    waiting, seen = [tree], set[int]()
    while waiting:
        value = waiting.pop()
        if not isinstance(value, ObjectValue) or id(value) in seen or not is_module(value):
            continue
        seen.add(id(value))
        waiting += value.state.entries.values()
        names = code.names(value.name)
        if names is not None and not set(GROUPS) & value.state.entries.keys():
            value.state = DictValue(entries=_sorted(value.state.entries, *names))


def _sorted(
    entries: Mapping[Any, Any], parameters: frozenset[str], buffers: frozenset[str]
) -> dict[Any, Any]:
    groups: dict[str, dict[Any, Any]] = {name: {} for name in GROUPS}
    others: dict[Any, Any] = {}
    for key, entry in entries.items():
        if key in parameters:
            groups["_parameters"][key] = entry
        elif key in buffers:
            groups["_buffers"][key] = entry
        elif is_module(entry):
            groups["_modules"][key] = entry
        else:
            others[key] = entry
    return {**{name: DictValue(entries=group) for name, group in groups.items()}, **others}


class _Code:
    """The classes of an archive, by their names; each file is read once."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read, self._left = read, MAX_CODE
        self._files: dict[str, dict[str, Names]] = {}

    def names(self, name: GlobalName) -> Names | None:
        """The names of a class's parameters and buffers; None where its code is not there."""
        if name.module not in self._files:
            self._files[name.module] = self._classes(name.module)
        return self._files[name.module].get(name.name)

    def _classes(self, module: str) -> dict[str, Names]:
        if not re.fullmatch(rf"{NAMESPACE}(?:\.\w+)*", module):
            return {}
        code = self._read(f"{module.replace('.', '/')}.py")
        self._left -= len(code)
        if self._left < 0:
            raise CheckpointError(f"its code has over {MAX_CODE:,} bytes")
        classes = (found.groups() for found in CLASS.finditer(code))
        return {name.decode(): (_names(own), _names(kept)) for name, own, kept in classes}


def _names(listed: bytes) -> frozenset[str]:
    return frozenset(found.decode("utf-8", "replace") for found in NAME.findall(listed))
