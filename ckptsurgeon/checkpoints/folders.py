"""Which file of a folder is its checkpoint, and what to say of a folder that has none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ckptsurgeon.checkpoints.foreign.files import find_foreign
from ckptsurgeon.checkpoints.foreign.folders import describe_below, describe_first, describe_other
from ckptsurgeon.checkpoints.shards import (
    PIECE_NAME,
    describe_pieces,
    describe_set,
    find_shard,
)
from ckptsurgeon.checkpoints.strict_json import shorten_all
from ckptsurgeon.errors import CheckpointError

BIN_NAMES = (
    "pytorch_model.bin",
    "adapter_model.bin",
    "diffusion_pytorch_model.bin",
    "pytorch_lora_weights.bin",
)
"""Torch files that a folder's own format names; others may be anything."""

ENDS = (".safetensors.index.json", ".safetensors", ".bin.index.json", ".bin")
"""How candidates end, those first that are taken before the others of the same weights."""

SAME = {"pytorch_model": "model"}
"""Names that the same weights have in `.bin` and in safetensors."""

SECOND = ("consolidated",)
"""Names of a second copy of the weights, under the keys of their authors' code (Mistral's)."""

TORCH_ENDS = (".pt", ".pth", ".ckpt", ".bin", ".npz", ".pkl", ".tar", ".th")


def choose_in_folder(folder: Path) -> Path:
    """The one index or file of a folder that is its checkpoint.

    An index goes before single files, safetensors before a `.bin` of the same weights. Raises
    CheckpointError where there is none, or more than one.
    """
    names = sorted(entry.name for entry in folder.iterdir())
    if words := describe_first(folder, names):
        raise CheckpointError(f"{folder}: {words}")
    found = _prefer(find_candidates(folder, names))
    if not found:
        raise CheckpointError(f"{folder}: {_describe_lacking(folder, names)}")
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: has {len(found)} checkpoints, {shorten_all(found)}; name one"
        )
    return folder / found[0]


def find_candidates(folder: Path, names: Iterable[str]) -> list[str]:
    """The names in a folder that are a whole checkpoint's, by their ends."""
    return [
        name
        for name in names
        if (name.endswith(ENDS[:3]) or name in BIN_NAMES)
        and find_shard(folder / name) is None
        and not PIECE_NAME.fullmatch(name)
        and not (folder / name).is_dir()
    ]


def note_others(folder: Path, opened: Sequence[Path], chosen: Path) -> tuple[str, ...]:
    """The note of checkpoints in a folder that were not taken, where there are some."""
    taken = {chosen.name, *(path.name for path in opened)}
    names = sorted(entry.name for entry in folder.iterdir())
    others = [name for name in find_candidates(folder, names) if name not in taken]
    if not others:
        return ()
    return (f"took {chosen.name} of the folder, not {shorten_all(others)}; name one to read it",)


def _prefer(names: Sequence[str]) -> list[str]:
    """One name for each set of weights; that with an index alone, where there is one."""
    best: dict[str, str] = {}
    for name in sorted(names, key=_rank):
        best.setdefault(_stem(name), name)
    indexes = [name for name in best.values() if name.endswith(".index.json")]
    if not indexes and "model" in best and set(best) <= {"model", *SECOND}:
        return [best["model"]]
    return indexes or list(best.values())


def _rank(name: str) -> int:
    return next(rank for rank, end in enumerate(ENDS) if name.endswith(end))


def _stem(name: str) -> str:
    """What weights are called, whatever the format."""
    stem = name[: -len(ENDS[_rank(name)])]
    return SAME.get(stem, stem)


def _describe_lacking(folder: Path, names: Sequence[str]) -> str:
    """Words for a folder without a checkpoint that could be opened."""
    if any(PIECE_NAME.fullmatch(name) for name in names):
        return describe_pieces(folder)
    return (
        _describe_shards(folder, names, of_ranks=False)
        or describe_other(folder, names)
        or _describe_shards(folder, names, of_ranks=True)
        or _describe_files(folder, names)
        or describe_below(folder, names)
        or _describe_nothing(names)
    )


def _describe_shards(folder: Path, names: Sequence[str], *, of_ranks: bool) -> str:
    """Words for the first set of shards that lacks its index, or for what ranks keep."""
    for name in names:
        shard = find_shard(folder / name)
        if (
            shard
            and shard.is_rank == of_ranks
            and re.search(r"\.(?:safetensors|bin|pt|pth|ckpt)$", name)
        ):
            return f"holds shards of one checkpoint, as {name!r}: {describe_set(shard, folder)}"
    return ""


def _describe_files(folder: Path, names: Sequence[str]) -> str:
    """Words for files of which one may be the checkpoint, or else for one that is not read."""
    known = {name: find_foreign(folder / name) for name in names}
    files = [name for name in names if name.endswith(TORCH_ENDS) and not known[name]]
    if len(files) == 1:
        return f"holds a file that may be a checkpoint: name it, {folder / files[0]}"
    if files:
        return f"holds {len(files)} files that may be checkpoints: name one, {shorten_all(files)}"
    told = (f"{name} {found.describe(folder / name)}" for name, found in known.items() if found)
    return (
        " ".join(("holds no checkpoint that is read;", first)) if (first := next(told, "")) else ""
    )


def _describe_nothing(names: Sequence[str]) -> str:
    held = f"it holds {shorten_all(list(names))}" if names else "it is empty"
    return f"has no index, *.safetensors or pytorch_model.bin ({held}); name the file itself"
