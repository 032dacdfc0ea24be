"""Bytes between files: whatever the OS refuses, the next way is taken."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ckptsurgeon.checkpoints import transfer as transfer_module
from ckptsurgeon.checkpoints.transfer import Extent, copy_bytes, read_extent
from ckptsurgeon.checkpoints.writing import target as target_module
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles
from ckptsurgeon.checkpoints.writing.target import Target
from ckptsurgeon.errors import CheckpointError

DATA = bytes(range(256)) * 8192


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Descriptors of a source that holds DATA, and of an empty target."""
    (tmp_path / "source").write_bytes(DATA)
    source = os.open(tmp_path / "source", os.O_RDONLY)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    yield source, target
    os.close(source)
    os.close(target)


def refuse(number: int) -> Callable[..., NoReturn]:
    """A system call that the OS refuses."""

    def call(*args: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("refused", [(), ("copy_file_range",), ("copy_file_range", "sendfile")])
@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_each_way_copies_the_same(
    refused: tuple[str, ...], number: int, files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in refused:
        monkeypatch.setattr(os, name, refuse(number))
    copy_bytes(files[0], 100, files[1], 7, len(DATA) - 200)
    assert os.pread(files[1], len(DATA), 0) == bytes(7) + DATA[100:-100]
    assert os.lseek(files[1], 0, os.SEEK_CUR) == os.lseek(files[0], 0, os.SEEK_CUR) == 0


def test_a_system_without_these_calls(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "copy_file_range")
    monkeypatch.setattr(sys, "platform", "darwin")
    copy_bytes(files[0], 0, files[1], 0, len(DATA))
    assert os.pread(files[1], len(DATA), 0) == DATA


def test_a_copy_that_is_refused_halfway_goes_on(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.copy_file_range, []

    def once(source: int, target: int, count: int, *offsets: int) -> int:
        calls.append(count)
        if len(calls) > 1:
            refuse(errno.EXDEV)()
        return real(source, target, min(count, 1000), *offsets)

    monkeypatch.setattr(os, "copy_file_range", once)
    copy_bytes(files[0], 0, files[1], 0, len(DATA))
    assert os.pread(files[1], len(DATA), 0) == DATA


def test_a_short_source(files: tuple[int, int]) -> None:
    with pytest.raises(CheckpointError, match="ends 5 bytes before a tensor does"):
        copy_bytes(files[0], 10, files[1], 0, len(DATA) - 5)


def test_a_full_disk_is_not_tried_again(
    files: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        copy_bytes(files[0], 0, files[1], 0, 10)


def test_an_extent_is_checked_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"12345")
    assert read_extent(Extent(path, 1, 3)).tobytes() == b"234"
    with pytest.raises(CheckpointError, match="ends before the 1099511627776 bytes"):
        read_extent(Extent(path, 1, 1 << 40))
    with pytest.raises(CheckpointError, match="can't be opened: No such file"):
        read_extent(Extent(tmp_path / "none", 0, 0))


def test_neighbours_are_joined_and_others_not(
    files: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int, int]] = []

    def copy(source: int, start: int, target: int, place: int, nbytes: int, *more: Any) -> None:
        calls.append((start, place, nbytes))
        copy_bytes(source, start, target, place, nbytes, *more)

    monkeypatch.setattr(target_module, "copy_bytes", copy)
    path = tmp_path / "source"
    sources = SourceFiles()
    copies = Target(lambda: nullcontext(files[1]), sources)
    for start, nbytes, place in ((0, 10, 50), (10, 5, 60), (15, 0, 65), (15, 5, 70), (0, 9, 75)):
        copies.copy(Extent(path, start, nbytes), place)
    copies.flush()
    copies.flush()
    sources.close()
    assert calls == [(0, 50, 15), (15, 70, 5), (0, 75, 9)]
    assert os.pread(files[1], 34, 50) == DATA[:15] + bytes(5) + DATA[15:20] + DATA[:9]


def test_the_disk_begins_while_more_is_copied(
    files: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, int]] = []
    real = target_module.start_writeback

    def start(descriptor: int, offset: int, nbytes: int) -> None:
        begun.append((offset, nbytes))
        real(descriptor, offset, nbytes)

    monkeypatch.setattr(target_module, "start_writeback", start)
    monkeypatch.setattr(target_module, "WRITEBACK", 1000)
    monkeypatch.setattr(transfer_module, "CHUNK", 600)
    sources = SourceFiles()
    target = Target(lambda: nullcontext(files[1]), sources)
    target.copy(Extent(tmp_path / "source", 0, 2000), 50)
    target.flush()
    target.write(DATA[2000:3000], 2050)
    sources.close()
    assert begun == [(50, 1200), (1250, 1800)]
    assert os.pread(files[1], 3000, 50) == DATA[:3000]
