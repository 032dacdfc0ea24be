"""Files that are read stay open for all threads, but never too many of them."""

from __future__ import annotations

import json
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ckptsurgeon import open_checkpoint, transplant
from ckptsurgeon.checkpoints.writing.source_files import SourceFiles
from ckptsurgeon.errors import CheckpointError


def files(folder: Path, count: int) -> list[Path]:
    """Files that hold their own number."""
    paths = [folder / str(number) for number in range(count)]
    for path in paths:
        path.write_text(path.name)
    return paths


def open_now() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_opened_once(tmp_path: Path) -> None:
    (path,) = files(tmp_path, 1)
    sources = SourceFiles()
    with sources.opened(path) as first, sources.opened(path) as second:
        assert first == second
    with sources.opened(path) as third:
        assert third == first
    sources.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first)


def test_those_longest_unused_are_closed(tmp_path: Path) -> None:
    paths = files(tmp_path, 5)
    before = open_now()
    sources = SourceFiles(most=2)
    for path in paths:
        with sources.opened(path) as descriptor:
            assert os.pread(descriptor, 9, 0).decode() == path.name
        assert open_now() <= before + 2
    sources.close()
    assert open_now() == before


def test_a_file_that_is_read_stays_open(tmp_path: Path) -> None:
    paths = files(tmp_path, 6)
    sources = SourceFiles(most=1)
    with sources.opened(paths[0]) as first:
        for path in paths[1:]:
            with sources.opened(path):
                pass
        assert os.pread(first, 9, 0) == b"0"
    sources.close()


def test_threads_read_what_they_asked_for(tmp_path: Path) -> None:
    paths = files(tmp_path, 20)
    sources = SourceFiles(most=3)

    def read(path: Path) -> bool:
        with sources.opened(path) as descriptor:
            return os.pread(descriptor, 9, 0).decode() == path.name

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, paths * 50))
    sources.close()


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match="can't be opened: No such file"),
        SourceFiles().opened(tmp_path / "none"),
    ):
        pass


def test_shards_that_draw_on_all_shards_open_few_files(tmp_path: Path) -> None:
    """Keys of each output shard come from every source shard."""
    count, weight_map = 20, {}
    for shard in range(count):
        tensors = {f"{layer}.{shard}": np.full(4, shard, "<f4") for layer in range(count)}
        save_file(tensors, tmp_path / f"s{shard}.safetensors")
        weight_map.update(dict.fromkeys(tensors, f"s{shard}.safetensors"))
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    order = {f"{layer}.{shard}": ["F32", [4]] for layer in range(count) for shard in range(count)}
    (tmp_path / "order.json").write_text(json.dumps(order))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now() + 3 * count, hard))
    try:
        transplant(index, tmp_path / "out", into=tmp_path / "order.json", max_shard_size=16 * count)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    written = open_checkpoint(tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == count + 1
    assert all(written.read(key)[0] == np.float32(key.split(".")[1]).view("<u4") for key in order)
