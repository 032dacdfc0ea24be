"""One source or destination, opened: a path, a factory, a dict, a model, or what is open."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint, Contents, Outside
from ckptsurgeon.checkpoints.memory import has_root, open_dict
from ckptsurgeon.checkpoints.models import open_model
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.planting import is_model
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.factories import is_factory, open_factory
from ckptsurgeon.wanted import kind_of
from ckptsurgeon.wording import name_alias, name_destination, name_root

if TYPE_CHECKING:
    from torch import nn

Source: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Checkpoint | nn.Module"
"""A path, a factory's name, a dict of tensors or arrays, a model, or an open checkpoint."""


def open_source(
    source: Source,
    root: str | None = None,
    alias: str = "",
    *,
    one_shard: bool = False,
    together: Collection[Path] = frozenset(),
) -> Checkpoint:
    """The checkpoint that a path, a factory, a dict of tensors, or an open checkpoint is.

    Raises CheckpointError, also for what is none of these, for a file with two sets of the same
    weights where no root says which is meant, and for one shard of a set, as `open_checkpoint`.
    """
    checkpoint = _open(source, root, one_shard, together)
    if checkpoint.contents.rivals and root is None:
        raise CheckpointError(f"{checkpoint.path}: {_ask_for_root(checkpoint.contents, alias)}")
    return checkpoint


def paths_of(sources: Iterable[Source]) -> frozenset[Path]:
    """The paths among sources, to be given as those that are opened together."""
    return frozenset(Path(one) for one in sources if isinstance(one, str | os.PathLike))


def refuse_root(source: Source, root: str, alias: str = "") -> None:
    """Raises CheckpointError for a root of what can't be opened at one."""
    if not _may_have_root(source, root):
        name = name_destination() if alias == DESTINATION else name_alias(alias)
        raise CheckpointError(
            f"{name_root(root, alias)}: {name} is no file to open at a root; give the part that is "
            "meant"
        )


def _may_have_root(source: Source, root: str) -> bool:
    """Whether a source can be opened at a root: a file, or a dict that has what it names."""
    if isinstance(source, Mapping):
        return not root or root.partition(".")[0] in source or has_root(source, root)
    return isinstance(source, str | os.PathLike) and not is_factory(str(source))


def _ask_for_root(contents: Contents, alias: str) -> str:
    """The words for weights that a file holds twice."""
    nbytes = sum(spec.nbytes for spec in contents.specs.values())
    opened = Outside(contents.root, len(contents.specs), nbytes)
    sets = [f"{one.place} ({one})" for one in (opened, *contents.rivals)]
    ways = " or ".join(f"`{name_root(one.key, alias)}`" for one in (opened, *contents.rivals))
    named = f"{{{alias}: {opened.key}}}" if alias else opened.key
    return (
        f"holds the same weights {len(sets)} times, under {' and '.join(sets)}; say which are "
        f"meant: {ways}, in a rule file `source: {{root: {named}}}`"
    )


def _open(
    source: Source, root: str | None, one_shard: bool, together: Collection[Path]
) -> Checkpoint:
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if is_factory(name):
            return open_factory(name)
        return open_checkpoint(name, root, one_shard=one_shard, together=together)
    if isinstance(source, Mapping):
        return open_dict(source, root)
    if isinstance(source, Checkpoint):
        return source
    if is_model(source):
        return open_model(source)
    raise CheckpointError(
        f"{kind_of(source)} is no checkpoint; "
        "give a path, a dict of tensors, a model, or an open one"
    )
