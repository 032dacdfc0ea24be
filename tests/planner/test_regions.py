"""What slices of one tensor cover together, and leave of one another: against its mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptsurgeon.ops import regions
from ckptsurgeon.ops.indexing import Region, as_slices, resolve_index

Draw = Callable[[st.SearchStrategy[Any]], Any]
Shape = tuple[int, ...]

shapes = st.lists(st.integers(0, 6), max_size=3).map(tuple)


@st.composite
def items(draw: Draw, size: int) -> Any:
    """An integer or a range of a dim, from either end; a range of a dim with items takes one."""
    start = draw(st.integers(0, max(size - 1, 0)))
    if size and draw(st.integers(0, 3)) == 0:
        return start - draw(st.sampled_from([0, size]))
    stop = draw(st.integers(min(start + 1, size), size))
    step = draw(st.sampled_from([None, 1, 2, 3, 4]))
    return start - (size if start and draw(st.booleans()) else 0), stop, step


@st.composite
def slices(draw: Draw) -> tuple[Shape, list[Region]]:
    """A shape and up to nine slices of it."""
    shape = draw(shapes)
    index = st.tuples(*(items(size) for size in shape))
    return shape, [resolve_index(one, shape) for one in draw(st.lists(index, max_size=9))]


def mask(shape: Shape, taken: Sequence[Region]) -> np.ndarray[Any, Any]:
    """How many of the slices take each element."""
    counts = np.zeros(shape, int)
    for one in taken:
        counts[as_slices(one)] += 1
    return counts


@given(slices())
def test_elements_that_any_takes_are_counted_once(drawn: tuple[Shape, list[Region]]) -> None:
    shape, taken = drawn
    assert regions.covered_count(taken) == np.count_nonzero(mask(shape, taken))


@given(slices(), st.integers(0, 12))
def test_where_too_many_are_told_apart_no_element_is_counted_twice(
    drawn: tuple[Shape, list[Region]], most: int
) -> None:
    shape, taken = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "MOST_PIECES", most)
        counted = regions.covered_count(taken)
    assert counted <= np.count_nonzero(mask(shape, taken))
    assert counted >= max(map(regions.taken_count, taken), default=0)


@given(slices())
def test_what_others_leave_of_a_slice_is_cut_out(drawn: tuple[Shape, list[Region]]) -> None:
    shape, taken = drawn
    for number, region in enumerate(taken):
        others = mask(shape, taken[:number])
        left = regions.uncovered(region, taken[:number])
        assert (mask(shape, left) == ((mask(shape, [region]) > 0) & (others == 0))).all()
        if regions.overlapping([region, *taken[:number]]) is None:
            assert left == [region]


@given(slices(), st.integers(0, 3))
def test_what_would_be_too_many_pieces_is_left_out(
    drawn: tuple[Shape, list[Region]], most: int
) -> None:
    shape, taken = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "MOST_PIECES", most)
        for number, region in enumerate(taken):
            left = regions.uncovered(region, taken[:number])
            assert len(left) <= max(most, left == [region])
            assert (mask(shape, left) <= mask(shape, [region])).all()
            assert not (mask(shape, left) * mask(shape, taken[:number])).any()
