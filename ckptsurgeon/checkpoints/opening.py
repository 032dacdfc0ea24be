"""Checkpoints on disk, recognised by what they hold; only headers are read."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from ckptsurgeon.checkpoints.base import Checkpoint
from ckptsurgeon.checkpoints.detection import (
    looks_json,
    looks_pickle,
    looks_safetensors,
    looks_zip,
)
from ckptsurgeon.checkpoints.folders import choose_in_folder, note_others
from ckptsurgeon.checkpoints.foreign.files import LOOK, describe_file, read_tail, refuse_likeness
from ckptsurgeon.checkpoints.foreign.formats import tensorflow_checkpoint
from ckptsurgeon.checkpoints.foreign.texts import describe_json
from ckptsurgeon.checkpoints.foreign.zips import describe_zip, list_zip
from ckptsurgeon.checkpoints.rooted import under_root
from ckptsurgeon.checkpoints.safetensors.reader import open_safetensors
from ckptsurgeon.checkpoints.sharded import open_sharded
from ckptsurgeon.checkpoints.shards import (
    describe_opened,
    refuse_lone,
    refuse_parted,
    refuse_pieces,
    without_pieces,
)
from ckptsurgeon.checkpoints.spec import looks_spec, open_spec
from ckptsurgeon.checkpoints.strict_json import MAX_JSON, load_index
from ckptsurgeon.checkpoints.transfer import naming, opened, read_bytes
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.files import is_address, near_file, tell_fetch
from ckptsurgeon.wording import name_source


def open_checkpoint(
    path: str | Path,
    root: str | None = None,
    *,
    one_shard: bool = False,
    together: Collection[Path] = frozenset(),
) -> Checkpoint:
    """The checkpoint in a file or folder, recognised by its content; only headers are read.

    `root` names the wrapper to open in a nested file, or the prefix of the keys to see in a flat
    one; None is the default wrapper, "" everything. One file of a set of shards is refused, unless
    `one_shard` says that it is meant, or all of the set are in `together`, the files that are
    opened with it. Raises CheckpointError.
    """
    if not str(path):
        raise CheckpointError(
            "the name of a checkpoint is empty: is a variable of the shell unset?"
        )
    if is_address(str(path)):
        raise CheckpointError(f"{path}: addresses are not read: {tell_fetch(str(path))}")
    path = Path(path)
    if path.is_dir():
        file = choose_in_folder(path)
        found = _check_shard(_open_file(file, root), file, one_shard, ())
        return _add_notes(found, note_others(path, found.files, file))
    return _check_shard(_open_file(path, root), path, one_shard, together)


def _open_file(path: Path, root: str | None) -> Checkpoint:
    head = _head(path)
    if looks_json(head):
        return under_root(_open_json(path), root)
    return _open_tensors(path, root, head)


def _check_shard(
    found: Checkpoint, path: Path, one_shard: bool, together: Collection[Path]
) -> Checkpoint:
    """The checkpoint, if it is whole, or else what was meant, with a note that says so."""
    if found.files != (path,) or not found.has_values:
        return found
    if not one_shard:
        refuse_pieces(path, found.contents.metadata)
        refuse_lone(path, together)
        return found
    shard = describe_opened(path, found.contents.metadata)
    if not shard:
        return found
    contents = replace(
        found.contents, shard=shard, metadata=without_pieces(found.contents.metadata)
    )
    note = f"{path.name} is {shard}; what lies in the others is left out"
    return _add_notes(replace(found, contents=contents), (note,))


def _add_notes(found: Checkpoint, notes: tuple[str, ...]) -> Checkpoint:
    """The checkpoint with notes before its own."""
    if not notes:
        return found
    contents = replace(found.contents, notes=(*notes, *found.contents.notes))
    return replace(found, contents=contents)


def _head(path: Path) -> bytes:
    """The file's first bytes, enough to tell what it is."""
    if path.is_file():
        return _read(path, LOOK)
    if Path(f"{path}.index").is_file():
        raise CheckpointError(f"{path}: {tensorflow_checkpoint(path).describe(path)}")
    raise CheckpointError(f"{path}: {_absent(path)}")


