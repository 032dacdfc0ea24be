"""Staged files and folders put in their places, one by one, each of which can be taken back."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from ckptsurgeon.checkpoints.writing import staging
from ckptsurgeon.errors import OutputError


@dataclass(frozen=True, slots=True)
class Placement:
    """What is staged, and where it goes; `inode` tells it from what else may stand there.

    `target` is the place as a user names it. What it replaces is kept beside the staged one until
    all is in place. A folder that `is_made` for outputs replaces none.
    """

    target: str
    staged: Path
    place: Path
    inode: int
    is_folder: bool
    is_made: bool = False

    @property
    def aside(self) -> Path:
        """Where something that is replaced waits."""
        return self.staged.parent.with_name(f"{self.staged.parent.name}-old")

    @property
    def placed(self) -> bool:
        """Whether the new one is in its place."""
        return inode_of(self.place) == self.inode

    def put(self, force: bool) -> None:
        """Put it in its place; with `force` over an existing one.

        Raises OutputError where that is not allowed, and OSError.
        """
        check = staging.folder_place if self.is_folder else staging.file_place
        check(Path(self.target), force and not self.is_made)
        if os.path.lexists(self.place):
            self._replace()
        elif self.is_folder:
            os.rename(self.staged, self.place)
        else:
            staging.name_new(self._link, self.staged, self.place)

    def _link(self, place: Path) -> None:
        os.link(self.staged, place)

    def _replace(self) -> None:
        """Put it over what is there, which a kill leaves as it is, or finds replaced."""
        if staging.swapped(self.staged, self.place):
            return
        if not self.is_folder:
            with contextlib.suppress(OSError):  # file systems without hard links
                os.link(self.place, self.aside)
                os.replace(self.staged, self.place)
                return
        os.rename(self.place, self.aside)
        os.rename(self.staged, self.place)

    def take_back(self) -> None:
        """Have what stood in the place before, or nothing; raises OSError where that fails.

        What is no longer ours is left alone.
        """
        old = self._find_old()
        if not self.placed:
            if old is not None and not os.path.lexists(self.place):
                os.rename(old, self.place)
        elif old is None:
            self._clear_place()
        elif not staging.swapped(old, self.place):
            if self.is_folder:
                self._clear_place()
            os.replace(old, self.place)

    def _clear_place(self) -> None:
        """Take away the new one, which stands in its place."""
        if self.is_folder:
            os.rename(self.place, self.staged.with_name(staging.hidden_name()))
        else:
            os.unlink(self.place)

    def _find_old(self) -> Path | None:
        """What was replaced, where it waits."""
        for path in (self.aside, self.staged):
            if inode_of(path) not in (None, self.inode):
                return path
        return None


def inode_of(path: Path) -> int | None:
    """Which file or folder a name leads to; None for nothing."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def put_all(placements: list[Placement], force: bool) -> None:
    """Put all in place; raises OutputError where one can't be, with those before it in place."""
    for one in placements:
        with staging.told(Path(one.target)):
            one.put(force)
    for folder in _folders(placements):
        with staging.told(folder):
            staging.sync_folder(folder)


class Stuck(OutputError):
    """Outputs that could neither all be put in place nor all be taken back."""


def take_back_all(placements: list[Placement], reason: BaseException) -> None:
    """Have everywhere what stood there before; raises Stuck where that fails, after all others."""
    stuck = []
    for one in reversed(placements):
        try:
            one.take_back()
        except BaseException as error:  # whatever it is, the others are taken back
            told = getattr(error, "strerror", None) or type(error).__name__
            stuck.append(f"{one.target} ({told})")
    for folder in _folders(placements):
        with contextlib.suppress(OSError):
            staging.sync_folder(folder)
    if stuck:
        why = str(reason) or type(reason).__name__
        raise Stuck(
            f"{why}; what was put in place before can't be taken back: {', '.join(stuck[:5])}"
        ) from reason


def _folders(placements: list[Placement]) -> list[Path]:
    return list(dict.fromkeys(one.place.parent for one in placements))
