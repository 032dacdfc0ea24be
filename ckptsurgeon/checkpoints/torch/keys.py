"""Keys of dicts in torch files: what they are compared by, and what they are called."""

from __future__ import annotations

from typing import Any

from ckptsurgeon.checkpoints.torch.arrays import scalar_of
from ckptsurgeon.checkpoints.torch.inert import GlobalName, OddKey, Stretch
from ckptsurgeon.errors import CheckpointError

HASHED_INTEGERS = 2**60
"""Integers below hash to themselves; beyond, thousands can be made to share one hash."""

MAX_PARTS = 16
"""Parts of a tuple that its name spells out, and how deep they are."""


def dict_key(key: Any) -> Any:
    """The key itself where hashing it is cheap and spread, else an OddKey.

    An integer of NumPy is one: it finds what the plain integer finds.
    """
    if isinstance(key, (str, bytes, bool)) or key is None:
        return key
    if isinstance(key, Stretch):
        raise CheckpointError(f"a key of {key.packed} bytes, far longer than any name")
    scalar = scalar_of(key)
    if scalar is not None and type(scalar[1]) is int:
        key = scalar[1]
    if isinstance(key, int) and abs(key) < HASHED_INTEGERS:
        return key
    return OddKey(key)


def key_text(key: Any) -> str:
    """The piece that a dict key gives to a dotted key: text as it is, else as Python writes it."""
    return key if isinstance(key, str) else _spell(key, MAX_PARTS)


def _spell(key: Any, depth: int) -> str:
    """How Python writes a value; objects by their class alone."""
    if isinstance(key, OddKey):
        return _spell(key.value, depth)
    if isinstance(key, tuple) and depth:
        parts = [_spell(part, depth // 2) for part in key[:MAX_PARTS]]
        parts += ["…"] * (len(key) > MAX_PARTS)
        return f"({', '.join(parts)}{',' * (len(key) == 1)})"
    if key is None or isinstance(key, (bool, int, float, str, bytes)):
        return repr(key)
    scalar = scalar_of(key)
    if scalar is not None:
        return str(scalar[1])
    name = key if isinstance(key, GlobalName) else getattr(key, "name", None)
    return str(name) if isinstance(key, GlobalName) else f"<{name or type(key).__name__}>"
