"""Inputs near valid ones: seeds that were edited, as bytes, as JSON, or as lines of text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

INTEGERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)

NUMBERS = [
    number.to_bytes(size, "little")
    for size in (1, 2, 4, 8)
    for number in INTEGERS
    if number < 256**size
]

Edit = Callable[[bytes], bytes]


def _spot(data: bytes, at: float) -> int:
    return int(at * (len(data) + 1))


def _edit(kind: str, at: float, length: int, other: bytes) -> Edit:
    """One change of some bytes, at a place that is a part of their length."""

    def change(data: bytes) -> bytes:
        start = _spot(data, at)
        part, end = data[start : start + length], data[start + length :]
        return (
            data[:start]
            + {
                "insert": other + data[start:],
                "replace": other + data[start + len(other) :],
                "cut": end,
                "end": b"",
                "double": part + part + end,
                "many": part * 50 + end,
                "flip": bytes(255 - one for one in part[:1]) + data[start + 1 :],
            }[kind]
        )

    return change


KINDS = ("insert", "replace", "cut", "end", "double", "many", "flip")


def edits(others: st.SearchStrategy[bytes]) -> st.SearchStrategy[Edit]:
    """Changes that put in some of these bytes, or move what is there."""
    return st.builds(_edit, st.sampled_from(KINDS), st.floats(0, 1), st.integers(1, 40), others)


def near(seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> st.SearchStrategy[bytes]:
    """A seed with a few changes, a seed put behind another's beginning, or any bytes."""
    others = st.one_of(
        st.sampled_from([*tokens, b"\0"]), st.sampled_from(NUMBERS), st.binary(max_size=4)
    )
    return st.one_of(_near(seeds, others), st.binary(max_size=300))


def texts_near(seeds: Sequence[bytes], tokens: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """As `near`, with changes that seldom leave what is text."""
    others = st.one_of(
        st.sampled_from(tokens), st.sampled_from(tokens), st.text(max_size=3).map(_encoded)
    )
    return st.one_of(_near(seeds, others), st.text(max_size=200).map(_encoded))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _near(seeds: Sequence[bytes], others: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    few = st.lists(edits(others), max_size=2)
    changed = st.builds(_changed, st.sampled_from(seeds), few)
    more = st.builds(_changed, changed, st.lists(edits(others), max_size=4))
    return st.one_of(changed, changed, more, st.builds(_spliced, changed, changed, st.floats(0, 1)))


def _changed(data: bytes, changes: Sequence[Edit]) -> bytes:
    for change in changes:
        data = change(data)[:1_000_000]
    return data


def _spliced(one: bytes, other: bytes, at: float) -> bytes:
    return one[: _spot(one, at)] + other[_spot(other, at) :]


# --- JSON -----------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.sampled_from(
        [None, True, False, -1, 0, 1, 2, 64, 2**31, 2**63, 2**64, 10**30, 0.5, "", "a"]
    ),
    st.sampled_from(["F32", "F4", "C128", "U8", "I64", "BF16", "\ud800", "\0", "__metadata__"]),
    st.text(max_size=6),
)

TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def trees_near(seeds: Sequence[Any], words: Sequence[str] = ()) -> st.SearchStrategy[Any]:
    """A JSON value with a few of its parts put elsewhere, taken out, replaced, or nudged."""
    step = st.tuples(
        st.lists(st.integers(0, 40), max_size=6),
        st.sampled_from(("nudge", "nudge", "copy", "replace", "drop", "rename")),
        st.one_of(TREES, st.sampled_from([*words, 0])),
        st.lists(st.integers(0, 40), max_size=6),
    )
    return st.builds(_moved, st.sampled_from(seeds), st.lists(step, min_size=1, max_size=3))


def _moved(tree: Any, steps: Sequence[tuple[list[int], str, Any, list[int]]]) -> Any:
    whole = json.loads(json.dumps(tree))
    for path, kind, value, other in steps:
        owner, name = _walk(whole, path)
        if owner is None:
            continue
        if kind == "drop":
            del owner[name]
        elif kind == "rename" and isinstance(owner, dict):
            owner[str(value)[:20]] = owner.pop(name)
        elif kind == "copy":
            found, key = _walk(whole, other)
            owner[name] = json.loads(json.dumps(found[key]))
        else:
            owner[name] = _nudged(owner[name], value, other) if kind == "nudge" else value
    return whole


def _nudged(found: Any, value: Any, numbers: Sequence[int]) -> Any:
    """A value of the same type, as far as one comes to mind."""
    number = (*numbers, 1)[0]
    if isinstance(found, bool):
        return not found
    if isinstance(found, int):
        return found + number - 20 if numbers else -found
    if isinstance(found, str):
        return str(value)
    if isinstance(found, list) and found:
        at = number % len(found)
        return [*found[at:], *found[: at + len(numbers) % 2]]
    return value


def _walk(tree: Any, path: Sequence[int]) -> tuple[Any, Any]:
    """The container and the name in it that the numbers lead to, as far as there is any."""
    owner: Any = None
    name: Any = None
    for number in (*path, 0):
        if not isinstance(tree, dict | list) or not tree:
            break
        owner = tree
        name = list(tree)[number % len(tree)] if isinstance(tree, dict) else number % len(tree)
        tree = owner[name]
    return owner, name


def dumped(tree: Any) -> bytes:
    """JSON as tools write it, without spaces; halves of surrogate pairs stay escaped."""
    return json.dumps(tree, separators=(",", ":")).encode()
