"""The tensors of a probe made in blocks of bounded memory, into a writer or as arrays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.checkpoints.writing.filling import Writer
from ckptsurgeon.engine.execution import refuse_changed, refuse_inputs
from ckptsurgeon.engine.mover import MEMORY, Moved, Progress, Workers
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.ops.mosaic import strided
from ckptsurgeon.plans.graph import Leaf
from ckptsurgeon.probing.designing import Design
from ckptsurgeon.probing.drawing import draw
from ckptsurgeon.probing.recipes import Recipe, block_starts
from ckptsurgeon.specs import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BLOCK = 1 << 18
"""Numbers that are drawn at a time, which with what they are drawn from fit a cache."""

DRAWING = 32
"""Bytes of memory that a number takes while it is drawn."""


def write_probe(
    design: Design,
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    memory: int | None = None,
    max_shard_size: int | None = None,
    progress: Progress | None = None,
) -> Moved:
    """Writes the output, whole or not at all; `memory` bounds what is held of tensors (256 MiB).

    Raises OutputError where nothing can be written, CheckpointError where the source changes
    meanwhile.
    """
    refuse_inputs(Path(output), {"": design.checkpoint})
    size = max_shard_size
    with open_writer(output, design.layout, force=force, max_shard_size=size) as writer:
        moved = _fill(design, writer, memory or MEMORY, progress)
        refuse_changed(design.stamps)
    return moved


def _fill(design: Design, writer: Writer, limit: int, progress: Progress | None) -> Moved:
    total, done, copied = sum(design.specs[key].nbytes for key in design.own), 0, 0
    with Workers({"": design.checkpoint}, limit) as workers:
        for key in design.own:
            if key in design.recipes:
                _write_drawn(writer, key, design.recipes[key], limit)
            else:
                _write_kept(writer, key, design, workers)
                copied += design.specs[key].nbytes * writer.count_places(key)
            done += design.specs[key].nbytes
            if progress is not None:
                progress(done, total, key)
    written = sum(design.specs[key].nbytes * writer.count_places(key) for key in design.own)
    return Moved(copied, written - copied)


def _write_drawn(writer: Writer, key: str, recipe: Recipe, memory: int) -> None:
    size = max(1, min(BLOCK, memory // DRAWING))
    for first, count in block_starts(recipe, size):
        writer.write(key, draw(recipe, first, count), first * recipe.band.width // 8)


def _write_kept(writer: Writer, key: str, design: Design, workers: Workers) -> None:
    """The source's own bytes: those that lie dense in a file as they lie."""
    leaf = Leaf("", key, design.specs[key], key)
    extent = workers.extent(leaf)
    if extent is not None:
        writer.copy(key, extent)
        return
    workers.check(leaf)
    mosaic = strided(leaf, leaf.spec, workers.stride(leaf))
    for offset, block in workers.own.blocks(mosaic, leaf.spec):
        writer.write(key, block, offset)


def make_array(design: Design, key: str) -> Array:
    """The whole tensor of a key that is tied to no other, in its carrier, as memory of its own.

    Raises CheckpointError for a dtype whose items are smaller than a byte.
    """
    import numpy as np

    spec = design.specs[key]
    if spec.carrier is None:
        raise CheckpointError(
            f"`{key}` is {spec}, whose items are smaller than a byte; name an output to write"
        )
    if key not in design.recipes:
        return np.array(design.checkpoint.read(key))
    return _drawn_array(design.recipes[key], spec)


def _drawn_array(recipe: Recipe, spec: TensorSpec) -> Array:
    import numpy as np

    flat = np.empty(recipe.count, f"<u{recipe.band.width // 8}")
    for first, count in block_starts(recipe, BLOCK):
        flat[first : first + count] = draw(recipe, first, count)
    return flat.view(spec.carrier or "u1").reshape(spec.shape)
