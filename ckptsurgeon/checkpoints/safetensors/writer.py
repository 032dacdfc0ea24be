"""Writing safetensors files: the header first, then tensors at known offsets, in any order."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Layout
from ckptsurgeon.checkpoints.safetensors.header import unfit, write_header
from ckptsurgeon.checkpoints.strict_json import shorten
from ckptsurgeon.checkpoints.transfer import Extent
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles
from ckptsurgeon.checkpoints.writing.staging import staged_file
from ckptsurgeon.checkpoints.writing.target import Target, flat_bytes
from ckptsurgeon.errors import CheckpointError, OutputError
from ckptsurgeon.specs import BITS, TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.checkpoints.transfer import Array


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A file known to the byte but for its tensors: the header and each tensor's offset."""

    specs: Mapping[str, TensorSpec]
    header: bytes
    offsets: Mapping[str, int]
    nbytes: int


def plan_file(specs: Mapping[str, TensorSpec], metadata: Mapping[str, str]) -> FilePlan:
    """The plan of a file that holds these tensors; the same arguments give the same bytes.

    Items that are wider come first, so that every tensor is aligned. The metadata gets
    `format: pt`, which transformers asks for.
    """
    tensors, at = [], 0
    for key in sorted(specs, key=lambda key: -BITS[specs[key].dtype]):
        spec = specs[key]
        if fault := unfit(spec):
            raise OutputError(f"{shorten(key)}: {fault}; write a .pt file instead, or cast it")
        tensors.append((key, spec, at, at + spec.nbytes))
        at = tensors[-1][3]
    header = write_header(tensors, {**metadata, "format": "pt"})
    offsets = {key: len(header) + begin for key, _, begin, _ in tensors}
    return FilePlan(specs, header, offsets, len(header) + at)


class FileFiller:
    """Fills a planned file through a descriptor: tensors in any order, from any thread.

    A context manager: leaving it moves what is still waiting, and makes sure that every key came.
    """

    def __init__(self, descriptor: int, plan: FilePlan, sources: SourceFiles) -> None:
        self._plan, self._target = plan, Target(descriptor, sources)
        self._lock = threading.Lock()
        self._filled: Counter[str] = Counter()

    def __enter__(self) -> FileFiller:
        self._target.write(self._plan.header, 0)
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            self._finish()

    def copy(self, key: str, extent: Extent, offset: int) -> None:
        """Fill a part of the key's place with bytes of a file; a CRC-32 of theirs is checked."""
        self._count(key, offset, extent.nbytes)
        place = self._plan.offsets[key] + offset
        if extent.crc is None:
            self._target.copy(extent, place)
        elif self._target.copy_counted(extent, place) != extent.crc:
            raise CheckpointError(
                f"{extent.path}: {shorten(key)} is damaged: its bytes don't have the CRC-32 that "
                "the file says; fetch or copy it again"
            )

    def write(self, key: str, array: Array, offset: int) -> None:
        """Fill a part of the key's place from memory."""
        self._count(key, offset, array.nbytes)
        self._target.write(flat_bytes(array), self._plan.offsets[key] + offset)

    def _finish(self) -> None:
        self._target.flush()
        specs = self._plan.specs
        missed = [key for key in specs if self._filled[key] != specs[key].nbytes]
        if missed:
            raise RuntimeError(f"{len(missed)} keys were never written whole: {missed[:5]}")

    def _count(self, key: str, offset: int, nbytes: int) -> None:
        spec = self._plan.specs[key]
        if offset + nbytes > spec.nbytes:
            raise RuntimeError(f"{key}: {spec} takes {spec.nbytes} bytes, not {offset + nbytes}")
        with self._lock:
            self._filled[key] += nbytes


class FilesWriter:
    """Writes the tensors of a layout, each to the file that has its place.

    A key that is tied to another one is filled with it: safetensors knows no shared storage.
    """

    def __init__(self, layout: Layout) -> None:
        self._tied: dict[str, list[str]] = {}
        for key, owner in layout.ties.items():
            self._tied.setdefault(owner, []).append(key)
        self._sources = SourceFiles()
        self._stack = contextlib.ExitStack()
        self._fillers: Mapping[str, FileFiller] = {}

    def open_fillers(self, stack: contextlib.ExitStack) -> Mapping[str, FileFiller]:
        """The filler of each key's file, staged and entered on the stack."""
        raise NotImplementedError

    def __enter__(self) -> FilesWriter:
        with contextlib.ExitStack() as stack:
            stack.callback(self._sources.close)
            self._fillers = self.open_fillers(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    def copy(self, key: str, extent: Extent, offset: int = 0) -> None:
        """Fill the places of the key, and of those tied to it, with bytes of a file."""
        for name in (key, *self._tied.get(key, ())):
            self._fillers[name].copy(name, extent, offset)

    def copies(self, extent: Extent) -> bool:
        """Whether no CRC-32 is to be checked."""
        return extent.crc is None

    def write(self, key: str, array: Array, offset: int = 0) -> None:
        """Fill the places of the key, and of those tied to it, from memory."""
        for name in (key, *self._tied.get(key, ())):
            self._fillers[name].write(name, array, offset)


class SafetensorsWriter(FilesWriter):
    """Writes one safetensors file, staged beside its target."""

    def __init__(self, target: Path, layout: Layout, force: bool) -> None:
        super().__init__(layout)
        self._target, self._force = target, force
        self._plan = plan_file(layout.specs, layout.metadata)

    def open_fillers(self, stack: contextlib.ExitStack) -> Mapping[str, FileFiller]:
        """One filler for all keys."""
        staged = staged_file(self._target, force=self._force, nbytes=self._plan.nbytes)
        descriptor = stack.enter_context(staged)
        filler = stack.enter_context(FileFiller(descriptor, self._plan, self._sources))
        return dict.fromkeys(self._plan.specs, filler)
