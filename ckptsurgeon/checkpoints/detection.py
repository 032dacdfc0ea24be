"""What a file or folder is, from its first bytes or its names; and words for what it is not."""

from __future__ import annotations

import re
from pathlib import Path

from ckptsurgeon.checkpoints.safetensors.header import MAX_HEADER
from ckptsurgeon.checkpoints.strict_json import shorten_all
from ckptsurgeon.errors import CheckpointError

OTHERS: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "is a git-lfs pointer, not the file itself: run `git lfs pull` in its repository",
    ),
    (b"<!doctype html", "is an HTML page, probably an error told by a server: fetch it again"),
    (b"<html", "is an HTML page, probably an error told by a server: fetch it again"),
    (b"<?xml", "is an XML document, probably an error told by a server: fetch it again"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it first"),
    (b"\xfd7zxz", "is compressed with xz: unpack it first"),
    (b"bzh", "is compressed with bzip2: unpack it first"),
    (b"\x89hdf\r\n", "is an HDF5 file (Keras .h5), which is not read: convert it to npz first"),
    (b"\x93numpy", "is a single .npy array, no checkpoint: put it in an archive with numpy.savez"),
    (b"gguf", "is a GGUF file, which is not read"),
    (b"\x7felf", "is a program"),
    (b"[", "is a list in JSON, wanted an object {key: [dtype, [shape]]}"),
)
"""First bytes (in lower case) of what is taken for a checkpoint by mistake, and words for it."""


EARLY_PICKLE = re.compile(
    rb"\((?:[dl]p\d+\n|[diIKLS(])|[}\]](?:q.|\.)|c[\w.]+\n[\w.]+\n", re.DOTALL
)


def looks_safetensors(head: bytes) -> bool:
    """Whether a file begins like safetensors: a length, then the brace of a JSON header.

    Eight letters of any text make a far larger length, and so does the start of a pickle; a length
    whose upper half is empty is still told as a header that is too long.
    """
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and (length <= MAX_HEADER or head[4:8] == b"\0\0\0\0")


def looks_zip(head: bytes) -> bool:
    """Whether a file begins like a zip archive: torch's, or NumPy's npz."""
    return head.startswith(b"PK")


def looks_pickle(head: bytes) -> bool:
    """Whether a file begins like a pickle, as torch's legacy files do.

    Those of protocols 0 and 1 begin with the first value: a dict, a list, a tuple, or a class.
    """
    return head.startswith(b"\x80") or EARLY_PICKLE.match(head) is not None


def looks_json(head: bytes) -> bool:
    """Whether a file begins like an object in JSON."""
    return head.lstrip().startswith(b"{") and not looks_safetensors(head)


def describe_file(head: bytes) -> str:
    """Words for a file that begins with these bytes and is no checkpoint that can be read."""
    if not head:
        return "is empty: fetch or copy it again"
    if not head.strip(b"\0"):
        return "begins with zeros alone: its download did not finish, fetch it again"
    lowered = head.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for start, words in OTHERS:
        if lowered.startswith(start):
            return words
    if head[257:262] == b"ustar":
        return "is a tar archive: unpack it first"
    return (
        f"is no checkpoint that is known: it begins with {head[:16]!r}; wanted safetensors, "
        "a torch file, npz, or a JSON spec or index"
    )


def choose_in_folder(folder: Path) -> Path:
    """The one index or file of a folder that is its checkpoint.

    An index goes before single files. Raises CheckpointError where there is none, or more than one.
    """
    names = sorted(entry.name for entry in folder.iterdir())
    if ".metadata" in names:
        raise CheckpointError(
            f"{folder}: is a checkpoint of torch.distributed (DCP), which can't be read yet; "
            "convert it with `python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
            f"{folder} OUT.pt`"
        )
    indexes = [
        name for name in names if name.endswith((".safetensors.index.json", ".bin.index.json"))
    ]
    files = [name for name in names if name.endswith(".safetensors") or name == "pytorch_model.bin"]
    found = indexes or files
    if not found:
        held = f"it holds {shorten_all(names)}" if names else "it is empty"
        raise CheckpointError(
            f"{folder}: has no index, *.safetensors or pytorch_model.bin ({held}); "
            "name the file itself"
        )
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: has {len(found)} checkpoints, {shorten_all(found)}; name one"
        )
    return folder / found[0]
