"""Zip archives that are neither torch's nor NumPy's, by the names of their members."""

from __future__ import annotations

import re
import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ckptsurgeon.checkpoints.foreign import formats
from ckptsurgeon.checkpoints.foreign.formats import Foreign
from ckptsurgeon.checkpoints.shards import read_shard_name
from ckptsurgeon.checkpoints.strict_json import shorten, shorten_all
from ckptsurgeon.errors import CheckpointError

MEMBERS: tuple[tuple[re.Pattern[str], Foreign], ...] = (
    (re.compile(r"data\.pkl"), formats.REPACKED),
    (re.compile(r"[^/]+/\.data/extern_modules"), formats.TORCH_PACKAGE),
    (re.compile(r"(?:[^/]+/)?data/aotinductor/.*"), formats.AOT_PACKAGE),
    (
        re.compile(r"(?:[^/]+/)?archive_format|serialized_exported_program\.json"),
        formats.EXPORTED_PROGRAM,
    ),
    (re.compile(r"model\.weights\.h5"), formats.KERAS),
    (re.compile(r"MAR-INF/MANIFEST\.json"), formats.TORCHSERVE),
    (re.compile(r"(?:[^/]+/)?Data/com\.apple\.CoreML/.*"), formats.COREML),
)
"""A member that only archives of one format have; the first line that fits is taken."""

WEIGHTS = (
    ".safetensors",
    ".pth",
    ".pt",
    ".ckpt",
    ".bin",
    ".npz",
    ".index.json",
    ".th",
    ".tar",
    ".pkl",
    ".h5",
    ".onnx",
    ".pb",
    ".msgpack",
    ".distcp",
)
"""How names of checkpoints end, what is read before what is not."""


def find_weights(names: Sequence[str]) -> str:
    """The member that is most likely the checkpoint; "" where none is likely.

    A name that a command would take for an option is none.
    """
    named = (name for name in names if not name.startswith("-"))
    likely = sorted(named, key=lambda name: "optim" in name.lower())
    found = (name for end in WEIGHTS for name in likely if name.lower().endswith(end))
    return next(found, "")


PART = re.compile(r"saved_model\.pb|mp_rank_.*|.*\.(?:distcp|index\.json)")
"""The name of a file that is no checkpoint without those beside it."""


def _is_part(member: str) -> bool:
    """Whether a checkpoint is more than this one member."""
    name = member.rpartition("/")[2]
    return bool(PART.fullmatch(name) or read_shard_name(name))


def list_zip(path: Path) -> list[str]:
    """The members of an archive; raises CheckpointError where it can't be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path}: begins like a zip archive but can't be read as one ({error}): "
            "it was cut, fetch it again"
        ) from error


def find_zip(names: Sequence[str]) -> Foreign | None:
    """The format of an archive with these members."""
    for shape, known in MEMBERS:
        if any(shape.fullmatch(name) for name in names):
            return known
    return None


def describe_zip(path: Path, names: Sequence[str]) -> str:
    """Words for a zip archive that is neither torch's nor NumPy's."""
    if found := find_zip(names):
        return found.describe(path)
    held = f"it holds {shorten_all(list(names))}" if names else "it is empty"
    kind = "is a zip archive, but neither torch's (with a data.pkl) nor NumPy's (of .npy arrays)"
    member = find_weights(names)
    if _is_part(member):
        given = f"`unzip {shlex.quote(str(path))} -d OUT`"
        return f"{kind}: unpack it by {given}, and give the folder of {shorten(member)} in OUT"
    if member:
        command = f"unzip {shlex.quote(str(path))} {shlex.quote(member)}"
        return f"{kind}: unpack it by `{command}`, and give what it held ({held})"
    return f"{kind}: {held}"
