"""Files whose every tensor has its place before it comes, filled in any order and by any thread."""

from __future__ import annotations

import abc
import contextlib
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptsurgeon.checkpoints.crc import refuse_damaged
from ckptsurgeon.checkpoints.strict_json import shorten
from ckptsurgeon.checkpoints.transfer import Array, Extent, naming
from ckptsurgeon.checkpoints.writing.open_files import OpenFiles
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles
from ckptsurgeon.checkpoints.writing.staging import open_staged
from ckptsurgeon.checkpoints.writing.target import Opened, Target, flat_bytes
from ckptsurgeon.specs import TensorSpec


@dataclass(frozen=True, slots=True)
class FilePlan:
    """A file known to the byte but for its tensors: the header and each tensor's offset."""

    specs: Mapping[str, TensorSpec]
    header: bytes
    offsets: Mapping[str, int]
    nbytes: int


class FileFiller:
    """Fills a planned file: tensors in any order, from any thread.

    A context manager: leaving it moves what is still waiting, and makes sure that every key came.
    """

    def __init__(self, opened: Opened, plan: FilePlan, sources: SourceFiles) -> None:
        self._plan, self._target = plan, Target(opened, sources)
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
        place = self._place(key, offset, extent.nbytes)
        if extent.crc is None:
            self._target.copy(extent, place)
            return
        crc = self._target.copy_counted(extent, place)
        with naming(f"{extent.path}: {shorten(key)}"):
            refuse_damaged(crc, extent.crc)

    def write(self, key: str, array: Array, offset: int) -> None:
        """Fill a part of the key's place from memory."""
        self._target.write(flat_bytes(array), self._place(key, offset, array.nbytes))

    def _finish(self) -> None:
        """Move what is still waiting; raises RuntimeError where a tensor did not come whole."""
        self._target.flush()
        specs = self._plan.specs
        missed = [key for key in specs if self._filled[key] != specs[key].nbytes]
        if missed:
            raise RuntimeError(f"{len(missed)} keys were never written whole: {missed[:5]}")

    def _place(self, key: str, offset: int, nbytes: int) -> int:
        """Where a part lies in the file; its bytes are counted."""
        spec = self._plan.specs[key]
        if offset + nbytes > spec.nbytes:
            raise RuntimeError(f"{key}: {spec} takes {spec.nbytes} bytes, not {offset + nbytes}")
        with self._lock:
            self._filled[key] += nbytes
        return self._plan.offsets[key] + offset


@dataclass(frozen=True, slots=True)
class WriterFiles:
    """What writers have open: the files that they copy from, and those that they fill.

    Without `filled` each file that is filled stays open until it is whole.
    """

    sources: SourceFiles = field(default_factory=SourceFiles)
    filled: OpenFiles | None = None

    @classmethod
    def shared(cls) -> WriterFiles:
        """Those of several writers that fill their files at the same time."""
        return cls(filled=OpenFiles(open_staged))

    def close(self) -> None:
        """Let go of them while nobody uses them."""
        self.sources.close()
        if self.filled is not None:
            self.filled.close()


class Writer(abc.ABC):
    """Writes one checkpoint whose specs are all known before the first tensor.

    Parts of a key may come in any order and from several threads, each byte once. Used as a context
    manager: leaving it normally publishes the output whole; leaving it by an exception removes
    every trace. A key that is tied to another one is filled with it, unless a format has ties.
    `files` are those that it has open, its own unless it shares them.
    """

    def __init__(self, ties: Mapping[str, str], files: WriterFiles | None) -> None:
        self._tied: dict[str, list[str]] = {}
        for key, owner in ties.items():
            self._tied.setdefault(owner, []).append(key)
        self._files = files or WriterFiles()
        self._stack = contextlib.ExitStack()
        self._fillers: Mapping[str, FileFiller] = {}

    @abc.abstractmethod
    def open_fillers(self, stack: contextlib.ExitStack) -> Mapping[str, FileFiller]:
        """The filler of each key's file, staged and entered on the stack."""

    def __enter__(self) -> Writer:
        with contextlib.ExitStack() as stack:
            stack.callback(self._files.close)
            self._fillers = self.open_fillers(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    def copy(self, key: str, extent: Extent, offset: int = 0) -> None:
        """Fill a part of the key's place, `offset` bytes from its start, with bytes of a file.

        Their CRC-32, where they have one, is carried over by a format that has CRCs, so that
        damage stays visible; other formats check it and raise CheckpointError.
        """
        for name in (key, *self._tied.get(key, ())):
            self._fillers[name].copy(name, extent, offset)

    def count_places(self, key: str) -> int:
        """How many places of the output a key's tensor fills: those of keys tied to it as well."""
        return 1 + len(self._tied.get(key, ()))

    def copies(self, extent: Extent) -> bool:
        """Whether the kernel moves such bytes; else they are read, for their CRC-32."""
        return extent.crc is None

    def write(self, key: str, array: Array, offset: int = 0) -> None:
        """Fill a part of the key's place from memory."""
        for name in (key, *self._tied.get(key, ())):
            self._fillers[name].write(name, array, offset)
