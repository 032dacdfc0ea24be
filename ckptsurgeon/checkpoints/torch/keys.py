"""Keys of dicts in torch files: what they are compared by, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptsurgeon.checkpoints.torch.arrays import scalar_of, scalar_text
from ckptsurgeon.checkpoints.torch.inert import (
    DictValue,
    GlobalName,
    ObjectValue,
    OddKey,
    Stretch,
    TensorRecord,
)
from ckptsurgeon.errors import CheckpointError

HASHED_INTEGERS = 2**60
"""Integers below hash to themselves; beyond, thousands can be made to share one hash."""

MAX_PARTS = 16
"""Parts of a key that its name spells out, and how deep they are."""

LONGEST_TEXT = 200
"""Characters of a name that is no text in the file."""


def dict_key(key: Any) -> Any:
    """The key itself where hashing it is cheap and spread, else an OddKey.

    Numbers and texts of NumPy are plain ones: these find what the others find.
    """
    if isinstance(key, (str, bytes, bool)) or key is None:
        return key
    if isinstance(key, Stretch):
        raise CheckpointError(f"a key of {key.packed} bytes, far longer than any name")
    scalar = scalar_of(key)
    if scalar is not None:
        key = scalar[1]
    text = scalar_text(key)
    if text is not None:
        return text
    if isinstance(key, int) and abs(key) < HASHED_INTEGERS:
        return key
    return OddKey(key)


def is_plain_key(key: Any, depth: int = MAX_PARTS) -> bool:
    """Whether a torch file can have the key: numbers, texts, bytes, and tuples of these."""
    if isinstance(key, OddKey):
        return is_plain_key(key.value, depth)
    if isinstance(key, tuple):
        return depth > 0 and all(is_plain_key(part, depth - 1) for part in key)
    return key is None or isinstance(key, (bool, int, float, str, bytes))


def named_entries(value: DictValue) -> Iterator[tuple[str, Any, Any]]:
    """The entries of a dict, each with the piece that its key gives to names, and the key.

    Of keys that are written alike, as 1 and "1", the later ones are told by their type as well.
    """
    seen: set[str] = set()
    for key, entry in value.entries.items():
        piece = key_text(key)
        if piece in seen:
            piece = f"{piece} ({type(key.value if isinstance(key, OddKey) else key).__name__})"
        while piece in seen:
            piece += "'"
        seen.add(piece)
        yield piece, key, entry


def key_text(key: Any) -> str:
    """The piece that a dict key gives to a dotted key: text as it is, else as Python writes it."""
    if isinstance(key, str):
        return key
    text = _spell(key, MAX_PARTS)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def _spell(key: Any, depth: int) -> str:
    """How Python writes a value; objects by their class and what they are made from."""
    if isinstance(key, OddKey):
        return _spell(key.value, depth)
    if key is None or isinstance(key, (bool, int, float, str, bytes)):
        return repr(key[:LONGEST_TEXT] if isinstance(key, (str, bytes)) else key)
    if isinstance(key, GlobalName):
        return str(key)
    if isinstance(key, TensorRecord):
        return "<tensor>"
    if not depth:
        return "…"
    if isinstance(key, (tuple, list)):
        parts = _spell_all(key, depth)
        return f"({', '.join(parts)}{',' * (len(key) == 1)})"
    scalar = scalar_of(key)
    if scalar is not None:
        return str(scalar[1])
    if not isinstance(key, ObjectValue):
        return "<object>"
    return f"<{' '.join((str(key.name), *_spell_all(key.arguments, depth)))}>"


def _spell_all(parts: tuple[Any, ...] | list[Any], depth: int) -> list[str]:
    told = [_spell(part, depth // 2) for part in parts[:MAX_PARTS]]
    return told + ["…"] * (len(parts) > MAX_PARTS)
