"""A nested value in memory with other tensors in it: dicts, lists and entries as they were."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from ckptsurgeon.checkpoints.planting import is_model, is_tensor, text_dtype
from ckptsurgeon.checkpoints.torch.nesting import FLAT, MAX_DEPTH

METADATA = "_metadata"

HOLE = object()
"""What stands for a tensor that has no other: it is left out."""


class Copier:
    """Copies values with `tensors` for those of these ids; `placed` are the ids that were met.

    A tensor of another id is left out; in a list None takes its place, so that what follows keeps
    its number. What is neither a container nor a model is the very object that it was.
    """

    def __init__(self, tensors: Mapping[int, Any]) -> None:
        self._tensors = tensors
        self._copies: dict[int, tuple[Any, Any]] = {}  # with the values, whose ids stay theirs
        self.placed: set[int] = set()

    def copy(self, value: Any, depth: int = 0) -> Any:
        """The copy; HOLE for what holds tensors alone of which none has another."""
        if type(value) in FLAT or depth > MAX_DEPTH:
            return value
        if is_tensor(value) and not text_dtype(value):
            self.placed.add(id(value))
            return self._tensors.get(id(value), HOLE)
        if id(value) not in self._copies:
            self._copies[id(value)] = value, self._copy_container(value, depth + 1)
        return self._copies[id(value)][1]

    def _copy_container(self, value: Any, depth: int) -> Any:
        if is_model(value):
            return self.copy(value.state_dict(keep_vars=True), depth)
        if isinstance(value, Mapping):
            return self._copy_dict(value, depth)
        if isinstance(value, list | tuple):
            return self._copy_list(value, depth)
        return value

    def _copy_dict(self, value: Mapping[Any, Any], depth: int) -> Any:
        """A dict, ordered if it was, with torch's `_metadata` if it had that."""
        made: Any = OrderedDict() if isinstance(value, OrderedDict) else {}
        self._copies[id(value)] = value, made  # which what it holds may lead to
        entries = ((key, self.copy(one, depth)) for key, one in value.items())
        made.update((key, one) for key, one in entries if one is not HOLE)
        metadata = getattr(value, METADATA, None)
        if metadata is not None and isinstance(made, OrderedDict):
            setattr(made, METADATA, OrderedDict((k, dict(v)) for k, v in metadata.items()))
        return made if made or not value else HOLE

    def _copy_list(self, value: list[Any] | tuple[Any, ...], depth: int) -> Any:
        made: list[Any] = []
        self._copies[id(value)] = value, made
        made += (self.copy(one, depth) for one in value)
        if made and all(item is HOLE for item in made):
            return HOLE
        made[:] = (None if item is HOLE else item for item in made)
        if isinstance(value, list):
            return made
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
