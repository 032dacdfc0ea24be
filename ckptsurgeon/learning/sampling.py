"""A few layers for all of them: what is read of checkpoints that are too large to read whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.rooted import RootedCheckpoint
from ckptsurgeon.keys import INTEGER

LARGE = 4 << 30
"""Bytes of sources and converted checkpoint together that are read whole, unless told."""


def choose_keys(keys: Collection[str]) -> set[str]:
    """The keys without an integer, and of each list those of its first, second and last item.

    A list is told by what stands before the first integer.
    """
    lists: dict[str, set[int]] = defaultdict(set)
    first = {key: found for key in keys if (found := INTEGER.search(key)) is not None}
    for key, found in first.items():
        lists[key[: found.start()]].add(int(found[1]))
    kept = {prefix: _ends(items) for prefix, items in lists.items()}
    return {
        key
        for key in keys
        if key not in first or int(first[key][1]) in kept[key[: first[key].start()]]
    }


def _ends(items: set[int]) -> set[int]:
    ordered = sorted(items)
    return {*ordered[:2], ordered[-1]}


def restrict(checkpoint: Checkpoint, keys: Collection[str]) -> Checkpoint:
    """The checkpoint as if it held these tensors alone."""
    specs = {key: spec for key, spec in checkpoint.contents.specs.items() if key in keys}
    return RootedCheckpoint(
        path=checkpoint.path,
        format=checkpoint.format,
        contents=replace(checkpoint.contents, specs=specs),
        files=checkpoint.files,
        has_values=checkpoint.has_values,
        whole=checkpoint,
        prefix="",
    )


def sample_checkpoints(
    sources: Mapping[str, Checkpoint], converted: Checkpoint
) -> tuple[dict[str, Checkpoint], Checkpoint]:
    """The checkpoints with the tensors of a few layers alone."""
    chosen = {
        alias: restrict(one, choose_keys(one.contents.specs)) for alias, one in sources.items()
    }
    return chosen, restrict(converted, choose_keys(converted.contents.specs))


def count_bytes(sources: Mapping[str, Checkpoint], converted: Checkpoint) -> int:
    """The bytes of all tensors."""
    every = (*sources.values(), converted)
    return sum(spec.nbytes for one in every for spec in one.contents.specs.values())
