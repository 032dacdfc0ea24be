"""`inspect`: what is in a checkpoint, a folder, a factory's model, or a dict."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.engine.execution import refuse_changed, stamps_of
from ckptsurgeon.engine.mover import Progress
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.factories import is_factory, open_factory
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.report.values import find_limits, find_remarks
from ckptsurgeon.request import Source, open_source, refuse_root
from ckptsurgeon.selecting import read_patterns, select
from ckptsurgeon.wanted import Size, read_size, require, require_progress
from ckptsurgeon.wording import argument


def inspect(
    source: Source,
    *,
    root: str | None = None,
    only: str | Collection[str] = (),
    arguments: Mapping[str, Any] | None = None,
    stats: bool = False,
    memory: Size | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """What is in a checkpoint: tensors, ties, wrappers and entries, from its headers alone.

    `source` is a path, a factory's name, a dict of tensors, a model or an open checkpoint; `root`
    the wrapper to open, "" for everything. `only` are patterns as rules have them, such as
    `layers.<i>.**`, of which a key must match one. `arguments` are those of a factory, by keyword.

    With `stats` the values of these tensors are read too, once, and `statistics` of the result tell
    of them by key. `memory` bounds what is held of tensors at a time, as 268435456 or "256MiB";
    `progress` is called with (bytes read, bytes in all, key).

    Raises CheckpointError for what can't be read, also where no key matches, ValueError for a size
    below 1, and CkptSurgeonError for arguments of other kinds.
    """
    limit = _check_values(stats, memory, progress)
    if root is not None:
        require("root", root, str, "a name")
    if arguments is not None:
        require("arguments", arguments, Mapping, "a dict of keywords")
    patterns = read_patterns(only)
    opened = _open(source, root, arguments)
    specs = opened.contents.specs
    if patterns:
        chosen = select(patterns, specs, str(opened.path))
        specs = {key: spec for key, spec in specs.items() if key in chosen}
    found = Inspection(opened, specs, patterns)
    return _measure(found, limit, progress) if stats else found


def _check_values(stats: bool, memory: Size | None, progress: Progress | None) -> int | None:
    """The bytes that may be held of tensors; raises where what is asked of values is no such."""
    require("stats", stats, bool, "true or false")
    require_progress(progress)
    return read_size(memory, "memory")


def _measure(found: Inspection, memory: int | None, progress: Progress | None) -> Inspection:
    """The same with what is told of its values; raises CheckpointError where it has none."""
    from ckptsurgeon.measuring.measuring import measure

    checkpoint, specs = found.checkpoint, found.specs
    if not checkpoint.has_values:
        name = argument("stats", "", "True")
        raise CheckpointError(
            f"{checkpoint.path}: holds shapes alone, no values for {name}; "
            "name the file or the folder that the weights are in"
        )
    stamps = stamps_of({"": checkpoint})
    limits = find_limits(checkpoint.contents.specs)
    measured = measure(checkpoint, specs, limits=limits, memory=memory, progress=progress)
    refuse_changed(stamps, "inspect again")
    remarks = tuple(find_remarks(checkpoint.contents.specs, measured))
    return replace(found, measurements=measured, remarks=remarks)


def _open(source: Source, root: str | None, arguments: Mapping[str, Any] | None) -> Checkpoint:
    """The checkpoint, also one shard of a set, and a file with two sets of the same weights."""
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if is_factory(name):
            return open_factory(name, arguments)
        return open_checkpoint(name, root, one_shard=True)
    if root is not None:
        refuse_root(source, root)
    return open_source(source, root)
