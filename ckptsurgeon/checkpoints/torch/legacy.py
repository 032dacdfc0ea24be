"""Torch's files from before version 1.6, and plain pickles of NumPy arrays, read without torch.

The layout of the former, from torch/serialization.py: pickles of a magic number, of a protocol
number, of what the machine was, of the object, and of the list of storage keys; then, for each key,
its number of items as an int64, and the items.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.stored import Stored
from ckptsurgeon.checkpoints.torch.inert import UNTYPED, StorageRecord
from ckptsurgeon.checkpoints.torch.interpreter import Pickle, load_pickle
from ckptsurgeon.checkpoints.torch.reader import TorchCheckpoint, open_tree
from ckptsurgeon.checkpoints.torch.window import Window
from ckptsurgeon.checkpoints.transfer import opened, read_bytes
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import BITS

MAGIC = 0x1950A86A20F9469CFC6C

PROTOCOL = 1001

UNCODED_SIZES: Mapping[str, int] = {
    UNTYPED: 1,
    "QUInt8Storage": 1,
    "QInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}
"""Bytes of an item, by the class of storages whose dtype has no code."""


def open_torch_legacy(path: Path, root: str | None) -> TorchCheckpoint:
    """The checkpoint of a legacy file, or of a plain pickle of NumPy arrays.

    `root` as in a rule file's `source`, None for the default. Raises CheckpointError for a pickle
    that was cut, and for a root that is not there.
    """
    with opened(path) as descriptor:
        form, tree, storages = _Reader(path, descriptor).parts()
    return open_tree(path, form, tree, storages, root)


class _Reader:
    """One open file, read from pickle to pickle."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._size = os.fstat(descriptor).st_size
        self._at = 0

    def parts(self) -> tuple[str, Any, Mapping[str, Stored]]:
        """The format, what the object's pickle says, and the places of its storages.

        Of the machine that wrote them nothing is asked: torch writes little-endian on every one.
        """
        first = self._next()
        if first.value != MAGIC:
            if self._at != self._size:
                raise CheckpointError(
                    f"is a pickle that ends at byte {self._at} of {self._size}: several pickles, "
                    "or none of a checkpoint; save its tensors with torch.save or safetensors"
                )
            return "pickle", first.value, {}
        protocol = self._next().value
        if protocol != PROTOCOL:
            raise CheckpointError("is of an unknown protocol of torch.save, wanted 1001")
        self._next()  # the machine
        tree = self._next()
        keys = self._next().value
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise CheckpointError("its list of storages is no list of keys: damaged")
        described = {kept.key: kept for kept in tree.storages}
        return "torch-legacy", tree.value, self._storages(keys, described)

    def _next(self) -> Pickle:
        """The pickle at the present place, which moves behind it."""
        found = load_pickle(Window.of_file(self._path, self._descriptor, self._at))
        self._at = found.end
        return found

    def _storages(
        self, keys: Iterable[str], described: Mapping[str, StorageRecord]
    ) -> Mapping[str, Stored]:
        places: dict[str, Stored] = {}
        for key in keys:
            if key not in described or key in places:
                raise CheckpointError(f"the storage {key[:40]!r} is not described once: damaged")
            places[key] = place = self._storage(described[key])
            self._at = place.offset + place.nbytes
        return places

    def _storage(self, kept: StorageRecord) -> Stored:
        name = kept.key[:40]
        count = int.from_bytes(read_bytes(self._descriptor, self._at, 8), "little")
        itemsize = BITS[kept.dtype] // 8 if kept.dtype else UNCODED_SIZES.get(kept.kind)
        if itemsize is None:
            raise CheckpointError(
                f"the storage {name!r} is of an unknown class: {kept.kind[:40]!r}"
            )
        if count != kept.numel:
            raise CheckpointError(
                f"the storage {name!r} has {count} items, wanted {kept.numel}: cut, or damaged"
            )
        start = self._at + 8
        left = max(0, self._size - start)
        if count * itemsize > left:
            raise CheckpointError(
                f"the storage {name!r} needs {count * itemsize} bytes, {left} are left: "
                "the file was cut; fetch or copy it again"
            )
        return Stored(self._path, start, count * itemsize, count * itemsize)
