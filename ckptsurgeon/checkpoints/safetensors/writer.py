"""Writing safetensors files: the header first, then tensors at known offsets, in any order."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from ckptsurgeon.checkpoints.base import Layout
from ckptsurgeon.checkpoints.safetensors.header import Entry, unfit, write_header
from ckptsurgeon.checkpoints.strict_json import shorten
from ckptsurgeon.checkpoints.transfer import naming
from ckptsurgeon.checkpoints.writing.filling import FileFiller, FilePlan, Writer, WriterFiles
from ckptsurgeon.checkpoints.writing.staging import staged_file
from ckptsurgeon.errors import OutputError
from ckptsurgeon.specs import BITS, TensorSpec


def plan_file(specs: Mapping[str, TensorSpec], metadata: Mapping[str, str]) -> FilePlan:
    """The plan of a file that holds these tensors; the same arguments give the same bytes.

    Items that are wider come first, so that every tensor is aligned. The metadata gets
    `format: pt`, which transformers asks for.
    """
    entries: dict[str, Entry] = {}
    at = 0
    for key in sorted(specs, key=lambda key: -BITS[specs[key].dtype]):
        spec = specs[key]
        if fault := unfit(spec):
            raise OutputError(f"{shorten(key)}: {fault}; write a .pt file instead, or cast it")
        entries[key] = Entry(spec.dtype, spec.shape, (at, at + spec.nbytes))
        at += spec.nbytes
    header = write_header(entries, {**metadata, "format": "pt"})
    offsets = {key: len(header) + entry.data_offsets[0] for key, entry in entries.items()}
    return FilePlan(specs, header, offsets, len(header) + at)


class SafetensorsWriter(Writer):
    """Writes one safetensors file, staged beside its target."""

    def __init__(
        self, target: Path, layout: Layout, force: bool, files: WriterFiles | None = None
    ) -> None:
        super().__init__(layout.ties, files)
        self._target, self._force = target, force
        with naming(target):
            self._plan = plan_file(layout.specs, layout.metadata)

    def open_fillers(self, stack: contextlib.ExitStack) -> Mapping[str, FileFiller]:
        """One filler for all keys."""
        own, files = self._plan, self._files
        staged = staged_file(
            self._target, force=self._force, nbytes=own.nbytes, filled=files.filled
        )
        opened = stack.enter_context(staged).opened
        filler = stack.enter_context(FileFiller(opened, own, files.sources))
        return dict.fromkeys(self._plan.specs, filler)
