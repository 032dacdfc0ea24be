"""Files that are one of a set by name, as `model-00001-of-00002`, and sets that lack some."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ckptsurgeon.checkpoints.strict_json import MAX_JSON, load_index, load_object
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.wording import argument, choose, name_source

NAME = re.compile(
    r"(?P<before>(?:.*?\D)??)(?P<number>\d+)[-_]of[-_](?P<count>\d+)(?P<after>(?:\D.*)?)"
)
"""The name of one of several files; in `shard-00001-model-00001-of-00004`, of the last numbers."""

RANK = re.compile(
    r"(?P<before>(?:consolidated|weights)\.|(?:.*[-_.])?(?:rank|tp|pp|model[-_]part)[-_]?)"
    r"(?P<number>\d+)(?P<after>(?:\D.*)?)"
)
"""The name of what one of several ranks keeps, as Llama's consolidated.00.pth, without a count."""

LAYER = re.compile(r"layer_(\d+)-model_(\d+)-model_states\.pt")
"""The name of what a rank keeps of one layer, in DeepSpeed's pipelines."""

MOST_RANKS = 1_000_000
"""More than there are of one layer, whose number is counted in these."""

RANK_FOLDER = re.compile(r"((?:mp|tp|pp|model)_rank_)(\d+)(?:_(\d+))?(?:_(\d+))?")
"""The name of a folder in which a rank keeps its part, as Megatron's mp_rank_00."""

NO_SETS = re.compile(
    r"(?:^|[^a-z])(?:epoch|step|iter|iteration|round|fold|run|seed|trial)[-_.=]?$", re.I
)
"""Words before `3-of-10` after which that counts times, not files."""

PIECES = "DCP_SHARDING_INFO"
"""The entry of `__metadata__` by which torch tells where the pieces in a file belong."""

PIECE_ENTRIES = (PIECES, "DCP_VERSION")

PIECE_NAME = re.compile(r"shard-\d+-model-\d+-of-\d+\.safetensors")
"""The name of a file of pieces, as torch's HuggingFaceStorageWriter gives it."""


def tell_one_shard() -> str:
    """How to say that a shard is meant alone."""
    word = argument("one_shard", "", "True")
    in_file = "`one_shard: true` under `source` in a rule file"
    return f"if this shard alone is meant, say `{word}` ({in_file})"


JOINING = (
    "import sys, torch, torch.distributed.checkpoint as d; "
    "from safetensors.torch import save_file; "
    "r = d.HuggingFaceStorageReader(sys.argv[1]); "
    "t = {k: torch.empty(m.size, dtype=m.properties.dtype) "
    "for k, m in r.read_metadata().state_dict_metadata.items()}; "
    "d.load(t, storage_reader=r, no_dist=True); save_file(t, sys.argv[2])"
)
"""What puts pieces together; torch's consolidate_safetensors_files fails for integers."""


@dataclass(frozen=True, slots=True)
class ShardName:
    """A file's name as one of `count` in a folder that differ in their `number` alone.

    Names of ranks don't tell the count. Where each has a folder of its own, that has the number,
    and the file is `inside` of it.
    """

    before: str
    number: int
    count: int
    after: str
    is_rank: bool = False
    inside: str = ""

    @property
    def place(self) -> str:
        """Which one it is, in words."""
        return f"{self.number} of {self.count}"

    def is_beside(self, other: ShardName) -> bool:
        """Whether another name is of the same set."""
        return self._set == other._set

    @property
    def _set(self) -> tuple[str, str, bool, int]:
        return self.before, self.after, self.is_rank, 0 if self.is_rank else self.count


@lru_cache(maxsize=10_000)
def read_shard_name(name: str) -> ShardName | None:
    """What a file's name says of a set of several files; None where it says nothing of one."""
    found = NAME.fullmatch(name)
    if not found or NO_SETS.search(found["before"]):
        return None
    number, count = int(found["number"]), int(found["count"])
    if count < 2 or number > count:
        return None
    return ShardName(found["before"], number, count, found["after"])


