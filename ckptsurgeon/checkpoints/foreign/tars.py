"""Archives of tar, by the names of their first members."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from ckptsurgeon.checkpoints.foreign import formats
from ckptsurgeon.checkpoints.foreign.formats import Foreign
from ckptsurgeon.checkpoints.foreign.zips import find_weights
from ckptsurgeon.checkpoints.transfer import opened, read_bytes

BLOCK = 512

MOST_MEMBERS = 100
"""Members that are looked at; the archives that are known have few."""


def find_tar(path: Path) -> Foreign:
    """The kind of a tar archive, and the checkpoint that it holds."""
    names = [name.removeprefix("./") for name in _members(path)]
    if any(name.startswith("model_config.yaml") for name in names):
        return formats.NEMO
    if {"pickle", "tensors", "storages"} <= set(names):
        return formats.TORCH_TAR
    member = find_weights(names)
    wanted = f" {shlex.quote(member)}" if member else ""
    return Foreign("a tar archive", f"unpack it by `tar -xf <path>{wanted}`, and give what it held")


def _members(path: Path) -> Iterator[str]:
    """The names of the first members, as far as their headers can be read."""
    with opened(path) as descriptor:
        size, at = os.fstat(descriptor).st_size, 0
        for _ in range(MOST_MEMBERS):
            header = read_bytes(descriptor, at, BLOCK)
            digits = header[124:136].strip(b"\0 ")
            if len(header) < BLOCK or not digits.isdigit():
                return
            yield header[:100].rstrip(b"\0").decode("utf-8", "replace")
            at += BLOCK + -(-_octal(digits) // BLOCK) * BLOCK
            if at >= size:
                return


def _octal(digits: bytes) -> int:
    return int(digits, 8) if not set(digits) & set(b"89") else 0