def _is_python(module: str) -> bool:
    """Whether there is a module of that name, here or installed; none is imported."""
    package = module.partition(".")[0]
    if not all(piece.isidentifier() for piece in module.split(".")):
        return False
    return Path(f"{package}.py").is_file() or importlib.util.find_spec(package) is not None


def _absent(path: Path) -> str:
    """What there is where a file is wanted."""
    if path.exists():
        return "is neither a file nor a folder"
    if path.is_symlink():
        return "is a link that leads nowhere"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)) and not path.parent.exists():
        fetch = f"`hf download {path}`"
        return f"there is no such file; names on the Hugging Face hub are not read: {fetch} first"
    alias, equals, named = path.name.partition("=")
    if equals and alias.isidentifier() and path.with_name(named).exists():
        way = name_source(alias, str(path.with_name(named)))
        return f"there is no such file; a source with a name is given by {way}"
    near = near_file(path)
    module, _, name = str(path).rpartition(".")
    if not near and name.isidentifier() and _is_python(module):
        return f"there is no such file; what builds a model is written `{module}:{name}`"
    return f"there is no such file; did you mean `{near}`?" if near else "there is no such file"


def _read(path: Path, nbytes: int) -> bytes:
    with opened(path) as descriptor:
        return read_bytes(descriptor, 0, nbytes)


def _open_tensors(path: Path, root: str | None, head: bytes) -> Checkpoint:
    """The checkpoint in one file that holds tensors itself, of which `head` is the beginning."""
    refuse_likeness(path, head)
    for looks, open_file in READERS:
        if looks(head):
            return open_file(path, root)
    raise CheckpointError(f"{path}: {describe_file(head, path, read_tail(path))}")


def _open_safetensors(path: Path, root: str | None) -> Checkpoint:
    return under_root(open_safetensors(path), root)


def _open_legacy(path: Path, root: str | None) -> Checkpoint:
    from ckptsurgeon.checkpoints.torch.legacy import open_torch_legacy

    return open_torch_legacy(path, root)


def _open_zip(path: Path, root: str | None) -> Checkpoint:
    from ckptsurgeon.checkpoints.torch.zipped import is_torch_zip, open_torch_zip

    if is_torch_zip(path):
        return open_torch_zip(path, root)
    names = list_zip(path)
    if any(name.endswith(".npy") for name in names):
        from ckptsurgeon.checkpoints.npz import open_npz

        return under_root(open_npz(path), root)
    raise CheckpointError(f"{path}: {describe_zip(path, names)}")


READERS: tuple[tuple[Callable[[bytes], bool], Callable[[Path, str | None], Checkpoint]], ...] = (
    (looks_safetensors, _open_safetensors),
    (looks_zip, _open_zip),
    (looks_pickle, _open_legacy),
)
"""What tells by its first bytes that a file holds tensors, and what opens it under a root."""


def _open_json(path: Path) -> Checkpoint:
    """The checkpoint that a JSON file lists (a spec) or leads to (an index)."""
    text = _read(path, MAX_JSON + 1)
    if len(text) > MAX_JSON:
        raise CheckpointError(f"{path}: is a JSON file of over {MAX_JSON} bytes, too long for one")
    with naming(path):
        entries = load_index(text)
    if isinstance(entries.get("weight_map"), dict):
        return open_sharded(path, entries, _open_shard)
    if entries and not any(map(looks_spec, entries.values())):
        raise CheckpointError(f"{path}: {describe_json(entries, path)}")
    return open_spec(path, entries)


def _open_shard(path: Path) -> Checkpoint:
    """One shard, whole. An index that leads to another, or to itself, is refused."""
    head = _head(path)
    if looks_json(head):
        raise CheckpointError(f"{path}: is listed as a shard, but holds no tensors itself")
    found = _open_tensors(path, "", head)
    refuse_parted(path, found.contents.metadata)
    metadata = without_pieces(found.contents.metadata)
    return replace(found, contents=replace(found.contents, metadata=metadata))
