"""Which format an output's name asks for, and its writer."""

from __future__ import annotations

import os
from pathlib import Path

from ckptsurgeon.checkpoints.base import Layout, Writer
from ckptsurgeon.checkpoints.safetensors.writer import SafetensorsWriter
from ckptsurgeon.checkpoints.sharded import MAX_SHARD_SIZE, ShardedWriter
from ckptsurgeon.errors import OutputError

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
"""Names under which torch's zip files are written."""


def open_writer(
    target: str | Path, layout: Layout, *, force: bool, max_shard_size: int | None = None
) -> Writer:
    """A writer of the format that the target's name asks for, to be used as a context manager.

    `.safetensors` and torch's suffixes are files; an existing folder, a name without a suffix and
    one that ends in `/` are folders of safetensors shards, each of at most `max_shard_size` bytes
    of tensors. Raises OutputError, also where the target exists and `force` is not given.
    """
    if not str(target):
        raise OutputError("the output's name is empty: is a variable of the shell unset?")
    path = Path(target)
    if path.is_dir() or not path.suffix or str(target).endswith(("/", os.sep)):
        return ShardedWriter(path, layout, force, max_shard_size or MAX_SHARD_SIZE)
    if max_shard_size is not None:
        raise OutputError(
            f"{target}: is one file, and shards make a folder: name one, `{path.stem}/`"
        )
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return SafetensorsWriter(path, layout, force)
    if suffix in TORCH_SUFFIXES:
        from ckptsurgeon.checkpoints.torch.writer import TorchZipWriter

        return TorchZipWriter(path, layout, force)
    raise OutputError(f"{target}: {_unwritable(suffix)}")


def _unwritable(suffix: str) -> str:
    known = ", ".join((".safetensors", *TORCH_SUFFIXES))
    if suffix == ".npz":
        return f"npz files are read, never written; wanted one of {known}"
    return (
        f"no format is known by the suffix {suffix}; wanted one of {known}, "
        "or a name that ends in / for a folder of shards"
    )
