"""The destination, which may be several checkpoints by the aliases of outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TypeAlias, TypeGuard

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.several import Several
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.file_names import find_files
from ckptsurgeon.planner.aliases import of_alias
from ckptsurgeon.request.opening import Source, open_source, paths_of
from ckptsurgeon.wording import argument

Into: TypeAlias = "Source | Mapping[str, str | os.PathLike[str]]"
"""A destination, or the paths of several by the aliases of outputs."""

OF_DESTINATION = f"{DESTINATION}::"
"""What stands before the alias of one of several destinations, where a root is named."""


def open_destination(source: Into, roots: Mapping[str, str], one_shard: bool = False) -> Checkpoint:
    """The destination, opened at its own root alone; several as one, by their aliases."""
    if not is_by_alias(source):
        return open_source(source, roots.get(DESTINATION), DESTINATION, one_shard=one_shard)
    parts: dict[str, Checkpoint] = {}
    found = list(_find_destinations(source))
    together = paths_of(path for _, path in found)
    for alias, path in found:
        if alias in parts:
            raise CheckpointError(f"{argument('into', alias)}: there are two of this name")
        root = root_of_destination(roots, alias)
        name = f"{OF_DESTINATION}{alias}" if alias else DESTINATION
        parts[alias] = open_source(path, root, name, one_shard=one_shard, together=together)
    return Several.of(parts)


def is_by_alias(into: object) -> TypeGuard[Mapping[str, str | os.PathLike[str]]]:
    """Whether destinations are given by the aliases of outputs, and no tensors by key."""
    paths = into.values() if isinstance(into, Mapping) else ()
    return bool(paths) and all(isinstance(path, str | os.PathLike) for path in paths)


def _find_destinations(given: Mapping[str, str | os.PathLike[str]]) -> Iterator[tuple[str, str]]:
    for alias, path in given.items():
        if "<" in alias:
            yield from find_files(alias, os.fspath(path), "into")
        else:
            yield alias, os.fspath(path)


def root_of_destination(roots: Mapping[str, str], alias: str) -> str | None:
    """The root that a destination is opened at: its own, or that of all destinations."""
    own = {
        name.removeprefix(OF_DESTINATION): one
        for name, one in roots.items()
        if name.startswith(OF_DESTINATION)
    }
    return of_alias({**own, "": roots[DESTINATION]} if DESTINATION in roots else own, alias)
