"""Keys of dicts in torch files: what they are compared by, and what they are called."""

from __future__ import annotations

import itertools
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

MAX_KEY = 1000
"""Parts of a key that is written again: tuples may share parts, and unfold to very many."""

MAX_BITS = 2048
"""Bits of an integer that is written in digits: more than a pickle says."""

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


def is_plain_key(key: Any) -> bool:
    """Whether a torch file can have the key: numbers, texts, bytes, and tuples of some of these."""
    waiting, left = [(key, MAX_PARTS)], MAX_KEY
    while waiting:
        part, depth = waiting.pop()
        left -= 1
        if isinstance(part, OddKey):
            part = part.value
        if isinstance(part, tuple) and depth > 0 and len(part) <= left:
            waiting += ((one, depth - 1) for one in part)
        elif part is not None and not isinstance(part, (bool, int, float, str, bytes)):
            return False
        if left < 0:
            return False
    return True


def named_entries(value: DictValue) -> Iterator[tuple[str, Any, Any]]:
    """The entries of a dict, each with the piece that its key gives to names, and the key.

    Of keys that are written alike, as 1 and "1", the later ones are told by their type as well.
    """
    seen: dict[str, int] = {}
    for key, entry in value.entries.items():
        piece = key_text(key)
        if piece in seen:
            piece = f"{piece} ({type(key.value if isinstance(key, OddKey) else key).__name__})"
        while piece in seen:
            seen[piece] += 1
            piece = f"{piece} {seen[piece]}"
        seen[piece] = 1
        yield piece, key, entry


def key_text(key: Any) -> str:
    """The piece that a dict key gives to a dotted key: text as it is, else as Python writes it."""
    if isinstance(key, str):
        return key
    text = "".join(itertools.islice(_spell(key, MAX_PARTS), LONGEST_TEXT + 1))
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def integer_text(value: int) -> str:
    """The integer as Python writes it, which has digits for none of any size."""
    return repr(value) if value.bit_length() <= MAX_BITS else hex(value)


def _spell(key: Any, depth: int) -> Iterator[str]:
    """How Python writes a value, piece by piece: objects by their class and their parts.

    Pieces are made when they are asked for, since parts that are shared unfold to very many.
    """
    while isinstance(key, OddKey):
        key = key.value
    scalar = scalar_of(key)
    if isinstance(key, int):
        yield integer_text(key)
    elif key is None or isinstance(key, (float, str, bytes)):
        yield repr(key[:LONGEST_TEXT] if isinstance(key, (str, bytes)) else key)
    elif isinstance(key, GlobalName):
        yield str(key)
    elif isinstance(key, TensorRecord):
        yield "<tensor>"
    elif scalar is not None:
        yield str(scalar[1])
    elif not depth:
        yield "…"
    elif isinstance(key, (tuple, list)):
        yield "("
        yield from _spell_all(key, depth, ", ")
        yield ",)" if len(key) == 1 else ")"
    elif isinstance(key, ObjectValue):
        yield f"<{key.name}"
        yield from _spell_all((*key.arguments,), depth, " ", before=" ")
        yield ">"
    else:
        yield "<object>"


def _spell_all(
    parts: tuple[Any, ...] | list[Any], depth: int, between: str, before: str = ""
) -> Iterator[str]:
    for number, part in enumerate(parts[:MAX_PARTS]):
        yield between if number else before
        yield from _spell(part, depth // 2)
    if len(parts) > MAX_PARTS:
        yield f"{between}…"
