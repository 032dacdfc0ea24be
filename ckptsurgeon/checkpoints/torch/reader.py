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
from ckptsurgeon.checkpoints.torch.choosing import choose_part
from ckptsurgeon.checkpoints.torch.described import escaped, opaque
from ckptsurgeon.checkpoints.torch.inert import (
    ArrayRecord,
    DictValue,
    TensorRecord,
    is_tensor,
)
from ckptsurgeon.checkpoints.torch.nesting import (
    BARE,
    Leaf,
    flatten,
    node_at,
    wrappers,
)
from ckptsurgeon.checkpoints.torch.objects import is_module
from ckptsurgeon.checkpoints.torch.rivals import find_rivals
from ckptsurgeon.checkpoints.torch.strides import (
    checked_spec,
)
from ckptsurgeon.checkpoints.transfer import naming
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
        part = choose_part(tree, leaves, root, _identify)
        tensors, found, left = part.tensors, part.root, part.left
        specs = _specs(tensors, storages)
    records = {key: leaf.value for key, leaf in tensors.items() if leaf.unreadable is None}
    filled = {key: tensors[key] for key, record in records.items() if 0 not in record.shape}
    contents = Contents(
        specs=specs,
        aliases=group_ties({key: _identify(leaf) for key, leaf in filled.items()}),
        module_metadata=part.metadata,
        opaque=tuple(opaque(*entry) for entry in part.entries),
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


def _named(name: str, value: Any) -> DictValue:
    """A dict of one entry, or of none."""
    return DictValue(entries={} if value is None else {name: value})


def _specs(tensors: Mapping[str, Leaf], storages: Mapping[str, Stored]) -> dict[str, TensorSpec]:
    """The specs by key; equal ones are one object, for plans compare many."""
    known: dict[TensorSpec, TensorSpec] = {}
    specs = {key: _spec(leaf, storages) for key, leaf in tensors.items()}
    return {key: known.setdefault(spec, spec) for key, spec in specs.items()}


def _spec(leaf: Leaf, storages: Mapping[str, Stored]) -> TensorSpec:
    if leaf.unreadable is not None:
        return leaf.unreadable
    if isinstance(leaf.value, ArrayRecord):
        return TensorSpec(leaf.value.dtype or UNKNOWN, leaf.value.shape)
    return checked_spec(leaf.key, leaf.value, storages)


def _identify(leaf: Leaf) -> Hashable:
    """What is equal for tensors of one memory."""
    record = leaf.value
    if leaf.unreadable is not None or isinstance(record, ArrayRecord):
        return id(record)
    place = record.storage.key, record.dtype, record.offset, record.shape, record.stride
    return *place, record.conjugate, record.negative


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
