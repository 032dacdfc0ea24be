"""What every checkpoint format gives: specs and ranges to read, and a layout to write."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.nesting import Nesting
from ckptsurgeon.checkpoints.stored import gather
from ckptsurgeon.checkpoints.transfer import Array, Extent, naming, read_extent
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.specs import TensorSpec, human_bytes, plural

DESTINATION = "dst"
"""The alias under which a plan reads the destination's own values."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something in a checkpoint that is no tensor: its dotted key, its type, a short text of it.

    `is_whole` says that the text tells all of it.
    """

    key: str
    kind: str
    text: str
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """Tensors that stand under one name outside of the root that was opened; "" is around it."""

    key: str
    tensors: int
    nbytes: int

    def __str__(self) -> str:
        return f"{plural(self.tensors, 'tensor')}, {human_bytes(self.nbytes)}"

    @property
    def place(self) -> str:
        """Where they stand, for people."""
        return f"`{self.key}`" if self.key else "no wrapper"


def name_outside(key: str, root: str) -> str:
    """What a key stands under beside a root: `model.ema` for `model.ema.w`, beside `model.net`."""
    pieces, way = key.split("."), root.split(".")
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(pieces, way, strict=False))
    return ".".join(pieces[: len(list(alike)) + 1])


def count_outside(tensors: Iterable[tuple[str, int]], root: str) -> tuple[Outside, ...]:
    """Tensors outside of a root, told by key and bytes, counted by what they stand under."""
    found: dict[str, tuple[int, int]] = {}
    for key, nbytes in tensors:
        name = name_outside(key, root)
        count, total = found.get(name, (0, 0))
        found[name] = count + 1, total + nbytes
    return tuple(Outside(name, *counts) for name, counts in found.items())


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a checkpoint says before tensors are read.

    `specs` in file order, an UnreadableSpec for a tensor that can't be read; `aliases` the groups
    of keys that share one storage and are equal views; `metadata` the text entries of a safetensors
    header; `module_metadata` torch's `state_dict()._metadata` (module path -> {"version": n});
    `opaque` the entries that are no tensors; `outside` the tensors that the root leaves out,
    `outside_keys` their whole names, and `rivals` those of them that hold the same keys; `root` the
    wrapper that was opened ("" for the top) and `wrappers` those there are; `notes` what a user
    should know of how the file was read; `shard` what the file is of a set (`shard 1 of 2`), where
    it was opened alone on purpose.
    """

    specs: Mapping[str, TensorSpec]
    aliases: tuple[tuple[str, ...], ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    module_metadata: Mapping[str, Mapping[str, Any]] | None = None
    opaque: tuple[Opaque, ...] = ()
    outside: tuple[Outside, ...] = ()
    outside_keys: tuple[str, ...] = ()
    rivals: tuple[Outside, ...] = ()
    root: str = ""
    wrappers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    shard: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """The `nbytes` stored bytes that a strided tensor's items lie in, from the first to the last.

    `stride` is in items. `extent` is where the bytes lie, None where they are coded; `blocks` gives
    them in order, and raises CheckpointError where they are damaged, if they have a CRC-32.
    """

    stride: tuple[int, ...]
    nbytes: int
    extent: Extent | None
    has_crc: bool
    blocks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint opened for reading. Opening reads headers only.

    `path` is the file or folder that was opened, `files` those that the tensors lie in, `format`
    one of `safetensors`, `torch`, `torch-legacy`, `npz`, `spec`, `memory` and `planned`. Without
    values, as a JSON spec or a model on the meta device, it has shapes alone.
    """

    path: Path
    format: str
    contents: Contents
    files: tuple[Path, ...]
    has_values: bool = True

    def extent(self, key: str) -> Extent | None:
        """Where the tensor's bytes lie, or None where they don't lie dense in a file."""
        return None

    def blocks(self, key: str) -> Iterator[bytes] | None:
        """The tensor's bytes in order, where they lie dense in no file but can be read so."""
        return None

    def span(self, key: str) -> Span | None:
        """Where the tensor's items lie strided, with the values that are stored."""
        return None

    def read(self, key: str) -> Array:
        """The whole tensor in its carrier dtype (uint8[nbytes] where an item is under a byte)."""
        extent, spec = self.extent(key), self.contents.specs[key]
        blocks = self.blocks(key) if extent is None else None
        if blocks is not None:
            with naming(f"{self.path}: {key!r}"):
                flat = gather(blocks, spec.nbytes)
        elif extent is not None:
            with naming(f"{self.path}: {key!r}"):
                flat = read_extent(extent)
        else:
            raise CheckpointError(f"{self.path}: holds shapes alone, no values of {key!r}")
        return flat if spec.carrier is None else flat.view(spec.carrier).reshape(spec.shape)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a writer is to write: specs in order, ties, and what travels with the tensors.

    `ties` maps a key to the key whose storage it shares; formats without ties write it twice.
    `template` is the checkpoint whose nesting and non-tensor entries the output carries (`.pt`
    -> `.pt`); the tensors replace what stands under its root. `shards` names the file of each key
    in a folder, and `index` the file that lists them; without them a folder is cut by size.
    `nesting` is that of the output where it isn't the template's, or a checkpoint that has it.
    """

    specs: Mapping[str, TensorSpec]
    ties: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    module_metadata: Mapping[str, Mapping[str, Any]] | None = None
    template: Checkpoint | None = None
    shards: Mapping[str, str] = field(default_factory=dict)
    index: str = ""
    nesting: Nesting | Checkpoint | None = None


def group_ties(views: Mapping[str, object]) -> tuple[tuple[str, ...], ...]:
    """The groups of keys whose tensors are one view of one memory, or of one place in a file."""
    groups: dict[object, list[str]] = {}
    for key, view in views.items():
        groups.setdefault(view, []).append(key)
    return tuple(tuple(keys) for keys in groups.values() if len(keys) > 1)
