"""`inspect`: what is in a checkpoint, a folder, a factory's model, or a dict."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.factories import is_factory, open_factory
from ckptsurgeon.report.inspection import Inspection
from ckptsurgeon.request import Source, open_source, refuse_root
from ckptsurgeon.selecting import read_only, select
from ckptsurgeon.wanted import require


def inspect(
    source: Source,
    *,
    root: str | None = None,
    only: str | Collection[str] = (),
    arguments: Mapping[str, Any] | None = None,
) -> Inspection:
    """What is in a checkpoint: tensors, ties, wrappers and entries, from its headers alone.

    `source` is a path, a factory's name, a dict of tensors, a model or an open checkpoint; `root`
    the wrapper to open, "" for everything. `only` are patterns as rules have them, such as
    `layers.<i>.**`, of which a key must match one. `arguments` are those of a factory, by keyword.

    Raises CheckpointError for what can't be read, also where no key matches.
    """
    if root is not None:
        require("root", root, str, "a name")
    if arguments is not None:
        require("arguments", arguments, Mapping, "a dict of keywords")
    patterns = read_only(only)
    opened = _open(source, root, arguments)
    specs = opened.contents.specs
    if patterns:
        chosen = select(patterns, specs, str(opened.path))
        specs = {key: spec for key, spec in specs.items() if key in chosen}
    return Inspection(opened, specs, patterns)


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
