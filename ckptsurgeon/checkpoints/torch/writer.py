"""Writing torch's zip files without torch: storages at known offsets, in any order."""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Layout
from ckptsurgeon.checkpoints.torch.described import escaped
from ckptsurgeon.checkpoints.torch.inert import (
    UNTYPED,
    StorageRecord,
    TensorRecord,
    dtype_name,
    storage_name,
)
from ckptsurgeon.checkpoints.torch.pickler import dump_pickle
from ckptsurgeon.checkpoints.torch.records import directory, local_header, plan_members
from ckptsurgeon.checkpoints.torch.skeleton import compose
from ckptsurgeon.checkpoints.transfer import Extent
from ckptsurgeon.checkpoints.writing.crc import combine_all
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles
from ckptsurgeon.checkpoints.writing.staging import staged_file
from ckptsurgeon.checkpoints.writing.target import Target, flat_bytes
from ckptsurgeon.errors import OutputError
from ckptsurgeon.specs import TensorSpec, row_strides

if TYPE_CHECKING:
    from ckptsurgeon.checkpoints.transfer import Array

FOLDER = "archive"


class TorchZipWriter:
    """Writes one torch zip file, staged beside its target; ties share a storage.

    `copy` and `write` may be called from several threads, for each key that is not tied once.
    """

    def __init__(self, target: Path, layout: Layout, force: bool) -> None:
        self._path, self._force = target, force
        self._owners = _owners(layout)
        keys = [key for key in layout.specs if key not in self._owners]
        self._storages = {key: f"{FOLDER}/data/{index}" for index, key in enumerate(keys)}
        self._texts = _text_members(_records(layout, self._owners, keys), layout)
        sizes = {name: len(data) for name, data in self._texts.items()}
        sizes |= {self._storages[key]: layout.specs[key].nbytes for key in keys}
        self._members = {member.name: member for member in plan_members(sizes)}
        last = list(self._members.values())[-1]
        self._end = last.offset + last.nbytes
        self._lock = threading.Lock()
        self._parts: dict[str, list[tuple[int, int, int]]] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> TorchZipWriter:
        nbytes = self._end + len(directory(self._members.values(), {}, self._end))
        staged = staged_file(self._path, force=self._force, nbytes=nbytes)
        sources = SourceFiles()
        self._stack.callback(sources.close)
        self._target = Target(self._stack.enter_context(staged), sources)
        self._stack.enter_context(self._completed())
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    def copy(self, key: str, extent: Extent, offset: int = 0) -> None:
        """Fill a part of the key's place with bytes of a file; their CRC-32 spares a look at them.

        A CRC that is wrong is carried over, and shows the damage.
        """
        if key in self._owners:
            return
        place = self._place(key, offset, extent.nbytes)
        crc = extent.crc
        if crc is None:
            crc = self._target.copy_counted(extent, place)
        else:
            self._target.copy(extent, place)
        self._count(key, offset, extent.nbytes, crc)

    def copies(self, extent: Extent) -> bool:
        """Whether their CRC-32 is known."""
        return extent.crc is not None

    def write(self, key: str, array: Array, offset: int = 0) -> None:
        """Fill a part of the key's place from memory."""
        if key in self._owners:
            return
        data = flat_bytes(array)
        self._target.write(data, self._place(key, offset, len(data)))
        self._count(key, offset, len(data), zlib.crc32(data))

    def _place(self, key: str, offset: int, nbytes: int) -> int:
        member = self._members[self._storages[key]]
        if offset + nbytes > member.nbytes:
            raise RuntimeError(f"{key}: takes {member.nbytes} bytes, not {offset + nbytes}")
        return member.offset + offset

    def _count(self, key: str, offset: int, nbytes: int, crc: int) -> None:
        with self._lock:
            self._parts.setdefault(self._storages[key], []).append((offset, nbytes, crc))

    def _checked_crcs(self) -> dict[str, int]:
        """The CRC of each storage, all of which came whole."""
        crcs: dict[str, int] = {}
        for key, name in self._storages.items():
            parts = self._parts.get(name, [])
            if sum(nbytes for _, nbytes, _ in parts) != self._members[name].nbytes:
                raise RuntimeError(f"{key} was never written whole")
            crcs[name] = combine_all(parts)
        return crcs

    @contextlib.contextmanager
    def _completed(self) -> Iterator[None]:
        """Let tensors come; then make sure that all did, and write all else."""
        yield
        self._target.flush()
        crcs = self._checked_crcs()
        for name, data in self._texts.items():
            self._target.write(data, self._members[name].offset)
            crcs[name] = zlib.crc32(data)
        for member in self._members.values():
            header = local_header(member, crcs[member.name])
            self._target.write(header, member.header)
        ending = directory(self._members.values(), crcs, self._end)
        self._target.write(ending, self._end)


def _owners(layout: Layout) -> Mapping[str, str]:
    """The key whose storage each tied key shares, through chains of ties."""
    owners: dict[str, str] = {}
    for key, owner in layout.ties.items():
        hops = 0
        while owner in layout.ties:
            owner, hops = layout.ties[owner], hops + 1
            if hops > len(layout.ties):
                raise RuntimeError(f"ties lead back to themselves at {key}")
        _require_equal(layout.specs, key, owner)
        owners[key] = owner
    return owners


def _require_equal(specs: Mapping[str, TensorSpec], key: str, owner: str) -> None:
    if specs[key] != specs[owner]:
        raise OutputError(
            f"{escaped(key)} is {specs[key]} and tied to {escaped(owner)}, which is "
            f"{specs[owner]}; tied tensors have one dtype and shape"
        )


def _records(
    layout: Layout, owners: Mapping[str, str], keys: list[str]
) -> Mapping[str, TensorRecord]:
    """The tensors as the pickle tells them, each dense in a storage of its own or its owner's."""
    numbers = {key: str(index) for index, key in enumerate(keys)}
    return {
        key: _record(key, spec, numbers[owners.get(key, key)]) for key, spec in layout.specs.items()
    }


def _record(key: str, spec: TensorSpec, number: str) -> TensorRecord:
    if dtype_name(spec.dtype) is None:
        raise OutputError(
            f"{escaped(key)}: torch files have no {spec.dtype}; cast it, or write safetensors"
        )
    kind = storage_name(spec.dtype)
    count = spec.count if kind else spec.nbytes
    storage = StorageRecord(kind or UNTYPED, number, "cpu", count)
    return TensorRecord(storage, spec.dtype, 0, spec.shape, row_strides(spec.shape))


def _text_members(records: Mapping[str, TensorRecord], layout: Layout) -> Mapping[str, bytes]:
    """The members that are no tensors, as torch 2 writes them."""
    tree = compose(layout.template, records, layout.module_metadata)
    return {
        f"{FOLDER}/data.pkl": dump_pickle(tree),
        f"{FOLDER}/.format_version": b"1",
        f"{FOLDER}/.storage_alignment": b"64",
        f"{FOLDER}/byteorder": b"little",
        f"{FOLDER}/version": b"3\n",
    }
