"""Slices of one tensor against the sets of positions that they are."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from ckptsurgeon.ops.indexing import Region
from ckptsurgeon.ops.regions import overlap, overlapping, taken_count

SIZE = 10
RANGES = [
    range(start, stop, step)
    for start in range(SIZE)
    for stop in range(start, SIZE + 1)
    for step in (1, 2, 3, 4)
]
items = st.sampled_from(RANGES)


def positions(region: Region) -> set[tuple[int, ...]]:
    return set(itertools.product(*region))


def test_two_stretches_overlap_where_they_share_a_position() -> None:
    for one, other in itertools.product(RANGES[::3], RANGES):
        assert overlap((one,), (other,)) == bool({*one} & {*other}), (one, other)


@settings(max_examples=200, derandomize=True)
@given(st.lists(st.tuples(items, items), max_size=5))
def test_two_that_overlap_are_found_if_there_are_any(
    regions: list[Region],
) -> None:
    sets = [positions(region) for region in regions]
    shared = {
        (one, other)
        for one, other in itertools.combinations(range(len(sets)), 2)
        if sets[one] & sets[other]
    }
    found = overlapping(regions)
    assert found in shared if shared else found is None
    assert [taken_count(region) for region in regions] == list(map(len, sets))
