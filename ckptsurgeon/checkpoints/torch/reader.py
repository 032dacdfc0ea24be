"""A torch file opened for reading: tensors are ranges of the file, in zip and legacy ones alike."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.base import Contents, count_outside, group_ties
from ckptsurgeon.checkpoints.stored import Stored
from ckptsurgeon.checkpoints.strided import StridedCheckpoint, View
from ckptsurgeon.checkpoints.torch.arrays import view_of_array
from ckptsurgeon.checkpoints.torch.described import escaped, opaque
from ckptsurgeon.checkpoints.torch.inert import (
    ArrayRecord,
    DictValue,
    TensorRecord,
    is_tensor,
)
from ckptsurgeon.checkpoints.torch.nesting import (
    BARE,
    OPTIMIZERS,
    Leaf,
    children,
    default_root,
    flatten,
    holds_tensor,
    is_container,
    is_under,
    join,
    node_at,
    tops,
    under,
    wrappers,
)
from ckptsurgeon.checkpoints.torch.objects import is_module
from ckptsurgeon.checkpoints.torch.rivals import find_rivals
from ckptsurgeon.checkpoints.torch.strides import (
    checked_spec,
)
from ckptsurgeon.checkpoints.transfer import naming
from ckptsurgeon.errors import CheckpointError, nearest
from ckptsurgeon.specs import BITS, UNKNOWN, TensorSpec, plural


@dataclass(frozen=True, kw_only=True)
class TorchCheckpoint(StridedCheckpoint):
    """A torch file: `tree` is all that its pickle says, `contents` what was selected of it.

    `records` are the tensors that can be read, `storages` the bytes of all storages by key,
    big-endian where `swapped`. `asked` is the root that was asked for; None lets optimizer state
    aside.
    """

    tree: Any
    records: Mapping[str, TensorRecord | ArrayRecord]
    storages: Mapping[str, Stored]
    asked: str | None
    swapped: bool = False

    def view(self, key: str) -> View:
        """Where a tensor lies, or an array, whose items the pickle itself holds."""
        record = self.records[key]
        if isinstance(record, ArrayRecord):
            return view_of_array(record)
        start = record.offset * BITS[record.dtype] // 8
        bits = record.conjugate, record.negative
        place = self.storages[record.storage.key]
        return View(place, record.dtype, start, record.shape, record.stride, self.swapped, *bits)


def open_tree(
    path: Path,
    format: str,
    tree: Any,
    storages: Mapping[str, Stored],
    root: str | None,
    *,
    swapped: bool = False,
    constants: Any = None,
) -> TorchCheckpoint:
    """The checkpoint of a tree that was read, its tensors held against the file.

    Raises CheckpointError for a root that is not there, for two tensors of one key, and for a
    tensor that reaches outside its storage.
    """
    if is_tensor(tree):
        tree = DictValue(entries={BARE: tree})
    with naming(path):
        leaves = flatten(tree)
        leaves += (replace(leaf, is_aside=True) for leaf in flatten(_named("constants", constants)))
        selected, found = _selected(tree, leaves, root)
        tensors = _by_key(leaf for leaf in selected if leaf.is_tensor)
        specs = _specs(tensors, storages)
    records = {key: leaf.value for key, leaf in tensors.items() if leaf.unreadable is None}
    left = _left_behind(leaves, selected, found)
    filled = {key: tensors[key] for key, record in records.items() if 0 not in record.shape}
    contents = Contents(
        specs=specs,
        aliases=group_ties({key: _identify(leaf) for key, leaf in filled.items()}),
        module_metadata=_module_metadata(tree, found),
        opaque=tuple(opaque(*entry) for entry in _others(tree, selected, found)),
        outside=count_outside(((leaf.key, _nbytes(leaf)) for leaf in left), found),
        outside_keys=tuple(leaf.key for leaf in left),
        rivals=()
        if root is not None
        else find_rivals(list(tensors.values()), left, found, _identify, _nbytes),
        root=found,
        wrappers=wrappers(tree),
        notes=tuple(_notes(tree, found, records.values())),
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
        swapped=swapped,
    )


def _left_behind(leaves: Iterable[Leaf], selected: list[Leaf], root: str) -> list[Leaf]:
    """The tensors that are not selected: those outside of the root.

    What a module keeps beside its state may be its state once more, as an LSTM's list of weights.
    """
    inside = {join(root, leaf.key) for leaf in selected}
    known = {_identify(leaf) for leaf in selected if leaf.is_tensor}

    def is_selected(leaf: Leaf) -> bool:
        return _identify(leaf) in known if leaf.is_aside else leaf.key in inside

    return [leaf for leaf in leaves if leaf.is_tensor and not is_selected(leaf)]


def _named(name: str, value: Any) -> DictValue:
    """A dict of one entry, or of none."""
    return DictValue(entries={} if value is None else {name: value})


def _specs(tensors: Mapping[str, Leaf], storages: Mapping[str, Stored]) -> dict[str, TensorSpec]:
    """The specs by key; equal ones are one object, for plans compare many."""
    known: dict[TensorSpec, TensorSpec] = {}
    specs = {key: _spec(leaf, storages) for key, leaf in tensors.items()}
    return {key: known.setdefault(spec, spec) for key, spec in specs.items()}


def _others(tree: Any, selected: Iterable[Leaf], root: str) -> Iterator[tuple[str, Any]]:
    """The entries that hold no tensors: under the root, then beside it."""
    yield from ((leaf.key, leaf.value) for leaf in selected if not leaf.is_tensor)
    flat: dict[int, bool] = {}
    beside = _siblings(tree, root, "")
    yield from (one for one in beside if not holds_tensor(one[1], flat=flat))


def _spec(leaf: Leaf, storages: Mapping[str, Stored]) -> TensorSpec:
    if leaf.unreadable is not None:
        return leaf.unreadable
    if isinstance(leaf.value, ArrayRecord):
        return TensorSpec(leaf.value.dtype or UNKNOWN, leaf.value.shape)
    return checked_spec(leaf.key, leaf.value, storages)


def _selected(tree: Any, leaves: list[Leaf], root: str | None) -> tuple[list[Leaf], str]:
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


def _identify(leaf: Leaf) -> Hashable:
    """What is equal for tensors of one memory."""
    record = leaf.value
    if leaf.unreadable is not None or isinstance(record, ArrayRecord):
        return id(record)
    place = record.storage.key, record.dtype, record.offset, record.shape, record.stride
    return *place, record.conjugate, record.negative


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


def _notes(tree: Any, root: str, records: Iterable[object]) -> Iterator[str]:
    """What a user should know: that a whole module was saved, that arrays are read as tensors."""
    node = node_at(tree, root)
    if is_module(node):
        kind = escaped(node.name.name)
        yield f"a whole {kind} was saved, not its state dict: its parameters and buffers are read"
    arrays = sum(isinstance(record, ArrayRecord) for record in records)
    if arrays:
        yield f"{plural(arrays, 'NumPy array')} read as tensors, and written as such"


def _nbytes(leaf: Leaf) -> int:
    """The bytes of a tensor that is not read, as far as they are known."""
    return (leaf.unreadable or TensorSpec(leaf.value.dtype, leaf.value.shape)).nbytes
