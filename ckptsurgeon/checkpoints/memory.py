"""A checkpoint that is a dict in memory: arrays in their carriers, or shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.checkpoints.base import Array, Extent


@dataclass(frozen=True, slots=True)
class MemoryCheckpoint:
    """Arrays by key, each in the carrier dtype of its spec; None for a model on the meta device.

    `arrays` may be any mapping, also one that converts a value when it is asked for it.
    """

    arrays: Mapping[str, Array] | None
    specs: Mapping[str, TensorSpec]
    aliases: tuple[tuple[str, ...], ...] = ()
    module_metadata: Mapping[str, Mapping[str, Any]] | None = None
    path: Path = field(default=Path("<memory>"))

    @property
    def format(self) -> str:
        return "memory"

    @property
    def contents(self) -> Contents:
        return Contents(self.specs, self.aliases, module_metadata=self.module_metadata)

    @property
    def files(self) -> tuple[Path, ...]:
        """None: the tensors are in memory."""
        return ()

    @property
    def has_values(self) -> bool:
        return self.arrays is not None

    def extent(self, key: str) -> Extent | None:
        """None: the bytes lie in no file."""
        return None

    def read(self, key: str) -> Array:
        """The array of a key, not a copy of it."""
        if self.arrays is None:
            raise CheckpointError(f"{self.path}: holds shapes alone, no values of {key!r}")
        return self.arrays[key]
