"""Torch's zip files, read without torch: `.pt`, `.pth`, `.bin`, `.ckpt`, and TorchScript's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ckptsurgeon.checkpoints.torch.archive import (
    LOCAL,
    Member,
    read_archive,
    read_member,
    require_stored,
)
from ckptsurgeon.checkpoints.torch.interpreter import MAX_PICKLE_BYTES, load_pickle
from ckptsurgeon.checkpoints.torch.reader import TorchCheckpoint, open_tree
from ckptsurgeon.checkpoints.transfer import Extent, naming, opened
from ckptsurgeon.errors import CheckpointError

FIRST_MEMBER = re.compile(r"[^/]+/(?:data\.pkl|data/\d+|constants\.pkl|version|byteorder|\.\w+)")
"""What torch's archives begin with, for recognising one that was cut."""

PICKLE = "/data.pkl"


def is_torch_zip(path: Path) -> bool:
    """True for a zip file with a `data.pkl`, or one that begins like torch's and was cut."""
    with path.open("rb") as file:
        head = file.read(LOCAL.size + 512)
    if len(head) < LOCAL.size or not head.startswith(b"PK\x03\x04"):
        return False
    name = head[LOCAL.size : LOCAL.size + LOCAL.unpack_from(head)[9]]
    if FIRST_MEMBER.fullmatch(name.decode("latin-1")):
        return True
    try:
        return any(member.endswith(PICKLE) for member in read_archive(path))
    except CheckpointError:
        return False


def open_torch_zip(path: Path, root: str | None) -> TorchCheckpoint:
    """The zip file's checkpoint; `root` as in a rule file's `source`, None for the default.

    Raises CheckpointError for an archive or a pickle that can't be trusted in every size and
    offset, and for a root that is not there.
    """
    members = read_archive(path)
    with opened(path) as descriptor:
        pickle = _pickle_member(members)
        prefix = pickle.name[: -len(PICKLE)]
        _require_little_endian(descriptor, members.get(f"{prefix}/byteorder"))
        data = read_member(descriptor, pickle)
        with naming(pickle.name):
            pickled = load_pickle(data)
        if pickled.end != pickle.nbytes:
            raise CheckpointError(f"{pickle.name} goes on behind its end, byte {pickled.end}")
        storages = _storages(path, members, f"{prefix}/data/")
    return open_tree(path, "torch", pickled.value, storages, root)


def _pickle_member(members: Mapping[str, Member]) -> Member:
    """The member that describes the tensors: the one `data.pkl` in a top-level folder."""
    found = [m for m in members.values() if m.name.endswith(PICKLE) and m.name.count("/") == 1]
    if len(found) != 1:
        raise CheckpointError(
            f"has {len(found)} members named data.pkl in a top folder, wanted one: "
            "no file of torch.save"
        )
    if found[0].nbytes > MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"{found[0].name} has {found[0].nbytes} bytes; at most {MAX_PICKLE_BYTES} are read"
        )
    return found[0]


def _require_little_endian(descriptor: int, member: Member | None) -> None:
    """Nothing, if the tensors are little-endian, as all are that say nothing."""
    if member is None:
        return
    order = read_member(descriptor, member) if member.nbytes <= 16 else b"?"
    if order != b"little":
        raise CheckpointError(
            f"written on a machine of byte order {order.decode('latin-1')!r}, wanted "
            "'little'; load it with torch and save it again"
        )


def _storages(path: Path, members: Mapping[str, Member], prefix: str) -> Mapping[str, Extent]:
    """The bytes of the storages by key. Raises CheckpointError for a compressed one.

    A CRC of 0 is taken for none: torch can be told to compute none.
    """
    found: dict[str, Extent] = {}
    for name, member in members.items():
        if name.startswith(prefix):
            require_stored(member)
            crc = member.crc or None
            found[name[len(prefix) :]] = Extent(path, member.offset, member.nbytes, crc)
    return found
