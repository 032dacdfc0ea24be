"""Checkpoints in several files: a folder of shards and an index that says which key lies where."""

from __future__ import annotations

import contextlib
import itertools
import json
import operator
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.base import Checkpoint, Contents, Layout, Span
from ckptsurgeon.checkpoints.rooted import RootedCheckpoint
from ckptsurgeon.checkpoints.safetensors.writer import plan_file
from ckptsurgeon.checkpoints.shards import find_set, read_shard_name
from ckptsurgeon.checkpoints.strict_json import shorten, shorten_all
from ckptsurgeon.checkpoints.transfer import Array, Extent, naming, write_bytes
from ckptsurgeon.checkpoints.writing.filling import FileFiller, Writer, WriterFiles
from ckptsurgeon.checkpoints.writing.staging import staged_folder
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import TensorSpec

MAX_SHARD_SIZE = 5_000_000_000
"""Bytes of tensors in one shard, as on the Hugging Face hub; a larger tensor has its own."""

INDEX = "model.safetensors.index.json"

READERS = 8
"""Shards whose headers are read at a time; the wait for a disk or a network is the longest part."""

Opener = Callable[[Path], Checkpoint]


@dataclass(frozen=True, kw_only=True)
class ShardedCheckpoint(Checkpoint):
    """Several files seen as one checkpoint."""

    shards: tuple[Checkpoint, ...]

    @cached_property
    def owners(self) -> Mapping[str, Checkpoint]:
        """The shard of each key; plans never ask."""
        return {key: shard for shard in self.shards for key in shard.contents.specs}

    def extent(self, key: str) -> Extent | None:
        """Where the tensor's bytes lie in its shard."""
        return self.owners[key].extent(key)

    def read(self, key: str) -> Array:
        """The whole tensor, in its carrier."""
        return self.owners[key].read(key)

    def blocks(self, key: str) -> Iterator[bytes] | None:
        """The tensor's bytes in order, where its shard gives them so."""
        return self.owners[key].blocks(key)

    def span(self, key: str) -> Span | None:
        """Where the tensor's items lie strided in its shard."""
        return self.owners[key].span(key)


def open_sharded(index: Path, entries: Mapping[str, Any], opener: Opener) -> ShardedCheckpoint:
    """The checkpoint whose index holds these entries; `opener` opens each shard.

    Raises CheckpointError where the index names a file outside of its folder or one that is not
    there, and where it and the shards don't agree on every key.
    """
    with naming(index):
        weight_map = _weight_map(index.parent, entries.get("weight_map"))
        names = sorted(set(weight_map.values()))
        _check_present(index.parent, names)
    with ThreadPoolExecutor(READERS) as pool:
        opened = pool.map(opener, [index.parent / name for name in names])
        shards = dict(zip(names, opened, strict=True))
    with naming(index):
        _check_owners(weight_map, shards)
        _check_unlisted(index.parent, names)
    return ShardedCheckpoint(
        path=index,
        format=shards[names[0]].format,
        contents=_merge([shard.contents for shard in shards.values()]),
        files=tuple(dict.fromkeys(file for shard in shards.values() for file in shard.files)),
        shards=tuple(shards.values()),
    )


def _weight_map(folder: Path, found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"weight_map is {shorten(found)}, wanted keys and files")
    if set(map(type, found.values())) != {str}:
        key, name = next((key, name) for key, name in found.items() if type(name) is not str)
        raise CheckpointError(f"{shorten(key)} lies in {shorten(name)}, wanted a file's name")
    for name in set(found.values()):
        if not _within(folder, name):
            raise CheckpointError(
                f"names the shard {shorten(name)}, which lies outside of the index's "
                "folder; shards must be in it"
            )
    return found


