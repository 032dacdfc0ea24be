"""Checkpoints without values, as text: `{key: [dtype, [shape]]}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.base import Contents
from ckptsurgeon.checkpoints.strict_json import MAX_DIMS, counts, shorten
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.checkpoints.base import Array, Extent


@dataclass(frozen=True, slots=True)
class SpecCheckpoint:
    """The specs that a JSON file lists; there are no values to read."""

    path: Path
    contents: Contents

    @property
    def format(self) -> str:
        return "spec"

    @property
    def files(self) -> tuple[Path, ...]:
        """The file that the tensors lie in."""
        return (self.path,)

    @property
    def has_values(self) -> bool:
        return False

    def extent(self, key: str) -> Extent | None:
        """None: there are no bytes."""
        return None

    def read(self, key: str) -> Array:
        """Never returns: raises CheckpointError."""
        raise CheckpointError(f"{self.path}: holds shapes alone, no values of {key!r}")


def open_spec(path: Path, entries: Mapping[str, Any]) -> SpecCheckpoint:
    """The checkpoint that the object of a JSON file describes. Raises CheckpointError."""
    try:
        specs = {key: _spec(key, entry) for key, entry in entries.items()}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return SpecCheckpoint(path, Contents(specs))


def dump(specs: Mapping[str, TensorSpec]) -> str:
    """The JSON text that `open_spec` reads, a key per line."""
    lines = (
        f"  {json.dumps(key)}: {json.dumps([spec.dtype, list(spec.shape)])}"
        for key, spec in specs.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _spec(key: str, entry: Any) -> TensorSpec:
    match entry:
        case [str(dtype), shape] if counts(shape, MAX_DIMS):
            try:
                return TensorSpec(dtype, tuple(shape))
            except CheckpointError as error:
                raise CheckpointError(f"{shorten(key)}: {error}") from error
    raise CheckpointError(
        f'{shorten(key)}: {shorten(entry)}, wanted [dtype, [shape]], as ["F32", [64, 3, 7, 7]]'
    )
