"""Indexes against NumPy's own, their text, and the indices of `.npy` files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptsurgeon.checkpoints.index_files import MAX_INDEX_BYTES, load_indices
from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops.indexing import (
    Index,
    Region,
    as_slices,
    index_text,
    resolve_index,
    taken_shape,
)

FITS: list[tuple[Index, tuple[int, ...], Region]] = [
    ((), (3,), (range(3),)),
    ((), (), ()),
    (((None, None, None), (None, 3, None)), (2, 4), (range(2), range(3))),
    ((-1,), (4, 2), (range(3, 4), range(2))),
    ((-4,), (4, 2), (range(1), range(2))),
    (("...", 0), (4, 2, 5), (range(4), range(2), range(1))),
    ((1, "...", (1, None, 2)), (4, 2, 5), (range(1, 2), range(2), range(1, 5, 2))),
    (("...",), (4,), (range(4),)),
    (((-3, -1, None),), (4,), (range(1, 3),)),
    (((0, 4, 1),), (4,), (range(4),)),
    (((None, None, 9),), (4,), (range(0, 4, 9),)),
    (((None, None, None),), (0,), (range(0),)),
]


@pytest.mark.parametrize(("index", "shape", "wanted"), FITS)
def test_an_index_takes_what_numpy_takes(
    index: Index, shape: tuple[int, ...], wanted: Region
) -> None:
    region = resolve_index(index, shape)
    assert region == wanted
    array = np.arange(np.prod(shape)).reshape(shape)
    native = tuple(
        ... if item == "..." else slice(*item) if isinstance(item, tuple) else item
        for item in index
    )
    assert taken_shape(index, region) == array[native].shape
    assert array[as_slices(region)].reshape(-1).tolist() == array[native].reshape(-1).tolist()


@pytest.mark.parametrize(
    ("index", "shape", "words"),
    [
        ((4,), (4,), r"\[4\] takes item 4 of dim 0, which has 4"),
        ((-5,), (4,), "takes item -5 of dim 0"),
        (((None, 7, None),), (5,), r"\[:7\] reaches 7 on dim 0, which has 5"),
        (((-6, None, None),), (5,), "reaches -6"),
        (((None, None, 0),), (5,), r"\[::0\] has the step 0"),
        (((None, None, -1),), (5,), "step -1"),
        ((0, 0), (5,), "has 2 items for the 1 dims"),
        (("...", "..."), (5,), "more than one"),
        (((3, 3, None),), (5,), r"\[3:3\] takes nothing of dim 0, which has 5"),
        (((3, 1, None),), (5,), "takes nothing"),
        (((5, None, None),), (5,), "takes nothing"),
        ((0,), (0,), "takes item 0 of dim 0, which has 0"),
    ],
)
def test_nothing_is_clipped(index: Index, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        resolve_index(index, shape)


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (((None, None, None), (None, 3, None)), "[:, :3]"),
        (("...", -1), "[..., -1]"),
        (((1, None, 2), (0, 5, None)), "[1::2, 0:5]"),
        ((), "[]"),
    ],
)
def test_an_index_as_text(index: Index, text: str) -> None:
    assert index_text(index) == text


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
