"""What two halves say beside their tensors' values: ties, and entries that are no tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.comparing.halves import Half
from ckptsurgeon.cutting import list_some
from ckptsurgeon.specs import plural

MOST_NAMED = 4
"""Entries that a note names."""


def tell_beside(first: Half, second: Half, *, has_entries: bool) -> Iterator[tuple[str, str]]:
    """What is partly the other half's own, or tied in one alone; (`has_entries`) other entries.

    Before that stands what the readers of both had to say.
    """
    yield from (("read", note) for note in (*first.notes, *second.notes))
    if first.mixed:
        told = f"{plural(len(first.mixed), 'tensor')} with parts that are B's own"
        yield "rules", f"{told}, as {next(name for name in first.specs if name in first.mixed)}"
    if first.contents is None or second.contents is None:
        return
    names = first.specs.keys() & second.specs.keys()
    yield from _tell_ties(first.contents, second.contents, names, "tied in A, apart in B")
    yield from _tell_ties(second.contents, first.contents, names, "tied in B, apart in A")
    if not has_entries:
        return
    a, b = first.contents, second.contents
    yield from _tell_entries("metadata", _metadata(a), _metadata(b))
    yield from _tell_entries("entry", _entries(a, b), _entries(b, a))
    yield from (("metadata", text) for text in _tell_versions(first.contents, second.contents))
    if unsure := list(_alike(first.contents, second.contents)):
        text = (
            f"alike in type and size, and not compared any further: {list_some(unsure, MOST_NAMED)}"
        )
        yield "entry", text


def _tell_versions(first: Contents, second: Contents) -> Iterator[str]:
    """Modules of both whose versions (torch's `_metadata`) are not the same."""
    one, other = first.module_metadata or {}, second.module_metadata or {}
    differing = [name for name in one.keys() & other.keys() if one[name] != other[name]]
    if differing:
        number, name = plural(len(differing), "module"), min(differing)
        told = f"{dict(one[name])} in A, {dict(other[name])} in B"
        yield f"other `_metadata` of {number}, as {name or 'the whole'}: {told}"


def _tell_ties(
    tied: Contents, other: Contents, names: Collection[str], words: str
) -> Iterator[tuple[str, str]]:
    """The tied ones among some names of both halves that are apart in the other."""
    storage = {name: number for number, group in enumerate(other.aliases) for name in group}
    for group in tied.aliases:
        there = [name for name in group if name in names]
        if len({storage.get(name, name) for name in there}) > 1:
            yield "ties", f"{words}: {' = '.join(there)}"


def _metadata(contents: Contents) -> Mapping[str, str]:
    return {name: text for name, text in contents.metadata.items() if name != "format"}


def _entries(contents: Contents, other: Contents) -> Mapping[str, str]:
    """The entries, and what is a tensor here and an entry in the other."""
    tensors = {one.key: "a tensor" for one in other.opaque if one.key in contents.specs}
    return tensors | {one.key: f"{one.kind} {one.text}" for one in contents.opaque}


def _tell_entries(
    kind: str, first: Mapping[str, str], second: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys((*first, *second)):
        a, b = first.get(name), second.get(name)
        if a != b:
            yield kind, f"{name}: {_of(a, 'A')}, {_of(b, 'B')}"


def _alike(first: Contents, second: Contents) -> Iterator[str]:
    """The entries of which equal texts don't tell all."""
    there = set(second.opaque)
    yield from (one.key for one in first.opaque if one in there and not one.is_whole)


def _of(text: str | None, half: str) -> str:
    return f"absent in {half}" if text is None else f"{text} in {half}"
