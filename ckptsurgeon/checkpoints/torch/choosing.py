"""Which part of nested values is opened: the tensors below a root, and what stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ckptsurgeon.checkpoints.torch.described import escaped
from ckptsurgeon.checkpoints.torch.dicts import holders
from ckptsurgeon.checkpoints.torch.inert import DictValue
from ckptsurgeon.checkpoints.torch.nesting import (
    BARE,
    OPTIMIZERS,
    Leaf,
    children,
    default_root,
    holds_tensor,
    is_container,
    is_under,
    join,
    node_at,
    tops,
    under,
    wrappers,
)
from ckptsurgeon.errors import CheckpointError, nearest

Identify = Callable[[Leaf], Hashable]
"""What is equal for tensors of one memory."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a tree that is opened: its root, and the tensors below it by key.

    `left` are the tensors outside of it, `entries` those that hold no tensors, with their keys;
    `metadata` is torch's of the modules at the root.
    """

    root: str
    tensors: Mapping[str, Leaf]
    left: Sequence[Leaf]
    entries: Sequence[tuple[str, Any]]
    metadata: Mapping[str, Mapping[str, Any]] | None


def choose_part(tree: Any, leaves: list[Leaf], root: str | None, identify: Identify) -> Part:
    """The part of a tree, of which these are the leaves, at a root; None is the default one.

    Raises CheckpointError for a root that is not there, and for two tensors of one key.
    """
    selected, found = _select(tree, leaves, root)
    return Part(
        found,
        _by_key(leaf for leaf in selected if leaf.is_tensor),
        _left_behind(leaves, selected, found, identify),
        tuple(_others(tree, selected, found)),
        _module_metadata(tree, found),
    )


def _module_metadata(tree: Any, root: str) -> Mapping[str, Mapping[str, Any]] | None:
    """torch's `_metadata` of the state dict at a root, or its part where the root is a prefix.

    Dicts in it may be state dicts with their own.
    """
    node = node_at(tree, root)
    if node is None:
        return _metadata_of(tree, root)
    inner = {
        join(".".join(path), module) if module else ".".join(path): entry
        for path, holder in holders(node)
        if path
        for module, entry in (_metadata_of(holder) or {}).items()
    }
    own = _metadata_of(node)
    return {**own, **inner} if own is not None else inner or None


def _metadata_of(holder: Any, prefix: str = "") -> Mapping[str, Mapping[str, Any]] | None:
    """The `_metadata` of a dict, of the modules under a prefix."""
    attributes = holder.attributes if isinstance(holder, DictValue) else None
    held = attributes.entries.get("_metadata") if attributes else None
    if not isinstance(held, DictValue):
        return None
    return {
        path[len(prefix) :].removeprefix("."): _simple(entry)
        for path, entry in held.entries.items()
        if isinstance(path, str) and isinstance(entry, DictValue) and is_under(path, prefix)
    }


def _simple(entry: DictValue) -> Mapping[str, Any]:
    plain = (int, float, str, type(None))
    items = entry.entries.items()
    return {key: value for key, value in items if isinstance(key, str) and isinstance(value, plain)}


def _left_behind(
    leaves: Iterable[Leaf], selected: list[Leaf], root: str, identify: Identify
) -> list[Leaf]:
    """The tensors that are not selected: those outside of the root.

    What a module keeps beside its state may be its state once more, as an LSTM's list of weights.
    """
    inside = {join(root, leaf.key) for leaf in selected}
    known = {identify(leaf) for leaf in selected if leaf.is_tensor}

    def is_selected(leaf: Leaf) -> bool:
        return identify(leaf) in known if leaf.is_aside else leaf.key in inside

    return [leaf for leaf in leaves if leaf.is_tensor and not is_selected(leaf)]


def _others(tree: Any, selected: Iterable[Leaf], root: str) -> Iterator[tuple[str, Any]]:
    """The entries that hold no tensors: under the root, then beside it."""
    yield from ((leaf.key, leaf.value) for leaf in selected if not leaf.is_tensor)
    flat: dict[int, bool] = {}
    beside = _siblings(tree, root, "")
    yield from (one for one in beside if not holds_tensor(one[1], flat=flat))


def _select(tree: Any, leaves: list[Leaf], root: str | None) -> tuple[list[Leaf], str]:
    """The leaves below the root that was asked for or found, and that root."""
    found = default_root(tree) if root is None else root
    selected = under((leaf for leaf in leaves if not leaf.is_aside), found)
    if root and not any(leaf.is_tensor for leaf in selected):
        selected = _aside(leaves, root)
    if found and not any(leaf.is_tensor for leaf in selected):
        raise CheckpointError(_no_root(tree, leaves, found))
    if root is None and not found:
        aside = tuple(f"{name}." for name, _ in _optimizers(tree))
        selected = [leaf for leaf in selected if not leaf.key.startswith(aside)]
    return selected, found


def _aside(leaves: list[Leaf], root: str) -> list[Leaf]:
    """What stands beside a module's state under a root, or as the root itself."""
    aside = [leaf for leaf in leaves if leaf.is_aside]
    alone = (replace(leaf, key=BARE) for leaf in aside if leaf.key == root)
    return under(aside, root) or list(alone)


def _no_root(tree: Any, leaves: list[Leaf], root: str) -> str:
    aside = [leaf.key.partition(".")[0] for leaf in leaves if leaf.is_aside and leaf.is_tensor]
    known = dict.fromkeys((*wrappers(tree), *tops(tree), *aside))
    listed = ", ".join(repr(escaped(name)) for name in list(known)[:20]) or "none"
    whole = '"" takes all but what modules keep aside' if aside else '"" takes everything'
    return (
        f"no tensors under the root {escaped(root)!r}; roots there are: {listed}; "
        f"{whole}; {nearest(root, known)}".rstrip("; ")
    )


def _by_key(leaves: Iterable[Leaf]) -> dict[str, Leaf]:
    found: dict[str, Leaf] = {}
    for leaf in leaves:
        if leaf.key in found:
            raise CheckpointError(
                f"two tensors come to the key {escaped(leaf.key)!r} when names are joined; "
                "open a part without it with a root, or load the file with torch and rename one"
            )
        found[_text_key(leaf.key)] = leaf
    return found


def _text_key(key: str) -> str:
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        raise CheckpointError(f"a key that is no text: {escaped(key)}") from None
    return key


def _optimizers(tree: Any) -> Iterator[tuple[str, Any]]:
    """The top-level entries that are optimizer state; not a model's own part that is called so."""
    for piece, entry in children(tree) if isinstance(tree, DictValue) else ():
        if piece in OPTIMIZERS and is_container(entry) and holds_tensor(entry):
            yield piece, entry


def _siblings(tree: Any, root: str, prefix: str) -> Iterator[tuple[str, Any]]:
    """What stands beside the root, each entry of its parents as one; nothing beside ""."""
    for piece, entry in children(tree):
        key = join(prefix, piece)
        if root.startswith(key + ".") and is_container(entry):
            yield from _siblings(entry, root, key)
        elif not is_under(key, root):
            yield key, entry