def _within(folder: Path, name: str) -> bool:
    """Whether a name from an index stays in its folder, links followed."""
    parts = name.replace("\\", "/").split("/")
    if not name or "\0" in name or ":" in parts[0] or {"", "..", "."} & set(parts):
        return False
    place, home = Path(os.path.realpath(folder / name)), Path(os.path.realpath(folder))
    if place.is_relative_to(home):
        return True
    # A snapshot in a Hugging Face cache is of links to files that lie in its `blobs`.
    return home.parent.name == "snapshots" and place.parent == home.parent.parent / "blobs"


def _check_present(folder: Path, names: list[str]) -> None:
    missing = [name for name in names if not os.path.isfile(folder / name)]
    if missing:
        raise CheckpointError(
            f"{len(missing)} of {len(names)} shards are not there: "
            f"{shorten_all(missing)}; fetch them again"
        )


def _check_unlisted(folder: Path, names: list[str]) -> None:
    """Raises CheckpointError where another shard lies beside one of the same set."""
    shard = next(filter(None, map(read_shard_name, names)), None)
    others = find_set(shard, folder) if shard else {}
    unlisted = sorted({file.name for file in others.values()} - set(names))
    if unlisted:
        raise CheckpointError(
            f"does not name {shorten_all(unlisted)}, of the same set as the shards that it names: "
            "fetch the index again, or take away what does not belong to it"
        )