@lru_cache(maxsize=10_000)
def _read_rank_name(name: str) -> ShardName | None:
    if layer := LAYER.fullmatch(name):
        number = int(layer[1]) * MOST_RANKS + int(layer[2])
        return ShardName("layer_", number, 0, "-model_states.pt", True)
    found = RANK.fullmatch(name)
    return found and ShardName(found["before"], int(found["number"]), 0, found["after"], True)


def _read_rank_folder(name: str) -> ShardName | None:
    """What a folder's name says of a rank, by its numbers (tensor, pipeline, expert parallel)."""
    found = RANK_FOLDER.fullmatch(name)
    if found is None:
        return None
    number = 0
    for one in found.groups("0")[1:]:
        number = number * MOST_RANKS + int(one)
    return ShardName(found[1], number, 0, "", True)


def find_shard(path: Path) -> ShardName | None:
    """What a file is one of by its name, and by what lies beside it where that tells no count."""
    if shard := read_shard_name(path.name):
        return shard
    rank = _read_rank_name(path.name)
    if rank is None:
        folder = _read_rank_folder(path.absolute().parent.name)
        rank = folder and replace(folder, inside=path.name)
    there = sorted(find_set(rank, path.parent)) if rank else []
    if rank is None or len(there) < 2 or (there[0] and not LAYER.fullmatch(path.name)):
        return None
    return replace(rank, number=there.index(rank.number), count=len(there))


def find_set(shard: ShardName, folder: Path) -> dict[int, Path]:
    """The files of a shard's set by their numbers, which may begin at 0; it lies in the folder."""
    if not shard.inside:
        return select_set(shard, folder.iterdir())
    files = (beside / shard.inside for beside in _above(folder).iterdir())
    return select_set(shard, (file for file in files if file.is_file()))


def _above(folder: Path) -> Path:
    """The folder that a folder lies in, as short as the path says it."""
    return folder.parent if folder.name else folder.absolute().parent


def select_set(shard: ShardName, files: Iterable[Path]) -> dict[int, Path]:
    """Those of some files that are of the same set, by their numbers."""
    found = {}
    for file in files:
        if shard.inside:
            other = _read_rank_folder(file.parent.name)
        else:
            other = read_shard_name(file.name) or _read_rank_name(file.name)
        if other is not None and shard.is_beside(other):
            found[other.number] = file
    return found


def refuse_lone(path: Path, together: Collection[Path]) -> None:
    """Raises CheckpointError for one file of a set whose others are not opened with it."""
    shard = find_shard(path)
    if shard is None:
        return
    there = find_set(shard, path.parent)
    if len(there) >= shard.count and {*there.values()}.issubset(together):
        return  # as they most often are, and told at once
    if len(select_set(shard, _beside(path, together, bool(shard.inside)))) < shard.count:
        kind = f"is shard {shard.place}, no whole checkpoint"
        raise CheckpointError(f"{path}: {kind}: {_way_out(path, shard)}; {tell_one_shard()}")


def _beside(path: Path, files: Collection[Path], in_folders: bool) -> Iterator[Path]:
    """Those of some files that lie in the same folder, or in folders that do."""
    up = int(in_folders)
    home = path.absolute().parents[up].resolve()
    homes = {file: file.absolute().parents[up : up + 1] for file in files}
    known = {folder: folder.resolve() for own in homes.values() for folder in own}
    return (file for file, own in homes.items() if any(known[folder] == home for folder in own))


def _way_out(path: Path, shard: ShardName) -> str:
    if index := find_index(path):
        return f"open all of them by their index, {shlex.quote(str(index))}"
    return describe_set(shard, path.parent)


