"""Outputs that appear whole or not at all: staged beside the target, fsynced, then given its name.

A staged file has no name until it is complete, where the file system can do that (O_TMPFILE), so
that even a killed process leaves nothing behind. Elsewhere it has a hidden name, and so has one
that is closed in between.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from ckptsurgeon.checkpoints.writing.open_files import OpenFiles
from ckptsurgeon.errors import OutputError
from ckptsurgeon.files import follow_links
from ckptsurgeon.specs import human_bytes
from ckptsurgeon.wording import choose

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What an OS says when there is no room for a write."""

FAILED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO})
"""What an OS says when a folder or a disk does not take a write."""

TOO_MANY = frozenset({errno.EMFILE, errno.ENFILE})
"""What an OS says when it lets no more files be open."""

REPLACEABLE = (".safetensors", ".index.json")
"""Endings of the files that a folder may hold to be replaced as a whole."""

HIDDEN = ".ckptsurgeon-"
"""How the names of what is not there yet begin."""

RENAME_EXCHANGE = 2
"""Linux's flag for swapping two names at once."""


@contextlib.contextmanager
def staged_file(
    target: Path, *, force: bool, nbytes: int = 0, filled: OpenFiles | None = None
) -> Iterator[StagedFile]:
    """The file that becomes `target`.

    It is made `nbytes` long at once, if there is room. Leaving normally publishes it;
    leaving by an exception leaves nothing. A link is written through to the place that it names.
    Raises OutputError where `target` exists and `force` is not given, where its folder does not,
    and where the disk is full. It stays open all the time, unless it is one of those that are
    `filled` in turns.
    """
    place = file_place(target, force)
    require_space(place.parent, nbytes)
    with told(target), StagedFile(target, place.parent, nbytes, filled) as staged:
        yield staged
        staged.publish(place, force)
        sync_folder(place.parent)


class StagedFolder:
    """The files of a folder that has no name yet."""

    def __init__(
        self, target: Path, beside: Path, stack: contextlib.ExitStack, filled: OpenFiles | None
    ) -> None:
        self._target, self._beside, self._stack, self._filled = target, beside, stack, filled
        self._files: dict[str, StagedFile] = {}

    def create(self, name: str, nbytes: int) -> StagedFile:
        """A new file of that size."""
        staged = StagedFile(self._target, self._beside, nbytes, self._filled)
        self._files[name] = self._stack.enter_context(staged)
        return staged

    def gather(self) -> Path:
        """A hidden folder, synced, that holds all files under their names."""
        folder = self._beside / hidden_name()
        folder.mkdir()
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name, staged in self._files.items():
            staged.publish(folder / name, force=False)
        sync_folder(folder)
        return folder


@contextlib.contextmanager
def staged_folder(
    target: Path, *, force: bool, nbytes: int = 0, filled: OpenFiles | None = None
) -> Iterator[StagedFolder]:
    """The folder that becomes `target`, all its files at once; else as `staged_file`.

    With `force` an existing folder is replaced as a whole, but only if it holds nothing else than
    safetensors files and their indexes: whatever stands beside them would be lost.
    """
    place = folder_place(target, force)
    require_space(place.parent, nbytes)
    with told(target), contextlib.ExitStack() as stack:
        staged = StagedFolder(target, place.parent, stack, filled)
        yield staged
        gathered = staged.gather()
        folder_place(target, force)
        _exchange_folders(gathered, place)
        sync_folder(place.parent)


def require_space(folder: Path, nbytes: int) -> None:
    """Nothing, if the folder's file system has room for so many bytes; else an OutputError."""
    if not hasattr(os, "statvfs"):
        return
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < nbytes:
        raise OutputError(
            f"{folder}: has {human_bytes(free)} free, the output takes {human_bytes(nbytes)}; "
            "make room, or write elsewhere"
        )


