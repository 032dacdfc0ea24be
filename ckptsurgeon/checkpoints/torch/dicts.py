"""Which dicts of nested values hold tensors, and how they lie in one another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ckptsurgeon.checkpoints.nesting import INTEGER_NAME, Nesting, Path
from ckptsurgeon.checkpoints.torch.inert import DictValue, is_tensor
from ckptsurgeon.checkpoints.torch.keys import named_entries
from ckptsurgeon.checkpoints.torch.nesting import children, has_parts, is_container
from ckptsurgeon.checkpoints.torch.objects import is_module


def find_nesting(tree: Any, root: str) -> Nesting:
    """How the tensors below a root lie in the dicts of a tree."""
    path, prefix = _find(tree, root)
    below = {
        way[len(path) :]: holder
        for way, holder in holders(tree)
        if way[: len(path)] == path and _is_below(way[len(path) :], prefix)
    }
    wrappers = tuple(way for way in below if way)
    if not (path or wrappers):
        return Nesting(prefix=prefix)
    homes = tuple(_homes(below)) if wrappers else ()
    return Nesting(path, wrappers, prefix, homes=homes, integers=tuple(integer_names(tree)))


def integer_names(tree: Any) -> Iterator[str]:
    """The dotted paths of what an integer names in a dict: a tensor, or what leads to tensors."""
    leading = {way[:end] for way, _ in holders(tree) for end in range(len(way) + 1)}
    yield from _integer_names(tree, (), leading)


def _integer_names(value: Any, path: Path, leading: Collection[Path]) -> Iterator[str]:
    for piece, key, entry in named_entries(value) if isinstance(value, DictValue) else ():
        is_integer = isinstance(key, int) and INTEGER_NAME.fullmatch(piece)
        if is_integer and (is_tensor(entry) or (*path, piece) in leading):
            yield ".".join((*path, piece))
    for piece, entry in children(value):
        if (*path, piece) in leading:
            yield from _integer_names(entry, (*path, piece), leading)


def _homes(holders: Mapping[Path, Any]) -> Iterator[tuple[str, Path]]:
    """The keys that lie in another dict than the longest that begins them, with their dicts."""
    known = {".".join(way): way for way in holders}
    for way, holder in holders.items():
        for piece, entry in children(holder):
            if is_tensor(entry):
                key = ".".join((*way, piece))
                if known.get(_longest(key, known), ()) != way:
                    yield key, way


def _longest(key: str, known: Mapping[str, Path]) -> str:
    """The longest of the known fronts of a key; "" for none."""
    end = key.rfind(".")
    while end > 0 and key[:end] not in known:
        end = key.rfind(".", 0, end)
    return key[: max(end, 0)]


def _is_below(way: Path, prefix: str) -> bool:
    """Whether a dict lies at the root, or below it where that is a prefix of names."""
    return not (way and prefix) or ".".join(way).startswith(f"{prefix}.") or ".".join(way) == prefix


def _find(tree: Any, root: str) -> tuple[Path, str]:
    """The names of the dicts that a root leads through, and what is left where it is a prefix."""
    if not root:
        return (), ""
    longest: tuple[Path, str] = (), root
    for piece, entry in children(tree):
        if piece == root and is_container(entry):
            return (piece,), ""
        if piece and root.startswith(f"{piece}.") and is_container(entry):
            path, prefix = _find(entry, root[len(piece) + 1 :])
            if not prefix:
                return (piece, *path), ""
            if len(prefix) < len(longest[1]):
                longest = (piece, *path), prefix
    return longest


def holders(tree: Any) -> Iterator[tuple[Path, Any]]:
    """The containers that hold tensors themselves, with their paths; a module's state is one."""
    yield from _holders(tree, (), set())


def _holders(value: Any, path: Path, above: set[int]) -> Iterator[tuple[Path, Any]]:
    if id(value) in above or not has_parts(value):
        return
    if is_module(value):
        yield path, value
        return
    if any(is_tensor(entry) for _, entry in children(value)):
        yield path, value
    above.add(id(value))
    for piece, entry in children(value):
        if is_container(entry):
            yield from _holders(entry, (*path, piece), above)
    above.discard(id(value))
