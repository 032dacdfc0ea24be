"""The indices of `.npy` files, and what is no such file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptsurgeon.checkpoints.index_files import MAX_INDEX_BYTES, load_indices
from ckptsurgeon.errors import ShapeError


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i4", "<u4", "<i8", ">i8", "<u8"])
def test_indices_of_any_integer_dtype(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "order.npy"
    np.save(path, np.array([3, 0, 100], dtype))
    assert load_indices(path) == (3, 0, 100)
    assert load_indices(str(path)) == (3, 0, 100)


def saved(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


GOOD = saved(np.array([3, 0, 1]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[0, 1]",
        GOOD[:-1],
        GOOD + b"\0",
        GOOD.replace(b"(3,)", b"(9,)"),
        GOOD.replace(b"(3,), }   ", b"(1" + b"0" * 6 + b",)}"),
        GOOD[:8] + b"\xff\xff" + GOOD[10:],
        GOOD[:6] + b"\x02" + GOOD[7:],
        saved(np.array([0.5])),
        saved(np.array([[1, 2]])),
        saved(np.array(1)),
        saved(np.array([True])),
        saved(np.array([None]), allow_pickle=True),
    ],
)
def test_other_files_are_no_indices(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "order.npy"
    path.write_bytes(content)
    with pytest.raises(ShapeError, match=r"take: can't read indices from '.*order\.npy': it"):
        load_indices(path)


def test_a_second_version_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "order.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.array([2, 1]), version=(2, 0))
    assert load_indices(path) == (2, 1)


def test_what_is_no_small_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "none", "/dev/zero", "a\0b"):
        with pytest.raises(ShapeError, match="take: can't read indices from"):
            load_indices(path)
    large = tmp_path / "large.npy"
    with large.open("wb") as file:
        file.truncate(MAX_INDEX_BYTES + 1)
    with pytest.raises(ShapeError, match=r"larger than 16\.0 MiB"):
        load_indices(large)
