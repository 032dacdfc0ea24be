"""Which format an output's name asks for, and its writer."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ckptsurgeon.checkpoints.base import Checkpoint, Layout, Opaque
from ckptsurgeon.checkpoints.nesting import FLAT, Nesting
from ckptsurgeon.checkpoints.nesting import Path as NestedPath
from ckptsurgeon.checkpoints.safetensors.writer import SafetensorsWriter
from ckptsurgeon.checkpoints.sharded import ShardedWriter
from ckptsurgeon.checkpoints.torch.dicts import find_nesting, holders, integer_names
from ckptsurgeon.checkpoints.writing.filling import Writer, WriterFiles
from ckptsurgeon.errors import OutputError


class OutputFormat(enum.Enum):
    """What can be written: one file of either format, or a folder of safetensors shards."""

    SAFETENSORS = "safetensors"
    TORCH = "torch"
    SHARDS = "shards"


FORMATS: Mapping[str, OutputFormat] = {
    ".safetensors": OutputFormat.SAFETENSORS,
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt"), OutputFormat.TORCH),
}
"""The formats of single files by suffix; torch's are its zip files."""


CARRYING = ("torch", "torch-legacy", "pickle")
"""The formats whose plain entries a torch file carries on."""


def output_format(target: str | os.PathLike[str]) -> OutputFormat | None:
    """The format that a target asks for; None where no format has its suffix.

    An existing folder, a name that ends in `/` and one without a suffix ask for shards, any other
    name for what its suffix says.
    """
    last, suffix = os.path.basename(os.fspath(target)), Path(target).suffix.lower()
    if os.path.isdir(target) or last in ("", ".", "..") or suffix in ("", "."):
        return OutputFormat.SHARDS
    return FORMATS.get(suffix)


def left_out(checkpoint: Checkpoint, wanted: OutputFormat | None) -> tuple[Opaque, ...]:
    """The entries of a source that an output of a format leaves out.

    torch's files carry plain entries of a torch source; any other output carries none.
    """
    if wanted is not OutputFormat.TORCH or checkpoint.format not in CARRYING:
        return checkpoint.contents.opaque
    from ckptsurgeon.checkpoints.torch.skeleton import dropped_entries

    return dropped_entries(checkpoint)


def changed_containers(
    checkpoint: Checkpoint,
    wanted: OutputFormat | None,
    keys: Iterable[str],
    nesting: Nesting | Checkpoint | None = None,
) -> Iterator[tuple[str, str]]:
    """The containers that aren't the same with these keys in them, and what becomes of them.

    They are a source's, or those of the nesting, where the output has another.
    """
    if wanted is not OutputFormat.TORCH or checkpoint.format not in CARRYING:
        return iter(())
    from ckptsurgeon.checkpoints.torch.composing import changed_lists

    return changed_lists(checkpoint, keys, nesting)


def nesting_of(checkpoint: Checkpoint) -> Nesting:
    """How a checkpoint's tensors lie in dicts; flat where its format has none."""
    tree = getattr(checkpoint, "tree", None)
    return FLAT if tree is None else find_nesting(tree, checkpoint.contents.root)


def integer_names_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The dotted paths of dicts and tensors that have integers as names, in whatever part."""
    tree = getattr(checkpoint, "tree", None)
    return () if tree is None else tuple(integer_names(tree))


def paths_of_dicts(checkpoint: Checkpoint) -> tuple[NestedPath, ...]:
    """The paths of all dicts that hold tensors, in whatever part of a checkpoint."""
    tree = getattr(checkpoint, "tree", None)
    return () if tree is None else tuple(path for path, _ in holders(tree))


def conflicting_entries(
    checkpoint: Checkpoint, wanted: OutputFormat | None, nesting: Nesting | Checkpoint
) -> tuple[str, ...]:
    """The entries of a source that a torch file would carry, and that would be its dicts."""
    if wanted is not OutputFormat.TORCH or checkpoint.format not in CARRYING:
        return ()
    from ckptsurgeon.checkpoints.torch import composing

    return composing.conflicting_entries(checkpoint, nesting)


def open_writer(
    target: str | os.PathLike[str],
    layout: Layout,
    *,
    force: bool,
    max_shard_size: int | None = None,
    files: WriterFiles | None = None,
) -> Writer:
    """A writer of the format that the target asks for, to be used as a context manager.

    A shard holds at most `max_shard_size` bytes of tensors, also where the layout says in which
    shards keys lie. `files` are those that it shares with other writers. Raises OutputError, also
    where the target exists and `force` is not given.
    """
    if not os.fspath(target):
        raise OutputError("the output's name is empty: is a variable of the shell unset?")
    path, wanted = Path(target), output_format(target)
    if wanted is OutputFormat.SHARDS:
        return ShardedWriter(path, layout, force, max_shard_size, files)
    if max_shard_size is not None:
        raise OutputError(
            f"{target}: is one file, and shards make a folder: name one, `{path.stem}/`"
        )
    if wanted is OutputFormat.SAFETENSORS:
        return SafetensorsWriter(path, layout, force, files)
    if wanted is OutputFormat.TORCH:
        from ckptsurgeon.checkpoints.torch.writer import TorchZipWriter

        return TorchZipWriter(path, layout, force, files)
    raise OutputError(f"{target}: {_unwritable(path.suffix.lower())}")


def _unwritable(suffix: str) -> str:
    known = ", ".join(FORMATS)
    if suffix == ".npz":
        return f"npz files are read, never written; wanted one of {known}"
    return (
        f"no format is known by the suffix {suffix}; wanted one of {known}, "
        "or a name that ends in / for a folder of shards"
    )
