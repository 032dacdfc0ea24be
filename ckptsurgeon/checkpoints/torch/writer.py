"""Writing torch's zip files without torch: storages at known offsets, in any order."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.checkpoints.base import Layout
from ckptsurgeon.checkpoints.crc import combine_all
from ckptsurgeon.checkpoints.torch.composing import compose
from ckptsurgeon.checkpoints.torch.described import escaped
from ckptsurgeon.checkpoints.torch.inert import (
    STORAGE_NAMES,
    UNTYPED,
    StorageRecord,
    TensorRecord,
)
from ckptsurgeon.checkpoints.torch.pickler import dump_pickle
from ckptsurgeon.checkpoints.torch.records import (
    PlannedMember,
    directory,
    local_header,
    plan_members,
)
from ckptsurgeon.checkpoints.transfer import Array, Extent, naming
from ckptsurgeon.checkpoints.writing.filling import FileFiller, FilePlan, Writer, WriterFiles
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles
from ckptsurgeon.checkpoints.writing.staging import staged_file
from ckptsurgeon.checkpoints.writing.target import Opened, flat_bytes
from ckptsurgeon.errors import OutputError
from ckptsurgeon.specs import DTYPE_NAMES, TensorSpec, row_strides

FOLDER = "archive"


@dataclass(frozen=True, slots=True)
class ZipPlan(FilePlan):
    """A zip file's plan: its members, the one of each key's storage, and those that are texts."""

    members: tuple[PlannedMember, ...]
    storages: Mapping[str, str]
    texts: Mapping[str, bytes]


class TorchZipWriter(Writer):
    """Writes one torch zip file, staged beside its target; ties share a storage."""

    def __init__(
        self, target: Path, layout: Layout, force: bool, files: WriterFiles | None = None
    ) -> None:
        super().__init__({}, files)
        self._path, self._force = target, force
        with naming(target):
            self._plan = _plan_zip(layout)

    def open_fillers(self, stack: contextlib.ExitStack) -> Mapping[str, FileFiller]:
        """One filler for all keys that have a storage of their own."""
        own, files = self._plan, self._files
        staged = staged_file(self._path, force=self._force, nbytes=own.nbytes, filled=files.filled)
        opened = stack.enter_context(staged).opened
        filler = stack.enter_context(ZipFiller(opened, own, files.sources))
        return dict.fromkeys(self._plan.specs, filler)

    def copies(self, extent: Extent) -> bool:
        """Whether their CRC-32 is known."""
        return extent.crc is not None


class ZipFiller(FileFiller):
    """Fills a zip file, whose records tell the CRC-32 of each member."""

    def __init__(self, opened: Opened, plan: ZipPlan, sources: SourceFiles) -> None:
        super().__init__(opened, plan, sources)
        self._zip = plan
        self._parts: dict[str, list[tuple[int, int, int]]] = {key: [] for key in plan.specs}

    def copy(self, key: str, extent: Extent, offset: int) -> None:
        """Fill a part of the key's place with bytes of a file; their CRC-32 spares a look at them.

        A CRC that is wrong is carried over, and shows the damage.
        """
        place, crc = self._place(key, offset, extent.nbytes), extent.crc
        if crc is None:
            crc = self._target.copy_counted(extent, place)
        else:
            self._target.copy(extent, place)
        self._parts[key].append((offset, extent.nbytes, crc))

    def write(self, key: str, array: Array, offset: int) -> None:
        """Fill a part of the key's place from memory."""
        data = flat_bytes(array)
        self._target.write(data, self._place(key, offset, len(data)))
        self._parts[key].append((offset, len(data), zlib.crc32(data)))

    def _finish(self) -> None:
        """Write all that is no tensor, when these came whole."""
        super()._finish()
        crcs = {self._zip.storages[key]: combine_all(parts) for key, parts in self._parts.items()}
        crcs |= {name: zlib.crc32(data) for name, data in self._zip.texts.items()}
        for member in self._zip.members:
            header = local_header(member, crcs[member.name])
            self._target.write(header + self._zip.texts.get(member.name, b""), member.header)
        ending = directory(self._zip.members, crcs)
        self._target.write(ending, self._zip.nbytes - len(ending))


def _plan_zip(layout: Layout) -> ZipPlan:
    for key, owner in layout.ties.items():
        _require_equal(layout.specs, key, owner)
    specs = {key: spec for key, spec in layout.specs.items() if key not in layout.ties}
    numbers = {key: str(index) for index, key in enumerate(specs)}
    storages = {key: f"{FOLDER}/data/{number}" for key, number in numbers.items()}
    texts = _text_members(_records(layout, numbers), layout)
    sizes = {name: len(data) for name, data in texts.items()}
    members = plan_members(sizes | {storages[key]: spec.nbytes for key, spec in specs.items()})
    places = {member.name: member.offset for member in members}
    return ZipPlan(
        specs=specs,
        header=b"",
        offsets={key: places[name] for key, name in storages.items()},
        nbytes=members[-1].end + len(directory(members, {})),
        members=members,
        storages=storages,
        texts=texts,
    )


def _require_equal(specs: Mapping[str, TensorSpec], key: str, owner: str) -> None:
    if specs[key] != specs[owner]:
        raise OutputError(
            f"{escaped(key)} is {specs[key]} and tied to {escaped(owner)}, which is "
            f"{specs[owner]}; tied tensors have one dtype and shape"
        )


def _records(layout: Layout, numbers: Mapping[str, str]) -> Mapping[str, TensorRecord]:
    """The tensors as the pickle tells them, each dense in a storage of its own or its owner's."""
    return {
        key: _record(key, spec, numbers[layout.ties.get(key, key)])
        for key, spec in layout.specs.items()
    }


def _record(key: str, spec: TensorSpec, number: str) -> TensorRecord:
    if spec.dtype not in DTYPE_NAMES:
        raise OutputError(
            f"{escaped(key)}: torch files have no {spec.dtype}; cast it, or write safetensors"
        )
    kind = STORAGE_NAMES.get(spec.dtype)
    count = spec.count if kind else spec.nbytes
    storage = StorageRecord(kind or UNTYPED, number, "cpu", count)
    return TensorRecord(storage, spec.dtype, 0, spec.shape, row_strides(spec.shape))


def _text_members(records: Mapping[str, TensorRecord], layout: Layout) -> Mapping[str, bytes]:
    """The members that are no tensors, as torch 2 writes them."""
    tree = compose(layout.template, records, layout.module_metadata, layout.nesting)
    return {
        f"{FOLDER}/data.pkl": dump_pickle(tree),
        f"{FOLDER}/.format_version": b"1",
        f"{FOLDER}/.storage_alignment": b"64",
        f"{FOLDER}/byteorder": b"little",
        f"{FOLDER}/version": b"3\n",
    }
