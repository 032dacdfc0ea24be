"""Which dicts of nested values hold tensors, and how they lie in one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptsurgeon.checkpoints.nesting import Nesting, Path
from ckptsurgeon.checkpoints.torch.inert import is_tensor
from ckptsurgeon.checkpoints.torch.nesting import children, has_parts, is_container
from ckptsurgeon.checkpoints.torch.objects import is_module


def nesting_of(tree: Any, root: str) -> Nesting:
    """How the tensors below a root lie in the dicts of a tree."""
    path, prefix = _find(tree, root)
    inner = (holder[len(path) :] for holder, _ in holders(tree) if holder[: len(path)] == path)
    below = (way for way in inner if way and _is_below(way, prefix))
    return Nesting(path, tuple(dict.fromkeys(below)), prefix)


def _is_below(way: Path, prefix: str) -> bool:
    return not prefix or ".".join(way).startswith(f"{prefix}.") or ".".join(way) == prefix


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
    entries = list(children(value))
    if is_module(value):
        yield path, value
        return
    if any(is_tensor(entry) for _, entry in entries):
        yield path, value
    above.add(id(value))
    for piece, entry in entries:
        yield from _holders(entry, (*path, piece), above)
    above.discard(id(value))
