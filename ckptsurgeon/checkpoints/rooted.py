"""The part of a flat checkpoint whose keys begin with a root."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ckptsurgeon.checkpoints.base import Checkpoint, Contents, Span, count_outside
from ckptsurgeon.checkpoints.strict_json import shorten_all
from ckptsurgeon.checkpoints.transfer import Array, Extent
from ckptsurgeon.errors import CheckpointError, nearest


def under_root(checkpoint: Checkpoint, root: str | None) -> Checkpoint:
    """The tensors whose keys begin with `root.`, or with `root/` as in Flax's files, without it.

    All where the root is None or "". For formats without wrappers, where a root can only be a
    prefix. Raises CheckpointError where no key begins so.
    """
    if not root:
        return checkpoint
    keys = checkpoint.contents.specs
    prefix = next((f"{root}{mark}" for mark in "./" if _begins(keys, f"{root}{mark}")), "")
    if not prefix:
        known = sorted({re.split(r"[./]", key)[0] for key in keys})
        raise CheckpointError(
            f"{checkpoint.path}: no key begins with the root {root!r}; "
            + (nearest(root, known) or f"keys begin with {shorten_all(known)}")
        )
    return RootedCheckpoint(
        path=checkpoint.path,
        format=checkpoint.format,
        contents=_strip(checkpoint.contents, prefix),
        files=checkpoint.files,
        has_values=checkpoint.has_values,
        whole=checkpoint,
        prefix=prefix,
    )


def _begins(keys: Iterable[str], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)


@dataclass(frozen=True, kw_only=True)
class RootedCheckpoint(Checkpoint):
    """A checkpoint seen from one of its prefixes."""

    whole: Checkpoint
    prefix: str

    def extent(self, key: str) -> Extent | None:
        """Where the tensor's bytes lie in the whole."""
        return self.whole.extent(self.prefix + key)

    def blocks(self, key: str) -> Iterator[bytes] | None:
        """The tensor's bytes in order, where the whole gives them so."""
        return self.whole.blocks(self.prefix + key)

    def span(self, key: str) -> Span | None:
        """Where the tensor's items lie strided in the whole."""
        return self.whole.span(self.prefix + key)

    def read(self, key: str) -> Array:
        """The whole tensor, in its carrier."""
        return self.whole.read(self.prefix + key)


def _strip(contents: Contents, prefix: str) -> Contents:
    """The contents under a prefix, which is taken off; the tensors left out are counted."""
    cut = len(prefix)
    specs = {key[cut:]: spec for key, spec in contents.specs.items() if key.startswith(prefix)}
    groups = (
        tuple(key[cut:] for key in group if key.startswith(prefix)) for group in contents.aliases
    )
    mark = prefix[-1]
    left = {
        key.replace(mark, "."): spec.nbytes
        for key, spec in contents.specs.items()
        if not key.startswith(prefix)
    }
    return dataclasses.replace(
        contents,
        specs=specs,
        aliases=tuple(group for group in groups if len(group) > 1),
        module_metadata=contents.module_metadata
        and {
            module[cut:]: entry
            for module, entry in contents.module_metadata.items()
            if module.startswith(prefix)
        },
        opaque=tuple(
            dataclasses.replace(entry, key=entry.key[cut:])
            for entry in contents.opaque
            if entry.key.startswith(prefix)
        ),
        outside=count_outside(left.items(), prefix[:-1].replace(mark, ".")),
        outside_keys=tuple(left),
        root=prefix[:-1],
    )