def _check_owners(weight_map: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> None:
    """Raises CheckpointError where index and shards don't agree."""
    if _agree(weight_map, shards):
        return
    owners: dict[str, str] = {}
    for name, shard in shards.items():
        for key in shard.contents.specs:
            first = owners.setdefault(key, name)
            if first != name:
                raise CheckpointError(
                    f"{shorten(key)} lies in two shards, {shorten(first)} and {shorten(name)}"
                )
    _check_agreement(weight_map, owners)


def _agree(weight_map: Mapping[str, str], shards: Mapping[str, Checkpoint]) -> bool:
    """Whether the index names each shard for its keys, and no others; fast for a million."""
    count = 0
    for name, shard in shards.items():
        keys = shard.contents.specs
        count += len(keys)
        if not all(map(operator.eq, map(weight_map.get, keys), itertools.repeat(name))):
            return False
    return count == len(weight_map)


def _check_agreement(weight_map: Mapping[str, str], owners: Mapping[str, str]) -> None:
    """Raise one error with all that the index says otherwise than its shards."""
    lacking = [key for key in weight_map if key not in owners]
    unlisted = [key for key in owners if key not in weight_map]
    moved = [key for key, name in weight_map.items() if owners.get(key, name) != name]
    told = (
        (lacking, "are in no shard"),
        (unlisted, "are in a shard but not in the index"),
        (moved, "lie in another shard than the index says"),
    )
    problems = [f"{len(keys)} keys {words}: {shorten_all(keys)}" for keys, words in told if keys]
    if problems:
        raise CheckpointError(f"{'; '.join(problems)}; index and shards don't belong together")


def _merge(parts: list[Contents]) -> Contents:
    """The contents of all shards as one."""
    specs: dict[str, TensorSpec] = {}
    metadata: dict[str, str] = {}
    modules: dict[str, Mapping[str, Any]] = {}
    for part in parts:
        specs.update(part.specs)
        metadata = {**part.metadata, **metadata}
        modules.update(part.module_metadata or {})
    return Contents(
        specs,
        aliases=tuple(group for part in parts for group in part.aliases),
        metadata=metadata,
        module_metadata=modules or None,
        opaque=tuple(entry for part in parts for entry in part.opaque),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def shards_of(checkpoint: Checkpoint) -> tuple[Mapping[str, str], str]:
    """The file that each key of a folder of shards lies in, and the name of its index.

    Nothing of what is no such folder. Shards whose names no output may have are numbered.
    """
    if isinstance(checkpoint, RootedCheckpoint):
        names, index = shards_of(checkpoint.whole)
        return {key: names[checkpoint.prefix + key] for key in checkpoint.contents.specs}, index
    if not isinstance(checkpoint, ShardedCheckpoint):
        return {}, ""
    own = [os.path.relpath(shard.path, checkpoint.path.parent) for shard in checkpoint.shards]
    if not all(re.fullmatch(r"[^/\\]+\.safetensors", name) for name in own):
        own = [_shard_name(number, len(own)) for number in range(1, len(own) + 1)]
    index = checkpoint.path.name
    is_usual = index.endswith(".safetensors.index.json")
    return _names_by_key(checkpoint, own), index if is_usual else INDEX


def _names_by_key(checkpoint: ShardedCheckpoint, names: list[str]) -> dict[str, str]:
    return {
        key: name
        for name, shard in zip(names, checkpoint.shards, strict=True)
        for key in shard.contents.specs
    }


def split_shards(specs: Mapping[str, TensorSpec], limit: int) -> tuple[dict[str, TensorSpec], ...]:
    """The specs in order, cut wherever a shard would pass the limit; at least one part."""
    parts: list[dict[str, TensorSpec]] = [{}]
    size = 0
    for key, spec in specs.items():
        if parts[-1] and size + spec.nbytes > limit:
            parts.append({})
            size = 0
        parts[-1][key] = spec
        size += spec.nbytes
    return tuple(parts)


class ShardedWriter(Writer):
    """Writes a folder of safetensors shards and their index, staged beside its target.

    The layout says which key goes where, unless a size is given; else they are cut by size. What
    fits one shard then becomes a `model.safetensors` without an index.
    """

    def __init__(
        self,
        target: Path,
        layout: Layout,
        force: bool,
        max_shard_size: int | None,
        files: WriterFiles | None = None,
    ) -> None:
        super().__init__(layout.ties, files)
        self._target, self._force = target, force
        as_told = layout.shards and max_shard_size is None
        parts = _told_shards(layout) if as_told else _cut_shards(layout, max_shard_size)
        self._index_name = layout.index if as_told else INDEX if len(parts) > 1 else ""
        with naming(target):
            self._plans = {name: plan_file(part, layout.metadata) for name, part in parts.items()}

    def open_fillers(self, stack: contextlib.ExitStack) -> Mapping[str, FileFiller]:
        """One filler per shard; the index, which the plan knows already, is written at once."""
        index, files = self._index() if self._index_name else b"", self._files
        nbytes = len(index) + sum(plan.nbytes for plan in self._plans.values())
        filled = files.filled
        staged = staged_folder(self._target, force=self._force, nbytes=nbytes, filled=filled)
        folder = stack.enter_context(staged)
        fillers: dict[str, FileFiller] = {}
        for name, plan in self._plans.items():
            filler = FileFiller(folder.create(name, plan.nbytes).opened, plan, files.sources)
            fillers.update(dict.fromkeys(plan.specs, stack.enter_context(filler)))
        if index:
            with folder.create(self._index_name, len(index)).opened() as descriptor:
                write_bytes(descriptor, 0, index)
        return fillers

    def _index(self) -> bytes:
        names = {key: name for name, plan in self._plans.items() for key in plan.specs}
        total = sum(spec.nbytes for plan in self._plans.values() for spec in plan.specs.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(names.items()))}
        return (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def _told_shards(layout: Layout) -> dict[str, dict[str, TensorSpec]]:
    """The specs by the shards that a layout names."""
    parts: dict[str, dict[str, TensorSpec]] = {}
    for key, spec in layout.specs.items():
        parts.setdefault(layout.shards[key], {})[key] = spec
    return parts


def _cut_shards(layout: Layout, limit: int | None) -> dict[str, dict[str, TensorSpec]]:
    """The specs by shards of at most so many bytes."""
    parts = split_shards(layout.specs, limit or MAX_SHARD_SIZE)
    return {_shard_name(number, len(parts)): part for number, part in enumerate(parts, 1)}


def _shard_name(number: int, count: int) -> str:
    return "model.safetensors" if count == 1 else f"model-{number:05}-of-{count:05}.safetensors"
