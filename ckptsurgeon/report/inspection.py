"""What is in a checkpoint, for people: all of it, or the tensors that were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.measuring.measured import Measurements
from ckptsurgeon.measuring.statistics import Statistics
from ckptsurgeon.report.sides import count_tensors
from ckptsurgeon.report.values import ValueRemark
from ckptsurgeon.showing import Paged
from ckptsurgeon.specs import TensorSpec


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Inspection(Paged):
    """A checkpoint that is looked at. `specs` are of the keys that match `only`, all without it.

    `measurements` are there where values were asked for, and `remarks` then say which want a look.
    """

    checkpoint: Checkpoint
    specs: Mapping[str, TensorSpec]
    only: tuple[str, ...] = ()
    measurements: Measurements | None = None
    remarks: tuple[ValueRemark, ...] = ()

    @property
    def statistics(self) -> Mapping[str, Statistics] | None:
        """What is told of the values of each tensor that has some; None where nobody asked."""
        if self.measurements is None:
            return None
        tensors = self.measurements.tensors
        return {key: tensors[key].statistics for key in self.specs if key in tensors}

    @property
    def summary(self) -> str:
        """`model.pt, torch, 14 tensors, 1.2 KiB`."""
        path, kind = self.checkpoint.path, self.checkpoint.format
        return f"{path}, {kind}, {count_tensors(self.specs.values())}"
