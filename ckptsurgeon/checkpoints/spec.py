"""Checkpoints without values, as text: `{key: [dtype, [shape]]}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint, Contents
from ckptsurgeon.checkpoints.counts import are_counts
from ckptsurgeon.checkpoints.strict_json import shorten
from ckptsurgeon.checkpoints.transfer import naming
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import TensorSpec


def open_spec(path: Path, entries: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint that the object of a JSON file describes. Raises CheckpointError."""
    with naming(path):
        specs = {key: _spec(key, entry) for key, entry in entries.items()}
    return Checkpoint(
        path=path, format="spec", contents=Contents(specs), files=(path,), has_values=False
    )


def looks_spec(entry: object) -> bool:
    """Whether a value in JSON is like `[dtype, [shape]]`, if perhaps not right."""
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)


def dump(specs: Mapping[str, TensorSpec]) -> str:
    """The JSON text that `open_spec` reads, a key per line."""
    lines = (
        f"  {json.dumps(key)}: {json.dumps([spec.dtype, list(spec.shape)])}"
        for key, spec in specs.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _spec(key: str, entry: Any) -> TensorSpec:
    match entry:
        case [str(dtype), shape] if are_counts(shape):
            try:
                return TensorSpec(dtype, tuple(shape))
            except CheckpointError as error:
                raise CheckpointError(f"{shorten(key)}: {error}") from error
    raise CheckpointError(describe_wanted(key, entry))


def describe_wanted(key: str, entry: object) -> str:
    """Words for an entry that is no spec."""
    return f'{shorten(key)}: {shorten(entry)}, wanted [dtype, [shape]], as ["F32", [64, 3, 7, 7]]'
