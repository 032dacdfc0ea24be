"""Torch's zip files, read without torch: `.pt`, `.pth`, `.bin`, `.ckpt`, and TorchScript's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckptsurgeon.checkpoints.archive import LOCAL, read_archive
from ckptsurgeon.checkpoints.stored import Stored
from ckptsurgeon.checkpoints.torch.inert import TensorRecord
from ckptsurgeon.checkpoints.torch.interpreter import Pickle, load_pickle
from ckptsurgeon.checkpoints.torch.nesting import flatten
from ckptsurgeon.checkpoints.torch.reader import TorchCheckpoint, open_tree
from ckptsurgeon.checkpoints.torch.torchscript import sort_entries
from ckptsurgeon.checkpoints.torch.window import MAX_HELD, Window
from ckptsurgeon.checkpoints.transfer import naming, opened
from ckptsurgeon.errors import CheckpointError

FIRST_MEMBER = re.compile(r"[^/]+/(?:data\.pkl|data/\d+|constants\.pkl|version|byteorder|\.\w+)")
"""What torch's archives begin with, for recognising one that was cut."""

PICKLE = "/data.pkl"

CONSTANTS = "constants/"
"""What the names of storages of constants begin with: they have numbers of their own."""

FEW_BYTES, MAX_RATIO = 4 << 20, 100
"""Bytes that any pickle may inflate to, and how many times its own bytes a larger one may."""


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

    Members may be deflated, as by a tool that packed them again. Raises CheckpointError for an
    archive or a pickle that can't be trusted in every size and offset, for a pickle that is not
    what its CRC-32 says, and for a root that is not there.
    """
    members = read_archive(path)
    with naming(path):
        _refuse_twins(members)
        pickle = _pickle_member(members)
        prefix = pickle[: -len(PICKLE)]
        swapped = _is_big_endian(members.get(f"{prefix}/byteorder"))
        with naming(pickle):
            tree = _read_pickle(path, members[pickle])
            constants = _read_constants(path, members, prefix)
        if constants is not None:
            sort_entries(tree, lambda name: _read_code(members.get(f"{prefix}/code/{name}")))
    storages = _storages(members, f"{prefix}/data/", "")
    if constants is not None:
        storages |= _storages(members, f"{prefix}/constants/", CONSTANTS)
    return open_tree(path, "torch", tree, storages, root, swapped=swapped, constants=constants)


def _storages(members: Mapping[str, Stored], folder: str, name: str) -> dict[str, Stored]:
    """The members of a folder, by their names in it behind what the folder is called."""
    inside = ((member, one) for member, one in members.items() if member.startswith(folder))
    return {name + member[len(folder) :]: one for member, one in inside}


def _read_constants(path: Path, members: Mapping[str, Stored], prefix: str) -> Any:
    """The constants of a TorchScript archive, as those of a frozen module; None without any."""
    member = members.get(f"{prefix}/constants.pkl")
    if member is None:
        return None
    tree = _read_pickle(path, member)
    for record in {id(leaf.value): leaf.value for leaf in flatten(tree)}.values():
        if isinstance(record, TensorRecord):
            record.storage = replace(record.storage, key=CONSTANTS + record.storage.key)
    return tree


def _read_code(member: Stored | None) -> bytes:
    """A file of TorchScript's code; nothing of one that is not there."""
    if member is None:
        return b""
    _refuse_bomb(member)
    return member.read()


def _refuse_twins(names: Iterable[str]) -> None:
    """Nothing, if no two names are equal but for capitals: torch takes the first of such."""
    folded: set[str] = set()
    for name in names:
        if name.lower() in folded:
            raise CheckpointError(f"two members are named {name!r} but for capitals")
        folded.add(name.lower())


def _pickle_member(members: Mapping[str, Stored]) -> str:
    """The member that describes the tensors: the one `data.pkl` in a top-level folder."""
    found = [name for name in members if name.endswith(PICKLE) and name.count("/") == 1]
    if len(found) != 1:
        raise CheckpointError(
            f"has {len(found)} members named data.pkl in a top folder, wanted one: it is no file "
            "of torch.save, or it was packed anew: unpack it, and pack the folder of data.pkl by "
            "`python -m zipfile -c OUT.pt FOLDER`"
        )
    return found[0]


def _read_pickle(path: Path, member: Stored) -> Any:
    """What a pickle says, of which the whole was held against its CRC-32."""
    if member.extent is None:
        _refuse_bomb(member)
        return _whole(load_pickle(Window(member.read())), member.nbytes)
    for _ in member.blocks():
        pass
    start = member.offset
    with opened(path) as descriptor:
        window = Window.of_file(path, descriptor, start, start + member.nbytes)
        return _whole(load_pickle(window), start + member.nbytes)


def _refuse_bomb(member: Stored) -> None:
    """Raises CheckpointError for a member that is made to fill the memory."""
    if member.nbytes > MAX_HELD:
        raise CheckpointError(f"inflates to {member.nbytes} bytes; at most {MAX_HELD} are read")
    if member.nbytes > max(FEW_BYTES, MAX_RATIO * member.packed):
        raise CheckpointError(
            f"inflates {member.packed} bytes to {member.nbytes}, far more than a torch file "
            "does: made to fill the memory"
        )


def _whole(found: Pickle, end: int) -> Any:
    """The value of a pickle that ends where it should."""
    if found.end != end:
        raise CheckpointError(f"goes on behind its end, byte {found.end}")
    return found.value


def _is_big_endian(member: Stored | None) -> bool:
    """Whether the tensors are big-endian; none are of which nothing is said."""
    if member is None:
        return False
    order = member.read() if member.nbytes <= 16 else b"?"
    if order not in (b"little", b"big"):
        raise CheckpointError(
            f"says that its byte order is {order.decode('latin-1')!r}, wanted 'little' or 'big'"
        )
    return order == b"big"