class StagedFile:
    """One file being written: without a name where the OS can, else with a hidden one.

    One of those that are open in turns (`filled`) has a hidden name.
    """

    def __init__(
        self, target: Path, folder: Path, nbytes: int, filled: OpenFiles | None = None
    ) -> None:
        self._target, self._folder, self._nbytes = target, folder, nbytes
        self._filled = filled
        self._name: Path | None = None
        self._descriptor = -1

    def __enter__(self) -> StagedFile:
        try:
            self._descriptor = self._open()
            os.ftruncate(self._descriptor, self._nbytes)
            if self._filled is not None:
                self._close()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()
        if self._name is not None:
            self._name.unlink(missing_ok=True)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Its descriptor, open for reading and writing as long as the block.

        Raises OutputError for what the OS says.
        """
        with told(self._target), self._held() as descriptor:
            yield descriptor

    def _held(self) -> AbstractContextManager[int]:
        if self._filled is None or self._name is None:
            return contextlib.nullcontext(self._descriptor)
        return self._filled.opened(self._name)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def publish(self, place: Path, force: bool) -> None:
        """Give the file its name; with `force` over an existing one, at once.

        Its bytes are on the disk before a name points to them.
        """
        with self._held() as descriptor:
            os.fsync(descriptor)
        if not force:
            self._link(place)
            return
        if self._name is None:
            name = self._folder / hidden_name()
            self._link_to(name)
            self._name = name
        os.replace(self._name, place)
        self._name = None

    def _open(self) -> int:
        unnamed = self._filled is None and hasattr(os, "O_TMPFILE")
        if unnamed and os.path.isdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                return os.open(self._folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
        name = self._folder / hidden_name()
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(name, flags, 0o666)
        self._name = name
        return descriptor

    def _link_to(self, name: Path) -> None:
        """Give the file one more name, which must be free."""
        if self._name is not None:
            os.link(self._name, name)
        else:
            # Without a folder descriptor Python calls link(2), which would link the link in /proc.
            source = f"/proc/self/fd/{self._descriptor}"
            os.link(source, name, src_dir_fd=self._descriptor, follow_symlinks=True)

    def _link(self, place: Path) -> None:
        """Name the file without ever replacing another, which a rename would."""
        name_new(self._link_to, self._name, place)


def open_staged(path: Path) -> int:
    """A descriptor for reading and writing of a file that is there."""
    return os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))


def name_new(link: Callable[[Path], None], name: Path | None, place: Path) -> None:
    """Have a file linked to a place, where nothing may be; its `name`, if any, is moved else."""
    try:
        link(place)
    except FileExistsError:
        raise OutputError(exists_already(place)) from None
    except OSError:
        if name is None or place.exists():
            raise
        os.rename(name, place)  # file systems without hard links


def hidden_name(token: str = "") -> str:
    """A name for what is not there yet."""
    return f"{HIDDEN}{token or secrets.token_hex(8)}.partial"


def refuse_file(target: Path, *, force: bool) -> None:
    """Raises OutputError where a file can't go, before anything is done for it."""
    file_place(target, force)


def file_place(target: Path, force: bool) -> Path:
    """Where the file goes, links followed, after checking that it may go there."""
    place = _real(target)
    if place.is_dir():
        raise OutputError(f"{target}: is a folder, wanted the name of a file")
    if place.exists():
        if not stat.S_ISREG(place.stat().st_mode):
            raise OutputError(f"{target}: is no regular file; choose another name for the output")
        if not force:
            raise OutputError(exists_already(target))
    return place


def folder_place(target: Path, force: bool) -> Path:
    """Where the folder goes, links followed, after checking that it may go there."""
    place = _real(target)
    if not place.exists():
        return place
    if not place.is_dir():
        raise OutputError(f"{target}: is a file, wanted a folder; choose another name")
    with os.scandir(place) as entries:
        foreign = sorted(entry.name for entry in entries if not _replaceable(entry))
        held = any(place.iterdir())
    if foreign:
        shown = ", ".join(map(repr, foreign[:5])) + (", …" if len(foreign) > 5 else "")
        raise OutputError(
            f"{target}: holds {shown}, which replacing the folder would destroy; "
            "write to a new folder, then copy over what belongs beside it"
        )
    if held and not force:
        raise OutputError(exists_already(target))
    return place


def _replaceable(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(REPLACEABLE) and entry.is_file()


def real_path(target: Path) -> Path:
    """The target without links; raises OutputError for a name that no file can have."""
    try:
        return follow_links(target)
    except OSError as error:
        raise OutputError(f"{target}: can't be written: {error.strerror}") from None


def _real(target: Path) -> Path:
    place = real_path(target)
    if place.is_symlink():
        raise OutputError(f"{target}: is a link that leads back to itself")
    if not place.parent.is_dir():
        raise OutputError(f"{target}: the folder {place.parent} does not exist; make it first")
    return place


def exists_already(target: Path) -> str:
    """What is said of a target that is there, where it may not be replaced."""
    return f"{target}: exists already; {choose('--force', 'force=True')} replaces it"


def _exchange_folders(new: Path, place: Path) -> None:
    """Put `new` in the place of a folder that may stand there, which goes away.

    The two names are swapped at once where the OS can, so that a kill leaves the old or the new.
    What can't be removed of the old one stays, hidden: with the new one in place, nothing failed.
    """
    if not place.exists():
        os.rename(new, place)
    elif swapped(new, place):
        shutil.rmtree(new, ignore_errors=True)
    else:
        aside = place.parent / hidden_name()
        os.rename(place, aside)
        try:
            os.rename(new, place)
        except BaseException:
            os.rename(aside, place)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def swapped(first: Path, second: Path) -> bool:
    """Whether the OS swapped the two names; only Linux has the call, and not on every disk."""
    import ctypes  # only replacing a folder needs it

    call = getattr(ctypes.CDLL(None), "renameat2", None)
    here = getattr(os, "AT_FDCWD", -100)
    names = os.fsencode(first), os.fsencode(second)
    return call is not None and call(here, names[0], here, names[1], RENAME_EXCHANGE) == 0


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that know no fsync of folders
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def told(target: Path) -> Iterator[None]:
    """Turn what the OS says of a disk that is full or closed into words about the output."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise OutputError(f"{target}: the disk is full; nothing was left behind") from error
        if error.errno in TOO_MANY:
            raise OutputError(
                f"{target}: takes more open files than the system allows at once; write larger "
                "shards, or raise `ulimit -n`"
            ) from error
        if error.errno in FAILED:
            raise OutputError(f"{target}: can't be written: {error.strerror}") from error
        raise
