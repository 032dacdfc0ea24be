"""What a run stages for one folder, and what earlier runs that were killed left of theirs.

A run has a hidden folder in each folder that it puts files into, all of one token. Before the first
file is put in place each has a journal: names within the folder, never paths, so that a stranger's
journal leads nowhere. While the run lives, it holds a lock on a file in the first one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ckptsurgeon.checkpoints.writing import staging
from ckptsurgeon.checkpoints.writing.placing import Placement, inode_of
from ckptsurgeon.cutting import list_some
from ckptsurgeon.files import read_regular
from ckptsurgeon.visible import visible
from ckptsurgeon.wording import choose

if sys.platform != "win32":
    import fcntl

JOURNAL, LOCK = "journal.json", "lock"

LONGEST_JOURNAL = 4 << 20
"""Bytes of a journal that are read."""

MOST_ENTRIES = 100_000
"""Names of a folder among which earlier runs are looked for."""

SHOWN = 3
"""Files that a message names."""

HIDDEN = re.compile(re.escape(staging.hidden_name("T")).replace("T", "([0-9a-f]{16})"))


class StagingFolder:
    """A hidden folder of this run, in the folder that its files go to."""

    def __init__(self, parent: Path, token: str) -> None:
        self.parent, self.path = parent, parent / staging.hidden_name(token)
        self._lock = -1
        self.path.mkdir()

    def lock(self) -> None:
        """Say that the run lives, until `close`: a lock that is seen is held."""
        if sys.platform == "win32":
            return
        waiting = self.path / f"{LOCK}-waiting"
        self._lock = os.open(waiting, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.rename(waiting, self.path / LOCK)

    def write_journal(self, placements: Iterable[Placement], folders: int) -> None:
        """Have on the disk what is to be put where, and how many such folders the run has."""
        entries = [
            [one.place.name, one.inode, os.path.lexists(one.place), one.aside.name]
            for one in placements
        ]
        with open(self.path / JOURNAL, "x", encoding="utf-8") as file:
            json.dump({"folders": folders, "files": entries}, file)
            file.flush()
            os.fsync(file.fileno())
        staging.sync_folder(self.path)
        staging.sync_folder(self.parent)

    def forget(self) -> None:
        """All is in place: the journal has nothing more to tell."""
        with contextlib.suppress(OSError):
            (self.path / JOURNAL).unlink()

    def close(self, *, keep: bool) -> None:
        """Take the folder away, unless it is kept for what it holds."""
        if not keep:
            _remove(self.path)
        if self._lock >= 0:
            os.close(self._lock)


def _remove(folder: Path) -> None:
    """Take a hidden folder away, its lock last: by that what a kill leaves is known as such."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name != LOCK:
                _remove_one(folder / name)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_one(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


# --- earlier runs ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a journal, and what became of it."""

    shown: str
    place: Path
    placed: bool
    replaced: bool
    aside: Path

    @property
    def gone(self) -> bool:
        """Whether what it replaces waits aside, and nothing is in its place."""
        return self.replaced and not os.path.lexists(self.place)

    def __str__(self) -> str:
        name = visible(self.shown)
        if self.gone:
            return f"{name} is moved to {visible(str(self.aside))}"
        if self.placed:
            return f"{name} is {'the new one' if self.replaced else 'there'}"
        return f"{name} is {'the old one' if self.replaced else 'not'}"


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """What is left of a run that was killed."""

    folders: tuple[Path, ...]
    shown: tuple[str, ...]
    entries: tuple[Entry, ...]
    is_whole: bool
    """Whether all of its folders are known."""

    @property
    def halfway(self) -> bool:
        """Whether it was stopped while it put its files in place."""
        return len({one.placed for one in self.entries}) > 1 or bool(self.gone)

    @property
    def gone(self) -> list[Entry]:
        """What waits aside, in its hidden folders alone, with nothing in its place."""
        return [one for one in self.entries if one.gone]

    @property
    def removable(self) -> list[str]:
        """Those of its hidden folders that nothing waits in."""
        holders = {one.aside.parent for one in self.gone}
        return [
            shown for one, shown in zip(self.folders, self.shown, strict=True) if one not in holders
        ]

    @property
    def harmless(self) -> bool:
        """Whether it has put nothing in place, or everything."""
        return not self.halfway and (self.is_whole or not self.entries)

    def concerns(self, places: Collection[Path]) -> bool:
        """Whether it had one of these places to fill."""
        return any(one.place in places for one in self.entries)

    def clear(self) -> None:
        """Take away what it has left hidden."""
        for folder in reversed(self.folders):
            _remove(folder)

    def tell(self) -> str:
        """What is there of it, and what is not, with a way out."""
        first = [one for one in self.entries if one.placed]
        rest = [one for one in self.entries if not one.placed]
        parts = [list_some(map(str, group), SHOWN) for group in (first, rest) if group]
        force = choose("--force", "force=True")
        back = [f"move {visible(str(one.aside))} back to {visible(one.shown)}" for one in self.gone]
        away = [visible(one) for one in (*(one.shown for one in first), *self.removable)]
        ways = [*back[:SHOWN], *([f"remove {list_some(away, SHOWN)}"] if away else [])]
        return (
            "an earlier run was stopped while it put its files in place: "
            f"{', '.join(parts)}; {', '.join(ways)}, or write all again by {force}"
        )


def find_earlier(parents: Mapping[Path, str]) -> list[EarlierRun]:
    """The runs that were killed while they had hidden folders in these.

    Each folder comes with the name that it is shown by.
    """
    found: dict[str, list[Path]] = {}
    for parent in parents:
        for token in _tokens_in(parent):
            found.setdefault(token, []).append(parent)
    return [
        _read_run(token, holders, parents)
        for token, holders in found.items()
        if any(_is_free(parent / staging.hidden_name(token) / LOCK) for parent in holders)
    ]


def _read_run(token: str, holders: Sequence[Path], parents: Mapping[Path, str]) -> EarlierRun:
    """What the folders of a token tell; `holders` are those that they lie in."""
    entries: list[Entry] = []
    folders = [parent / staging.hidden_name(token) for parent in holders]
    count = 0
    for parent, hidden in zip(holders, folders, strict=True):
        journal = _read_journal(hidden / JOURNAL)
        count = max(count, journal.folders)
        for name, inode, replaced, aside in journal.files:
            place, shown = parent / name, os.path.join(parents[parent], name)
            placed = inode_of(place) == inode
            entries.append(Entry(shown, place, placed, replaced, hidden / aside))
    names = (os.path.join(parents[parent], staging.hidden_name(token)) for parent in holders)
    return EarlierRun(tuple(folders), tuple(names), tuple(entries), len(folders) >= count)


def _tokens_in(folder: Path) -> Iterator[str]:
    """The tokens of hidden folders; links are none."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in itertools.islice(entries, MOST_ENTRIES):
            name = HIDDEN.fullmatch(entry.name)
            if name is not None and entry.is_dir(follow_symlinks=False):
                yield name[1]


def _is_free(lock: Path) -> bool:
    """Whether a lock is there and nobody holds it."""
    if sys.platform == "win32":
        return False
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


class _Journal(NamedTuple):
    """How many folders a run has, and in one of them its files: name, inode, replaced, aside."""

    folders: int = 0
    files: tuple[tuple[str, int, bool, str], ...] = ()


def _read_journal(path: Path) -> _Journal:
    """What a journal says; nothing of what is none of ours."""
    try:
        found = None if path.is_symlink() else json.loads(read_regular(path, LONGEST_JOURNAL))
    except (OSError, ValueError, RecursionError):
        return _Journal()
    if not isinstance(found, dict) or type(found.get("folders")) is not int:
        return _Journal()
    files = found.get("files")
    if not isinstance(files, list) or not all(map(_is_line, files)):
        return _Journal()
    return _Journal(found["folders"], tuple((one[0], one[1], one[2], one[3]) for one in files))


def _is_line(line: Any) -> bool:
    return (
        isinstance(line, list)
        and [type(part) for part in line] == [str, int, bool, str]
        and all(map(_is_name, (line[0], line[3])))
    )


def _is_name(text: str) -> bool:
    """Whether a text names something in a folder."""
    return text not in ("", ".", "..") and not re.search(r"[/\0\\]", text)
