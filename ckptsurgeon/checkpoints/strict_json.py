"""JSON from strangers: objects of distinct names, and safe words about what is wrong in them."""

from __future__ import annotations

import json
import reprlib
from typing import Any, NoReturn

import msgspec

from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import CheckpointError

MAX_JSON = 256 << 20
"""Bytes of the longest index or spec that is read; an index of a million keys takes half."""

TOO_DEEP = "nested far deeper than any that tools write"

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 80
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict = 2, 8, 4


def shorten(value: object) -> str:
    """A value from a file as a short piece of plain ASCII, quoted where it is text."""
    return _SHORT.repr(value).encode("ascii", "backslashreplace").decode("ascii")


def shorten_all(values: list[str], most: int = 5) -> str:
    """The first few of some names from a file, and how many more there are."""
    return list_some(map(shorten, values), most)


def load_object(text: bytes) -> dict[str, Any]:
    """The JSON object that UTF-8 bytes hold.

    Raises CheckpointError for anything else, a name that stands twice in one object (however its
    letters are escaped), and half a surrogate pair, which no other file could hold.
    """
    try:
        decoded = text.decode("utf-8")
        found = json.loads(
            decoded, object_pairs_hook=distinct, parse_constant=_no_number, parse_int=_integer
        )
        if "\\u" in decoded:
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise CheckpointError(f"its JSON is not UTF-8 text: {error.reason}") from error
    except RecursionError as error:
        raise CheckpointError(f"its JSON is {TOO_DEEP}") from error
    except ValueError as error:
        raise CheckpointError(f"its JSON can't be read: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"its JSON is {shorten(found)}, wanted an object")
    return found


class _Index(msgspec.Struct, forbid_unknown_fields=True):
    """An index as the hub's tools write it."""

    weight_map: dict[str, str]
    metadata: msgspec.Raw = msgspec.Raw(b"")


_INDEX_DECODER = msgspec.json.Decoder(_Index)


def load_index(text: bytes) -> dict[str, Any]:
    """The object of `load_object`, in a quarter of the time where it is a plain index.

    A decoder for these very types doesn't see names that stand twice. But without escapes each
    entry has four quotes, so that one name too many shows in their sum.
    """
    try:
        found = _INDEX_DECODER.decode(text)
        metadata = bytes(found.metadata)
        entries: dict[str, Any] = load_object(metadata) if metadata else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, CheckpointError):
        return load_object(text)
    names = 2 if metadata else 1
    quotes = 2 * names + 4 * len(found.weight_map) + metadata.count(b'"')
    if b"\\" in text or text.count(b'"') != quotes:
        return load_object(text)
    return {"metadata": entries, "weight_map": found.weight_map}


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dict; raises CheckpointError where a name stands twice."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise CheckpointError(f"the name {shorten(name)} stands twice in one JSON object")
        seen.add(name)
    return found


def _integer(text: str) -> int:
    if text == "-0":
        raise ValueError("-0 is no integer")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON's")
