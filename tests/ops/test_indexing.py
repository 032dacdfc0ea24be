"""Indexes against NumPy's own, and their text."""

from __future__ import annotations

import numpy as np
import pytest

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
