"""Outputs appear whole or not at all, whenever the process dies."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ckptsurgeon.checkpoints.base import Layout
from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.checkpoints.writing import staging
from ckptsurgeon.checkpoints.writing.staging import (
    StagedFile,
    StagedFolder,
    require_space,
    staged_file,
    staged_folder,
)
from ckptsurgeon.errors import OutputError

Put = Callable[..., None]


@pytest.fixture(params=["without a name", "with a hidden name"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems with unnamed files and exchanged names, and those without."""
    if request.param == "with a hidden name":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
        monkeypatch.setattr(staging, "swapped", lambda first, second: False)


def put(target: Path, content: bytes = b"new", *, force: bool = False) -> None:
    """Write a staged file, or a folder with one file in it."""
    if target.suffix:
        with staged_file(target, force=force, nbytes=len(content)) as staged:
            fill(staged, content)
    else:
        with staged_folder(target, force=force, nbytes=len(content)) as folder:
            fill(folder.create("a.safetensors", len(content)), content)


def fill(staged: StagedFile, content: bytes) -> None:
    with staged.opened() as descriptor:
        os.pwrite(descriptor, content, 0)


def content_of(target: Path) -> bytes | None:
    """What stands under the target's name."""
    place = target if target.suffix else target / "a.safetensors"
    return place.read_bytes() if place.exists() else None


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("name", ["a.bin", "folder"])
def test_new_and_replaced(name: str, tmp_path: Path) -> None:
    target = tmp_path / name
    put(target)
    assert content_of(target) == b"new"
    with pytest.raises(OutputError, match="exists already; force=True replaces it"):
        put(target, b"newer")
    assert content_of(target) == b"new"
    put(target, b"newer", force=True)
    assert content_of(target) == b"newer"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("name", ["a.bin", "folder"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(name: str, error: type[BaseException], tmp_path: Path) -> None:
    def fail(force: bool) -> None:
        stage = staged_file if "." in name else staged_folder
        with stage(tmp_path / name, force=force) as staged:
            if isinstance(staged, StagedFolder):
                staged.create("a.safetensors", 10)
            raise error

    with pytest.raises(error):
        fail(force=False)
    assert not list(tmp_path.iterdir())
    put(tmp_path / name, b"old")
    with pytest.raises(error):
        fail(force=True)
    assert content_of(tmp_path / name) == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("name", ["a.bin", "folder"])
def test_a_target_that_appears_meanwhile_is_kept(name: str, tmp_path: Path) -> None:
    stage = staged_file if "." in name else staged_folder
    with pytest.raises(OutputError, match="exists already"), stage(tmp_path / name, force=False):
        put(tmp_path / name, b"theirs")
    assert content_of(tmp_path / name) == b"theirs"


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_mode_follows_the_umask(mask: int, tmp_path: Path) -> None:
    old = os.umask(mask)
    try:
        put(tmp_path / "a.bin")
        put(tmp_path / "folder")
        put(tmp_path / "a.bin", force=True)
    finally:
        os.umask(old)
    for name, full in (("a.bin", 0o666), ("folder", 0o777), ("folder/a.safetensors", 0o666)):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == full & ~mask


@pytest.mark.usefixtures("system")
def test_links_are_written_through(tmp_path: Path) -> None:
    for name in ("real", "links"):
        (tmp_path / name).mkdir()
    (tmp_path / "links" / "a.bin").symlink_to("../real/b.bin")
    put(tmp_path / "links" / "a.bin", b"one")
    assert (tmp_path / "real" / "b.bin").read_bytes() == b"one"
    put(tmp_path / "links" / "a.bin", b"two", force=True)
    assert (tmp_path / "real" / "b.bin").read_bytes() == b"two"
    assert (tmp_path / "links" / "a.bin").is_symlink()
    (tmp_path / "loop.bin").symlink_to("loop.bin")
    with pytest.raises(OutputError, match="a link that leads back to itself"):
        put(tmp_path / "loop.bin", force=True)


def test_places_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.bin").mkdir()
    os.mkfifo(tmp_path / "pipe.bin")
    (tmp_path / "file").write_bytes(b"old")
    for name, words in (
        ("folder.bin", "is a folder, wanted the name of a file"),
        ("pipe.bin", "is no regular file"),
        ("file", "is a file, wanted a folder"),
        ("none/a.bin", "the folder .*none does not exist"),
    ):
        with pytest.raises(OutputError, match=words):
            put(tmp_path / name, force=True)


@pytest.mark.parametrize("name", ["a.bin", "folder"])
def test_a_full_disk_is_seen_before_a_byte_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(f_bavail=2, f_frsize=1024)
    monkeypatch.setattr(os, "statvfs", lambda folder: free)
    require_space(tmp_path, 2048)
    with pytest.raises(OutputError, match=r"has 2\.0 KiB free, the output takes 4\.0 KiB"):
        put(tmp_path / name, bytes(4096))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full; nothing was left"),
        (errno.EROFS, "can't be written"),
        (errno.EMFILE, "takes more open files than the system allows"),
    ],
)
def test_a_disk_that_fails_while_writing(number: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=words), staged_file(tmp_path / "a.bin", force=False):
        raise OSError(number, "told by the disk")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "folder", b"old")
    monkeypatch.setattr(staging, "swapped", lambda first, second: False)
    rename, calls = os.rename, []

    def second_fails(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "told by the disk")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OutputError, match="can't be written: told by the disk"):
        put(tmp_path / "folder", b"new", force=True)
    assert content_of(tmp_path / "folder") == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


