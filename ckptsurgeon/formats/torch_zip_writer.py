"""Writing torch's zip files without torch: storages at known offsets, in any order."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptsurgeon.errors import CheckpointError, OutputError
from ckptsurgeon.formats.base import Extent, Layout
from ckptsurgeon.formats.staging import staged_file
from ckptsurgeon.formats.torch_pickler import dump_pickle
from ckptsurgeon.formats.torch_skeleton import compose
from ckptsurgeon.formats.torch_text import escaped
from ckptsurgeon.formats.torch_values import (
    UNTYPED,
    StorageRecord,
    TensorRecord,
    dtype_name,
    storage_name,
)
from ckptsurgeon.formats.torch_zip_records import (
    PlannedMember,
    directory,
    local_header,
    plan_members,
)
from ckptsurgeon.formats.transfer import copy_bytes, open_source, write_bytes
from ckptsurgeon.specs import TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.formats.base import Array

FOLDER = "archive"

BUFFER = 1 << 20
"""Bytes that a copy holds at a time while their CRC is taken."""


class TorchZipWriter:
    """Writes one torch zip file, staged beside its target; ties share a storage.

    `copy` and `write` may be called from several threads, for each key that is not tied once.
    """

    def __init__(self, target: Path, layout: Layout, force: bool) -> None:
        self._target, self._force, self._layout = target, force, layout
        self._owners = _owners(layout)
        keys = [key for key in layout.specs if key not in self._owners]
        self._storages = {key: f"{FOLDER}/data/{index}" for index, key in enumerate(keys)}
        self._texts = _text_members(_records(layout, self._owners, keys), layout)
        sizes = {name: len(data) for name, data in self._texts.items()}
        sizes |= {self._storages[key]: layout.specs[key].nbytes for key in keys}
        self._members = {member.name: member for member in plan_members(sizes)}
        last = list(self._members.values())[-1]
        self._end = last.offset + last.nbytes
        self._crcs: dict[str, int] = {}
        self._stack = contextlib.ExitStack()
        self._descriptor = -1

    def __enter__(self) -> TorchZipWriter:
        nbytes = self._end + len(directory(self._members.values(), {}, self._end))
        staged = staged_file(self._target, force=self._force, nbytes=nbytes)
        self._descriptor = self._stack.enter_context(staged)
        self._stack.enter_context(self._completed())
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    def copy(self, key: str, extent: Extent, crc: int | None = None) -> None:
        """Fill the key's place with bytes of another file; their CRC-32 spares a look at them."""
        if key in self._owners:
            return
        member = self._member(key, extent.nbytes)
        descriptor = open_source(extent.path)
        try:
            if crc is None:
                crc = self._copy_counted(descriptor, extent, member.offset)
            else:
                offsets = (extent.offset, self._descriptor, member.offset)
                copy_bytes(descriptor, *offsets, extent.nbytes)
        finally:
            os.close(descriptor)
        self._crcs[member.name] = crc

    def write(self, key: str, array: Array) -> None:
        """Fill the key's place from memory."""
        import numpy as np  # copies alone are made without it

        if key in self._owners:
            return
        member = self._member(key, array.nbytes)
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        write_bytes(self._descriptor, member.offset, flat.data)
        self._crcs[member.name] = zlib.crc32(flat.data)

    def _copy_counted(self, descriptor: int, extent: Extent, offset: int) -> int:
        """The CRC-32 of bytes that are copied through memory."""
        crc, done = 0, 0
        while done < extent.nbytes:
            count = min(BUFFER, extent.nbytes - done)
            data = os.pread(descriptor, count, extent.offset + done)
            if not data:
                raise CheckpointError(
                    f"{extent.path}: ends {extent.nbytes - done} bytes before a tensor does; "
                    "it was cut after it was opened: fetch or copy it again"
                )
            crc = zlib.crc32(data, crc)
            write_bytes(self._descriptor, offset + done, data)
            done += len(data)
        return crc

    def _member(self, key: str, nbytes: int) -> PlannedMember:
        member = self._members[self._storages[key]]
        if nbytes != member.nbytes:
            raise RuntimeError(f"{key}: takes {member.nbytes} bytes, was given {nbytes}")
        return member

    @contextlib.contextmanager
    def _completed(self) -> Iterator[None]:
        """Let tensors come; then make sure that all did, and write all else."""
        yield
        missed = [key for key, name in self._storages.items() if name not in self._crcs]
        if missed:
            raise RuntimeError(f"{len(missed)} keys were never written: {missed[:5]}")
        for name, data in self._texts.items():
            write_bytes(self._descriptor, self._members[name].offset, data)
            self._crcs[name] = zlib.crc32(data)
        for member in self._members.values():
            header = local_header(member, self._crcs[member.name])
            write_bytes(self._descriptor, member.header, header)
        ending = directory(self._members.values(), self._crcs, self._end)
        write_bytes(self._descriptor, self._end, ending)


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
    return TensorRecord(storage, spec.dtype, 0, spec.shape, dense_stride(spec.shape))


def dense_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in items, of a tensor that lies dense, as torch counts them."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


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
