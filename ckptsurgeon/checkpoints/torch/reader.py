"""A torch file opened for reading: tensors are ranges of the file, in zip and legacy ones alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint, Contents, Opaque, group_ties
from ckptsurgeon.checkpoints.torch.described import escaped, opaque
from ckptsurgeon.checkpoints.torch.inert import DictValue, TensorRecord
from ckptsurgeon.checkpoints.torch.nesting import (
    OPTIMIZERS,
    Leaf,
    children,
    default_root,
    flatten,
    holds_tensor,
    is_container,
    is_module,
    is_under,
    join,
    node_at,
    tops,
    under,
    wrappers,
)
from ckptsurgeon.checkpoints.torch.strides import (
    checked_spec,
    is_contiguous,
    itemsize,
    reach,
)
from ckptsurgeon.checkpoints.transfer import Array, Extent, naming, read_extent
from ckptsurgeon.errors import CheckpointError, nearest

BARE = "tensor"
"""The key of a tensor that was saved alone, without a dict around it."""


@dataclass(frozen=True, kw_only=True)
class TorchCheckpoint(Checkpoint):
    """A torch file: `tree` is all that its pickle says, `contents` what was selected of it.

    `records` are the selected tensors, `storages` the bytes of all storages by key. `asked` is the
    root that was asked for; None lets optimizer state aside.
    """

    tree: Any
    records: Mapping[str, TensorRecord]
    storages: Mapping[str, Extent]
    asked: str | None

    def extent(self, key: str) -> Extent | None:
        """Where the tensor's bytes lie, or None for a view that is not contiguous.

        It has a CRC-32 where the bytes are a whole member of the zip file.
        """
        record = self.records[key]
        if not is_contiguous(record.shape, record.stride):
            return None
        place = self.storages[record.storage.key]
        start = place.offset + record.offset * itemsize(record)
        nbytes = self.contents.specs[key].nbytes
        whole = (start, nbytes) == (place.offset, place.nbytes)
        return Extent(self.path, start, nbytes, place.crc if whole else None)

    def read(self, key: str) -> Array:
        """The whole tensor, dense, in its carrier dtype, read through its strides."""
        record = self.records[key]
        if is_contiguous(record.shape, record.stride):
            return super().read(key)
        import numpy as np  # headers alone are read without it

        size = itemsize(record)
        start = self.storages[record.storage.key].offset + record.offset * size
        span = read_extent(Extent(self.path, start, reach(record) * size))
        items = span.view(self.contents.specs[key].carrier or "u1")
        strides = tuple(step * size for step in record.stride)
        view = np.lib.stride_tricks.as_strided(items, record.shape, strides, writeable=False)
        return np.ascontiguousarray(view).reshape(record.shape)


def open_tree(
    path: Path, format: str, tree: Any, storages: Mapping[str, Extent], root: str | None
) -> TorchCheckpoint:
    """The checkpoint of a tree that was read, its tensors held against the file.

    Raises CheckpointError for a root that is not there, for two tensors of one key, and for a
    tensor that reaches outside its storage.
    """
    if isinstance(tree, TensorRecord):
        tree = DictValue(entries={BARE: tree})
    with naming(path):
        leaves = flatten(tree)
        selected, found = _selected(tree, leaves, root)
        records = _records(selected)
        specs = {key: checked_spec(key, record, storages) for key, record in records.items()}
    others = tuple(opaque(leaf.key, leaf.value) for leaf in selected if not leaf.is_tensor)
    contents = Contents(
        specs=specs,
        aliases=_aliases(records),
        module_metadata=_module_metadata(tree, found),
        opaque=others + _aside(tree, found, root is None),
        root=found,
        wrappers=wrappers(tree),
        notes=_notes(tree, found, sum(leaf.is_tensor for leaf in leaves) - len(records)),
    )
    return TorchCheckpoint(
        path=path,
        format=format,
        contents=contents,
        files=(path,),
        tree=tree,
        records=records,
        storages=storages,
        asked=root,
    )


def _selected(tree: Any, leaves: list[Leaf], root: str | None) -> tuple[list[Leaf], str]:
    """The leaves below the root that was asked for or found, and that root."""
    found = default_root(tree) if root is None else root
    selected = under(leaves, found)
    if not any(leaf.is_tensor for leaf in selected) and found:
        raise CheckpointError(_no_root(tree, found))
    if root is None and not found:
        aside = tuple(f"{name}." for name, _ in _optimizers(tree))
        selected = [leaf for leaf in selected if not leaf.key.startswith(aside)]
    return selected, found


def _no_root(tree: Any, root: str) -> str:
    known = dict.fromkeys((*wrappers(tree), *tops(tree)))
    listed = ", ".join(repr(escaped(name)) for name in list(known)[:20]) or "none"
    return (
        f"no tensors under the root {escaped(root)!r}; roots there are: {listed}; "
        f'"" takes everything {nearest(root, known)}'.rstrip()
    )


def _records(leaves: Iterable[Leaf]) -> dict[str, TensorRecord]:
    records: dict[str, TensorRecord] = {}
    for leaf in leaves:
        if leaf.is_tensor:
            if leaf.key in records:
                raise CheckpointError(
                    f"two tensors come to the key {escaped(leaf.key)!r} when names are joined; "
                    "open one part of the file with a root"
                )
            records[_text_key(leaf.key)] = leaf.value
    return records


def _text_key(key: str) -> str:
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        raise CheckpointError(f"a key that is no text: {escaped(key)}") from None
    return key


def _aliases(records: Mapping[str, TensorRecord]) -> tuple[tuple[str, ...], ...]:
    """Groups of keys that are equal views of one storage."""
    return group_ties(
        {
            key: (record.storage.key, record.dtype, record.offset, record.shape, record.stride)
            for key, record in records.items()
            if 0 not in record.shape
        }
    )


def _module_metadata(tree: Any, root: str) -> Mapping[str, Mapping[str, Any]] | None:
    """torch's `_metadata` of the state dict at a root, or its part where the root is a prefix."""
    node = node_at(tree, root)
    holder, prefix = (tree, root) if node is None else (node, "")
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


