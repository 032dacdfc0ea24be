"""The destination, which may be several checkpoints by the aliases of outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TypeAlias, TypeGuard

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.planting import is_model
from ckptsurgeon.checkpoints.several import Several
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.file_names import find_files
from ckptsurgeon.planner.aliases import of_alias
from ckptsurgeon.request.opening import Source, open_source, paths_of, refuse_root
from ckptsurgeon.wanted import kind_of
from ckptsurgeon.wording import argument

Into: TypeAlias = "Source | Mapping[str, Source]"
"""A destination, or several by the aliases of outputs."""

OF_DESTINATION = f"{DESTINATION}::"
"""What stands before the alias of one of several destinations, where a root is named."""


def open_destination(
    into: Into, roots: Mapping[str, str], one_shard: bool = False, *, are_named: bool = False
) -> Checkpoint:
    """The destination, opened at its own root alone; several as one, by their aliases.

    `are_named` says that outputs have names, as for `is_by_alias`.
    """
    if not is_by_alias(into, are_named=are_named):
        return open_source(into, roots.get(DESTINATION), DESTINATION, one_shard=one_shard)
    parts: dict[str, Checkpoint] = {}
    found = list(_find_destinations(into))
    together = paths_of(one for _, one in found)
    for alias, one in found:
        if alias in parts:
            raise CheckpointError(f"{_name(alias)}: there are two of this name")
        root = root_of_destination(roots, alias)
        name = f"{OF_DESTINATION}{alias}" if alias else DESTINATION
        if root is not None:
            refuse_root(one, root, name)
        parts[alias] = open_source(one, root, name, one_shard=one_shard, together=together)
    return Several.of(parts)


def holds_dicts(into: object) -> bool:
    """Whether a destination is dicts in a dict, which only the rules tell from several."""
    return isinstance(into, Mapping) and any(isinstance(one, Mapping) for one in into.values())


def is_by_alias(into: object, *, are_named: bool = False) -> TypeGuard[Mapping[str, Source]]:
    """Whether destinations are given by the aliases of outputs, and no tensors by key.

    Dicts in a dict are wrappers of one checkpoint, or several where outputs `are_named`.
    """
    given = list(into.values()) if isinstance(into, Mapping) else []
    if any(isinstance(one, Checkpoint) or is_model(one) for one in given):
        return True
    known = (str, os.PathLike, *((Mapping,) if are_named else ()))
    return bool(given) and all(isinstance(one, known) for one in given)


def _name(alias: str) -> str:
    """One of several destinations, as who gave it writes it."""
    return argument("into", alias, f"{{{alias!r}: …}}")


def _find_destinations(given: Mapping[str, Source]) -> Iterator[tuple[str, Source]]:
    for alias, one in given.items():
        if "<" not in alias:
            yield alias, one
        elif isinstance(one, str | os.PathLike):
            yield from find_files(alias, os.fspath(one), "into")
        else:
            raise CheckpointError(f"{_name(alias)}: {kind_of(one)} where names of files are wanted")


def root_of_destination(roots: Mapping[str, str], alias: str) -> str | None:
    """The root that a destination is opened at: its own, or that of all destinations."""
    own = {
        name.removeprefix(OF_DESTINATION): one
        for name, one in roots.items()
        if name.startswith(OF_DESTINATION)
    }
    return of_alias({**own, "": roots[DESTINATION]} if DESTINATION in roots else own, alias)
