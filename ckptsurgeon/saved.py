"""Saved plans read from their files, with the checkpoints to run them on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.memory import MEMORY
from ckptsurgeon.checkpoints.several import SEVERAL
from ckptsurgeon.engine.execution import Execution, stamps_of
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.factories import is_factory
from ckptsurgeon.language.rules import SourceOptions
from ckptsurgeon.numbering import OF_FILES
from ckptsurgeon.plans.files.format import SavedPlan, SavedView
from ckptsurgeon.plans.files.restoring import read_plan, recall_plan, restore_plan
from ckptsurgeon.plans.files.saving import encode_plan
from ckptsurgeon.plans.inverse.inverting import PLANNED
from ckptsurgeon.plans.plan import Plan
from ckptsurgeon.request import (
    Into,
    Source,
    gather_sources,
    open_destination,
    open_source,
    open_sources,
    paths_of,
    read_whole,
)
from ckptsurgeon.wording import argument, name_alias, name_destination, name_source

IN_MEMORY = re.compile("<.*>")
"""The path of what is no file: `<memory>`, or the class of a model."""


def recall(path: Path) -> Plan:
    """A saved plan as it was made; its checkpoints need not be there any more."""
    return recall_plan(_read(path), path)


def prepare_saved(
    plan: Plan | Path,
    source: Source | None,
    named: Mapping[str, Source],
    into: Into | None,
    one_shard: bool = False,
) -> Execution:
    """A plan, or the file of a saved one, with the checkpoints to run it on.

    A checkpoint that is not given is looked for where it was when the plan was made. One shard
    of a set is meant where the plan was made so, or `one_shard` says it.
    """
    if isinstance(plan, Plan):  # which is held against what is given as a file's is
        path = Path("<plan>")
        saved = read_plan(encode_plan(plan, path), path)
    else:
        path, saved = plan, _read(plan)
    options = _options(saved, one_shard)
    given, notes = gather_sources(source, named)
    checkpoints = _open_views(path, saved, given, options)
    if saved.destination is None and into is not None:
        asked = name_destination()
        raise CheckpointError(f"{path}: was made without a destination: plan again with {asked}")
    if saved.destination is not None:
        checkpoints[DESTINATION] = open_destination(
            _remembered_destination(path, saved, saved.destination) if into is None else into,
            options.roots,
            options.one_shard,
            are_named=saved.is_named,
        )
    stamps = stamps_of(checkpoints)
    restored = restore_plan(saved, checkpoints, path)
    if named:  # what was said of the files of then may not hold of these
        kept = (note for note in restored.notes if note.kind != OF_FILES)
        restored = dataclasses.replace(restored, notes=(*notes, *kept))
    return Execution(restored, checkpoints, stamps)


def _read(path: Path) -> SavedPlan:
    return read_plan(read_whole(path, "saved plan"), path)


def _open_views(
    path: Path,
    saved: SavedPlan,
    given: Mapping[str, Source],
    options: SourceOptions,
) -> dict[str, Checkpoint]:
    """The sources that the plan was made for, by alias."""
    views = {view.alias: view for view in saved.sources}
    if unknown := [alias for alias in given if alias not in views]:
        there = ", ".join(map(name_alias, views))
        way = name_source(saved.sources[0].alias, "PATH") if saved.sources else ""
        help = f": give them by {way}" if way and not unknown[0] else ""
        word = name_alias(unknown[0])
        raise CheckpointError(f"{path}: has no source {word}; there are: {there}{help}")
    found = {
        alias: given[alias] if alias in given else _remembered(path, view)
        for alias, view in views.items()
    }
    together = paths_of(found.values())
    for view in saved.sources:
        if view.format == PLANNED:
            found[view.alias] = _open_output(view, found[view.alias], options, together)
    return open_sources(found, options)


def _remembered(path: Path, view: SavedView) -> str:
    """Where a checkpoint was when the plan was made.

    Raises CheckpointError where that is a factory: its code is run for who names it, never on the
    word of a file.
    """
    word = name_destination() if view.alias == DESTINATION else name_alias(view.alias)
    return _file_of(path, view.path, word, in_memory=view.format == MEMORY)


def _remembered_destination(path: Path, saved: SavedPlan, view: SavedView) -> Into:
    """Where the destination was when the plan was made; several by the aliases of outputs."""
    if view.format != SEVERAL:
        return _remembered(path, view)
    return {
        file.alias: _file_of(
            path,
            file.into,
            argument("into", f"{file.alias}=DST", f"{{{file.alias!r}: …}}"),
            in_memory=bool(IN_MEMORY.fullmatch(file.into)),
        )
        for file in saved.files
        if file.into
    }


def _file_of(path: Path, name: str, word: str, *, in_memory: bool) -> str:
    """The file that a plan was made for; raises CheckpointError for what is none."""
    if is_factory(name):
        raise CheckpointError(
            f"{path}: was made for the model {name}, which is code, and plans run none; "
            f"name it by {word}"
        )
    if in_memory:
        raise CheckpointError(f"{path}: was made for what was in memory: give it as {word}")
    return name


def _options(saved: SavedPlan, one_shard: bool) -> SourceOptions:
    """How the sources are opened, which is said once for all of them."""
    options = saved.sources[0].options if saved.sources else SourceOptions()
    return replace(options, one_shard=one_shard or options.one_shard)


def _open_output(
    view: SavedView, source: Source, options: SourceOptions, together: Collection[Path]
) -> Checkpoint:
    """The output of another plan: nested under the root where it is torch's, else flat."""
    if source == view.path:
        raise CheckpointError(f"the plan needs {view.path}: name it as {name_alias(view.alias)}")
    root = options.roots.get(view.alias, options.roots.get(""))
    opened = partial(
        open_source, source, alias=view.alias, one_shard=options.one_shard, together=together
    )
    try:
        return opened(root)
    except CheckpointError:
        if root is None:
            raise
    return opened(None)
