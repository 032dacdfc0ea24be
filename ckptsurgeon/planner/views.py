"""A checkpoint as the rules see it: after `root`, `strip` and `separator`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.formats.base import Checkpoint
from ckptsurgeon.planner.model import SourceView
from ckptsurgeon.ruleset.model import SourceOptions
from ckptsurgeon.specs import TensorSpec


def view_source(checkpoint: Checkpoint, alias: str, options: SourceOptions) -> SourceView:
    """The view of a source; raises CheckpointError where two keys become one."""
    specs = checkpoint.contents.specs
    names = renamed_keys(specs, options, str(checkpoint.path))
    return SourceView(
        alias=alias,
        path=str(checkpoint.path),
        format=checkpoint.format,
        options=options,
        digest=digest(specs),
        names=names,
        specs={key: specs[name] for key, name in names.items()},
        contents=checkpoint.contents,
        has_values=checkpoint.has_values,
    )


def digest(specs: Mapping[str, TensorSpec]) -> str:
    """SHA-256 over keys, dtypes and shapes in file order."""
    digest = hashlib.sha256()
    for key, spec in specs.items():
        digest.update(json.dumps([key, spec.dtype, spec.shape]).encode())
    return digest.hexdigest()


def renamed_keys(specs: Iterable[str], options: SourceOptions, path: str) -> dict[str, str]:
    """The file's names by the rules' keys; raises CheckpointError where two become one."""
    if not (options.strip or options.strip_anywhere or options.separator != "."):
        return {name: name for name in specs}
    names: dict[str, str] = {}
    for name in specs:
        key = _stripped(_dotted(name, options.separator), options)
        if key in names:
            raise CheckpointError(
                f"{path}: {names[key]!r} and {name!r} both become {key!r} by `strip` or `separator`"
            )
        names[key] = name
    return names


def _dotted(name: str, separator: str) -> str:
    return name if separator == "." else name.replace(separator, ".")


def _stripped(key: str, options: SourceOptions) -> str:
    shorter = _without_prefix(key, options.strip)
    while shorter != key:
        key, shorter = shorter, _without_prefix(shorter, options.strip)
    if not options.strip_anywhere:
        return key
    return ".".join(_without(key.split("."), options.strip_anywhere)) or key


def _without_prefix(key: str, prefixes: Iterable[str]) -> str:
    for prefix in prefixes:
        if prefix and key.startswith(prefix) and len(key) > len(prefix):
            return key[len(prefix) :]
    return key


def _without(pieces: list[str], unwanted: Iterable[str]) -> list[str]:
    """The pieces but for each whole run that an entry of `anywhere` names."""
    for entry in unwanted:
        run = [piece for piece in entry.split(".") if piece]
        at = 0
        while run and at + len(run) <= len(pieces):
            if pieces[at : at + len(run)] == run:
                del pieces[at : at + len(run)]
            else:
                at += 1
    return pieces