def _aside(tree: Any, root: str, without_optimizers: bool) -> tuple[Opaque, ...]:
    """What stands beside the root, each entry of its parents as one."""
    if not root:
        return tuple(opaque(*entry) for entry in _optimizers(tree)) if without_optimizers else ()
    flat = node_at(tree, root) is None
    return tuple(
        opaque(key, entry)
        for key, entry in _siblings(tree, root, "")
        if not (flat and isinstance(entry, TensorRecord))
    )


def _optimizers(tree: Any) -> Iterator[tuple[str, Any]]:
    """The top-level entries that are optimizer state; not a model's own part that is called so."""
    for piece, entry in children(tree) if isinstance(tree, DictValue) else ():
        if piece in OPTIMIZERS and is_container(entry) and holds_tensor(entry):
            yield piece or "", entry


def _siblings(tree: Any, root: str, prefix: str) -> Iterator[tuple[str, Any]]:
    for piece, entry in children(tree):
        key = join(prefix, piece if piece is not None else "?")
        if root.startswith(key + ".") and is_container(entry):
            yield from _siblings(entry, root, key)
        elif not is_under(key, root):
            yield key, entry


def _notes(tree: Any, root: str, left: int) -> tuple[str, ...]:
    """What a user should know: a whole module, and tensors beside a root that is a mere prefix."""
    node = node_at(tree, root)
    if is_module(node):
        kind = escaped(str(node.name))
        return (
            f"a whole {kind} was saved, not its state dict; its tensors are read, nothing else",
        )
    return (
        (f"{left} tensors outside the root {root!r} were left out",)
        if node is None and left
        else ()
    )