KILLED = """
import sys
from pathlib import Path
from ckptsurgeon.checkpoints.opening import open_checkpoint
from ckptsurgeon.checkpoints.output import open_writer
from ckptsurgeon.checkpoints.base import Layout
from kills import Moments

source, target, moment, count = sys.argv[1:]
Moments(int(count)).watch(moment)
checkpoint = open_checkpoint(source)
layout = Layout(checkpoint.contents.specs)
most = None if Path(target).suffix else 40
with open_writer(target, layout, force=True, max_shard_size=most) as writer:
    for key in checkpoint.contents.specs:
        writer.copy(key, checkpoint.extent(key))
"""


@pytest.mark.parametrize("name", ["a.safetensors", "folder"])
@pytest.mark.parametrize("there", [True, False], ids=["over an old one", "new"])
@pytest.mark.parametrize(
    ("moment", "count", "published"),
    [
        ("pwrite", 1, False),
        ("copy_file_range", 1, False),
        ("fsync", 1, False),
        ("link", 1, False),
        ("fsync", 2, None),
    ],
)
def test_a_kill_leaves_the_old_or_nothing(
    name: str,
    there: bool,
    moment: str,
    count: int,
    published: bool | None,
    write: Callable[..., Path],
    tmp_path: Path,
) -> None:
    source, target = write(tmp_path / "source.safetensors"), tmp_path / name
    if there:
        put(target, b"old")
    command = [sys.executable, "-c", KILLED, str(source), str(target), moment, str(count)]
    root = Path(__file__).parents[2]
    path = os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}"}
    done = subprocess.run(command, env=path, check=False)
    assert done.returncode == -signal.SIGKILL
    if target.suffix and hasattr(os, "O_TMPFILE"):
        names = {entry.name for entry in tmp_path.iterdir()}
        assert names <= {"source.safetensors", name}, "a killed process left a file behind"
    if published is None and not is_old(target, there):
        assert_whole(target)
    else:
        assert is_old(target, there)


def is_old(target: Path, there: bool) -> bool:
    """Whether the target is as it was before."""
    return content_of(target) == b"old" if there else not target.exists()


def assert_whole(target: Path) -> None:
    """The output is complete under its name."""
    from ckptsurgeon.checkpoints.opening import open_checkpoint

    found = open_checkpoint(target)
    assert len(found.contents.specs) == 6
    for key in found.contents.specs:
        found.read(key)


def test_an_output_without_a_name_is_not_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="the output's name is empty"):
        open_writer("", Layout({}), force=True)
