"""Torch's files from before version 1.6, read without torch: pickles with the storages behind them.

The layout, from torch/serialization.py: pickles of a magic number, of a protocol number, of what
the machine was, of the object, and of the list of storage keys; then, for each key, its number of
items as an int64, and the items.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ckptsurgeon.checkpoints.torch.inert import UNTYPED, DictValue, StorageRecord
from ckptsurgeon.checkpoints.torch.interpreter import MAX_PICKLE_BYTES, Pickle, load_pickle
from ckptsurgeon.checkpoints.torch.machine import CutError
from ckptsurgeon.checkpoints.torch.reader import TorchCheckpoint, open_tree
from ckptsurgeon.checkpoints.transfer import Extent, opened, read_bytes
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import BITS

MAGIC = 0x1950A86A20F9469CFC6C

PROTOCOL = 1001

WINDOW = 1 << 20
"""Bytes that are read at first to find a pickle's end, which nothing tells beforehand."""

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
    """The legacy file's checkpoint; `root` as in a rule file's `source`, None for the default.

    Raises CheckpointError for a pickle that torch.save did not write, for one that was cut, and
    for a root that is not there.
    """
    with opened(path) as descriptor:
        tree, storages = _Reader(path, descriptor).parts()
    return open_tree(path, "torch-legacy", tree.value, storages, root)


class _Reader:
    """One open file, read from pickle to pickle."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path, self._descriptor = path, descriptor
        self._size = os.fstat(descriptor).st_size
        self._at = 0

    def parts(self) -> tuple[Pickle, Mapping[str, Extent]]:
        """The object's pickle, and the places of its storages."""
        self._require_torch()
        tree = self._next()
        keys = self._next().value
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise CheckpointError("its list of storages is no list of keys: damaged")
        return tree, self._storages(keys, {kept.key: kept for kept in tree.storages})

    def _require_torch(self) -> None:
        if self._next().value != MAGIC:
            raise CheckpointError(
                "is a pickle, but none of torch.save; load it where it came from, and save its "
                "tensors with torch.save or safetensors"
            )
        protocol = self._next().value
        if protocol != PROTOCOL:
            raise CheckpointError("is of an unknown protocol of torch.save, wanted 1001")
        machine = self._next().value
        if isinstance(machine, DictValue) and machine.entries.get("little_endian") is False:
            raise CheckpointError(
                "was written on a big-endian machine; load it with torch and save it again"
            )

    def _next(self) -> Pickle:
        """The pickle at the present place, which moves behind it."""
        window = WINDOW
        while True:
            data = read_bytes(self._descriptor, self._at, min(window, MAX_PICKLE_BYTES))
            try:
                found = load_pickle(data)
            except CutError:
                if window >= MAX_PICKLE_BYTES or self._at + len(data) >= self._size:
                    raise
                window *= 8
            else:
                self._at += found.end
                return found

    def _storages(
        self, keys: Iterable[str], described: Mapping[str, StorageRecord]
    ) -> Mapping[str, Extent]:
        places: dict[str, Extent] = {}
        for key in keys:
            if key not in described or key in places:
                raise CheckpointError(f"the storage {key[:40]!r} is not described once: damaged")
            places[key] = place = self._storage(described[key])
            self._at = place.offset + place.nbytes
        return places

    def _storage(self, kept: StorageRecord) -> Extent:
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
        return Extent(self._path, start, count * itemsize)
