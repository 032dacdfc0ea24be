"""What a user names as checkpoint, destination or config, opened: paths, dicts, several sources."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.base import DESTINATION, Checkpoint
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.tensors import checkpoint_of
from ckptsurgeon.errors import CheckpointError, CkptSurgeonError
from ckptsurgeon.factories import is_factory, open_factory
from ckptsurgeon.files import read_regular

Source = str | os.PathLike[str] | Mapping[str, Any] | Checkpoint
"""A path, a factory's name, a dict of torch tensors or NumPy arrays, or an open checkpoint."""

MAX_WHOLE = 256 << 20
"""Longest config or saved plan that is read."""


def open_source(source: Source, root: str | None = None) -> Checkpoint:
    """The checkpoint that a path, a factory, a dict of tensors, or an open checkpoint is.

    Raises CheckpointError, also for what is none of these.
    """
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        return open_factory(name) if is_factory(name) else open_checkpoint(name, root)
    if isinstance(source, Mapping):
        return checkpoint_of(source)
    if not hasattr(source, "contents"):
        kind = type(source).__name__
        what = "its state_dict()" if hasattr(source, "state_dict") else "a dict of tensors"
        raise CheckpointError(f"{kind} is no checkpoint; give a path, {what}, or an open one")
    return source


def open_sources(
    source: Source | None, named: Mapping[str, Source], roots: Mapping[str, str]
) -> dict[str, Checkpoint]:
    """All sources by alias, the unnamed one under "".

    An alias with a star, as in `s*`, numbers the files that its path matches in natural order.
    """
    everywhere = roots.get("")
    opened: dict[str, Checkpoint] = {}
    if source is not None:
        opened[""] = open_source(source, everywhere)
    for name, one in numbered(named).items():
        opened[name] = open_source(one, roots.get(name, everywhere))
    if not opened:
        raise CheckpointError("no source: give SRC, or name sources by --source ALIAS=PATH")
    for checkpoint in opened.values():
        if checkpoint.format != "memory" and not checkpoint.contents.specs:
            raise CheckpointError(
                f"{checkpoint.path}: holds no tensors; `inspect` shows what it has"
            )
    return opened


def numbered(named: Mapping[str, Source]) -> dict[str, Source]:
    """Sources by alias; one with a star, as in `s*`, numbers the files that its path matches."""
    found: dict[str, Source] = {}
    for alias, one in named.items():
        for name, source in _numbered(alias, one):
            _check_alias(name)
            if name in found:
                raise CheckpointError(f"--source {name}: there are two of this name")
            found[name] = source
    return found


def _check_alias(alias: str) -> None:
    if not re.fullmatch(r"[^\W\d]\w*", alias):
        raise CheckpointError(f"--source {alias}: an alias is a name of letters, digits and _")
    if alias == DESTINATION:
        raise CheckpointError(f"--source {alias}: that alias means the destination")


def _numbered(alias: str, source: Source) -> list[tuple[str, Source]]:
    if "*" not in alias:
        return [(alias, source)]
    if not isinstance(source, str | os.PathLike):
        raise CheckpointError(f"--source {alias}: a star numbers files, and this is no path")
    pattern = os.fspath(source)
    found = sorted(glob.glob(pattern), key=_natural)
    if not found:
        raise CheckpointError(f"--source {alias}={pattern}: no file matches")
    return [(alias.replace("*", str(number)), path) for number, path in enumerate(found)]


def _natural(path: str) -> list[tuple[int, str]]:
    """Order with numbers by value: 2 before 10."""
    parts = re.split(r"([0-9]+)", path)
    return [(int(part), "") if at % 2 else (-1, part) for at, part in enumerate(parts)]


def read_config(config: str | os.PathLike[str] | Mapping[str, Any] | None) -> Any:
    """The parsed `--config`: a JSON object, or a mapping as it is."""
    if config is None or isinstance(config, Mapping):
        return config
    path = Path(config)
    try:
        found = json.loads(read_whole(path, "config").decode())
    except UnicodeDecodeError as error:
        raise CkptSurgeonError(f"{path}: the config is not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise CkptSurgeonError(f"{path}: the config is not JSON: {error}") from None
    if not isinstance(found, Mapping):
        raise CkptSurgeonError(f"{path}: the config is no JSON object")
    return found


def read_whole(path: Path, what: str) -> bytes:
    """The bytes of a small regular file; raises CkptSurgeonError that says what it should be."""
    try:
        content = read_regular(path, MAX_WHOLE)
    except OSError as error:
        raise CkptSurgeonError(f"{path}: can't read the {what}: {error.strerror}") from None
    if len(content) > MAX_WHOLE:
        raise CkptSurgeonError(f"{path}: a {what} of more than {MAX_WHOLE >> 20} MiB")
    return content
