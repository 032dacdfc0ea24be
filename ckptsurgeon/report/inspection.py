"""What is in a checkpoint, for people: all of it, or the tensors that were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.report.sides import count_tensors
from ckptsurgeon.showing import Shown
from ckptsurgeon.specs import TensorSpec, human_bytes, plural


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Inspection(Shown):
    """A checkpoint that is looked at. `specs` are of the keys that match `only`, all without it."""

    checkpoint: Checkpoint
    specs: Mapping[str, TensorSpec]
    only: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """`model.pt, torch, 14 tensors, 1.2 KiB`."""
        found = count_tensors(self.specs.values())
        path, kind = self.checkpoint.path, self.checkpoint.format
        size = f"{plural(found.tensors, 'tensor')}, {human_bytes(found.nbytes)}"
        return f"{path}, {kind}, {size}"
