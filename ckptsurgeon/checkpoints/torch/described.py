"""What an entry of a torch file is, in a few words that are safe to print.

Texts from files are strangers' texts: they are cut, and their control characters escaped.
"""

from __future__ import annotations

import itertools
from typing import Any

from ckptsurgeon.checkpoints.base import Opaque
from ckptsurgeon.checkpoints.torch.arrays import scalar_of
from ckptsurgeon.checkpoints.torch.inert import (
    DTYPE_CODES,
    ArrayRecord,
    DictValue,
    GlobalName,
    ObjectValue,
    OddKey,
    StorageRecord,
    Stretch,
    TensorRecord,
)
from ckptsurgeon.checkpoints.torch.keys import integer_text, key_text
from ckptsurgeon.specs import TensorSpec

WIDTH = 60
"""Longest text of a value."""

CUT = "…"
"""What a text ends in that is cut."""

Text = tuple[str, str]


def opaque(key: str, value: Any) -> Opaque:
    """The entry for people: its key, its type, and a short text of it."""
    kind, text = describe(value)
    is_told = value is None or isinstance(value, (bool, int, float, str, bytes, GlobalName))
    return Opaque(key, kind, text, is_told and not text.endswith(CUT))


def describe(value: Any) -> Text:
    """Type and short text of an inert value, never longer than a line."""
    if value is None or isinstance(value, (bool, float)):
        return type(value).__name__, str(value)
    if isinstance(value, int):
        return "int", _cut(integer_text(value))
    if isinstance(value, (str, bytes)):
        return type(value).__name__, _cut(repr(value[: WIDTH + 1]))
    if isinstance(value, (list, tuple)):
        return type(value).__name__, _items(value)
    if isinstance(value, DictValue):
        return value.kind, _entries(value)
    return _record(value)


def _record(value: Any) -> Text:
    if isinstance(value, TensorRecord):
        return "Tensor", str(TensorSpec(value.dtype, value.shape))
    if isinstance(value, ArrayRecord):
        return "numpy.ndarray", escaped(value.text)
    if isinstance(value, Stretch):
        return ("str" if value.is_text else "bytes"), f"{value.packed} bytes"
    if isinstance(value, StorageRecord):
        return escaped(value.kind), f"{value.numel} items"
    if isinstance(value, GlobalName):
        if value.module == "torch" and value.name in DTYPE_CODES:
            return "dtype", f"torch.{value.name}"
        return "type", escaped(str(value))
    return _object(value)


def _object(value: ObjectValue) -> Text:
    scalar = scalar_of(value)
    if scalar is not None:
        return f"numpy.{scalar[0]}", str(scalar[1])
    if value.unreadable is not None:
        return "Tensor", escaped(value.unreadable.what)
    kind = escaped(str(value.name))
    held = value.state if isinstance(value.state, DictValue) else value.entries
    if held is not None:
        return kind, _entries(held)
    if value.items:
        return kind, _items(value.items)
    return kind, ", ".join(_plain(argument) for argument in value.arguments[:4])


def _plain(value: Any) -> str:
    """A text of a value inside another one; no deeper than this."""
    if isinstance(value, DictValue):
        return f"{value.kind} of {len(value.entries)}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, ObjectValue):
        return escaped(str(value.name))
    if isinstance(value, OddKey):
        return escaped(key_text(value))
    return describe(value)[1]


def _items(values: list[Any] | tuple[Any, ...]) -> str:
    shown = ", ".join(_plain(value) for value in values[:8])
    return f"[{shown}]" if len(values) <= 8 and len(shown) <= WIDTH else f"{len(values)} items"


def _entries(value: DictValue) -> str:
    count = len(value.entries)
    if not count:
        return "empty"
    names = ", ".join(_plain(key) for key in itertools.islice(value.entries, 4))
    noun = "entry" if count == 1 else "entries"
    return f"{count} {noun}: {names}{', …' if count > 4 else ''}"


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + CUT


def escaped(text: str) -> str:
    """The text, cut, with everything that a terminal would obey written out."""
    return _cut(repr(text[: WIDTH + 1])[1:-1])