def describe_set(shard: ShardName, folder: Path) -> str:
    """Words for a set of shards without its index."""
    there = find_set(shard, folder)
    lacking = shard.count - len(there)
    if lacking > 0:
        return (
            f"{lacking} of the {shard.count} are not there, nor is the index: "
            "fetch these, too, and open the index"
        )
    first = next(iter(there.values()))
    pattern = Path(glob.escape(str(folder))) / _star(first.name)
    if shard.inside:
        home = Path(glob.escape(str(first.parent.parent)))
        pattern = home / f"{shard.before}*" / glob.escape(shard.inside)
    given = name_source("s*", str(pattern))
    if shard.is_rank:
        return (
            f"each rank keeps a part of the tensors: name all of them by `{given}`, and join the "
            "parts by rules (`concat`, or `same` for what each has whole); destinations by "
            f"""`{argument("into", "'rank<r>=PATH_<r>'", "{'rank<r>': 'PATH_<r>'}")}`"""
        )
    return (
        "their index (*.index.json) is not there: fetch it and open that, or name all of them by "
        f"`{given}`, whose keys a rule takes together: "
        + choose(
            f"`ckptsurgeon transplant {given} -e 's<_:int>::** -> **' -o OUT/`",
            f"`ckptsurgeon.transplant(None, 'OUT/', ['s<_:int>::** -> **'], {given})`",
        )
        + " makes one checkpoint of them"
    )


def _star(name: str) -> str:
    """The pattern of a shard's name, with a star in the place of its number."""
    if LAYER.fullmatch(name):
        return "layer_*-model_*-model_states.pt"
    found = NAME.fullmatch(name) or RANK.fullmatch(name)
    end = found.end("number") if found else 0
    before = found["before"] if found else ""
    return f"{glob.escape(before)}*{glob.escape(name[end:])}"


def find_index(path: Path) -> Path | None:
    """The index in a shard's folder that lists it."""
    for index in sorted(path.parent.glob("*.index.json")):
        if path.name in _listed(index):
            return index
    return None


def _listed(index: Path) -> set[str]:
    """The files that an index names; none where it can't be read."""
    try:
        with index.open("rb") as file:
            weights = load_index(file.read(MAX_JSON)).get("weight_map")
    except (OSError, CheckpointError):
        return set()
    listed = weights.values() if isinstance(weights, dict) else ()
    return {name for name in listed if isinstance(name, str)}


# --- pieces of tensors ----------------------------------------------------------------------------


def refuse_pieces(path: Path, metadata: Mapping[str, str]) -> None:
    """Raises CheckpointError for a file of pieces of tensors that is opened by itself."""
    if PIECES not in metadata:
        return
    if index := find_index(path):
        raise CheckpointError(
            f"{path}: is one file of a set that torch's distributed checkpointing wrote: open all "
            f"of them by their index, {shlex.quote(str(index))}; {tell_one_shard()}"
        )
    raise CheckpointError(f"{path}: {describe_pieces(path.parent)}; {tell_one_shard()}")


def describe_pieces(folder: Path) -> str:
    """Words for files of pieces of tensors in a folder."""
    return (
        "holds pieces of tensors, as torch's distributed checkpointing (DCP) writes them in "
        f'safetensors: put them together by `python -c "{JOINING}" {shlex.quote(str(folder))} '
        "OUT.safetensors`"
    )


def refuse_parted(path: Path, metadata: Mapping[str, str]) -> None:
    """Raises CheckpointError for a shard of an index that has pieces which don't begin a tensor."""
    if PIECES in metadata and not _begins_all(metadata[PIECES]):
        raise CheckpointError(f"{path}: {describe_pieces(path.parent)}")


def _begins_all(text: str) -> bool:
    """Whether every tensor stands at the start of its whole, as far as torch says."""
    try:
        entries = load_object(text.encode()).values()
        return not any(any(entry["saved_offsets"]) for entry in entries)
    except (CheckpointError, TypeError, KeyError):
        return False


def without_pieces(metadata: Mapping[str, str]) -> dict[str, str]:
    """The entries that are true of an output, too."""
    return {name: text for name, text in metadata.items() if name not in PIECE_ENTRIES}


# --- one shard that is meant ----------------------------------------------------------------------


def describe_opened(path: Path, metadata: Mapping[str, str]) -> str:
    """What a shard is that was opened alone on purpose; "" for a whole."""
    shard = find_shard(path)
    words = f"shard {shard.place}" if shard else ""
    if PIECES in metadata:
        words = f"{words}, of pieces of tensors" if words else "pieces of tensors"
    return words
