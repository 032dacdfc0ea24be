"""What holds of the difference of any two checkpoints, over many with values in common."""

from __future__ import annotations

import html
from collections import Counter
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ckptsurgeon as cs
from ckptsurgeon.comparing.difference import Status

Arrays = dict[str, np.ndarray[Any, Any]]

POOL: tuple[np.ndarray[Any, Any], ...] = (
    np.zeros(6, np.float32),
    np.zeros((2, 3), np.float32),
    np.ones(6, np.float32),
    np.arange(6, dtype=np.float32),
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.arange(9, dtype=np.float32).reshape(3, 3),
    np.arange(6, dtype=np.float16),
    np.arange(6).astype(ml_dtypes.bfloat16),
    np.arange(6, dtype=np.int64),
    np.array([0, 20, 4000, 3, 4, 2**62], np.int64),
    np.array([np.nan, np.inf, -0.0, 1, 2, 3], np.float32),
    np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], np.float32),
    np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).astype(np.float16),
    np.array(5, np.float32),
    np.zeros((0, 3), np.float32),
)

KEYS = [f"{front}.{i}.{name}" for front in ("a", "b") for i in range(2) for name in ("w", "bias")]

checkpoints = st.dictionaries(st.sampled_from([*KEYS, "w"]), st.sampled_from(POOL), min_size=1)


def is_same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Whether the values of one are the other's, rounded to its dtype if need be."""
    with np.errstate(all="ignore"):
        rounded = np.asarray(one).astype(other.dtype).ravel()
    return rounded.tobytes() == np.asarray(other).ravel().tobytes()


@settings(max_examples=300, deadline=None)
@given(checkpoints, checkpoints)
def test_every_tensor_of_both_has_its_row(a: Arrays, b: Arrays) -> None:
    found = cs.diff(a, b)
    of_b = [row for row in found.rows if row.after is not None]
    assert [row.key for row in of_b] == list(b)
    gone = [row.key for row in found.rows if row.after is None]
    used = {row.origin for row in of_b if row.origin}
    assert {*used, *gone} == set(a)
    assert not used & {*gone}
    moved = Counter(row.origin for row in of_b if row.status is Status.MOVED)
    assert max(moved.values(), default=1) == 1


@settings(max_examples=300, deadline=None)
@given(checkpoints, checkpoints)
def test_what_moved_has_the_values_of_its_origin(a: Arrays, b: Arrays) -> None:
    for row in cs.diff(a, b).rows:
        if row.status in (Status.MOVED, Status.COPIED):
            assert row.key != row.origin
            assert is_same(a[row.origin], b[row.key])
        elif row.status is Status.EQUAL:
            x, y = a[row.key], b[row.key]
            assert x.dtype == y.dtype
            assert np.array_equal(x.astype("f8"), y.astype("f8"), equal_nan=True)


@settings(max_examples=200, deadline=None)
@given(checkpoints, checkpoints)
def test_both_ways_differ_or_neither(a: Arrays, b: Arrays) -> None:
    there, back = cs.diff(a, b), cs.diff(b, a)
    assert there.equal is back.equal
    elsewhere = (Status.MOVED, Status.COPIED)  # of these only one's own name would be compared
    if not any(found.by_status[status] for found in (there, back) for status in elsewhere):
        assert there.whole.equal == back.whole.equal
        assert there.whole.largest == back.whole.largest


@settings(max_examples=100, deadline=None)
@given(checkpoints)
def test_a_checkpoint_equals_itself_and_moves_as_a_whole(a: Arrays) -> None:
    assert cs.diff(a, dict(a), exact=True).equal
    assert cs.diff(a, {f"m.{key}": value for key, value in a.items()}).exit_code == 1
    assert cs.diff(a, {f"m.{k}": v for k, v in a.items()}, rules=["** -> m.**"]).equal


@settings(max_examples=100, deadline=None)
@given(checkpoints, checkpoints)
def test_headers_alone_know_no_more_than_values(a: Arrays, b: Arrays) -> None:
    if not cs.diff(a, b, headers=True).equal:
        assert not cs.diff(a, b).equal


CONDITIONS = (
    {},
    {"headers": True},
    {"headers": True, "any_dtype": True},
    {"exact": True},
    {"any_dtype": True, "rtol": 0.5, "sizes": False},
    {"rules": ["** -> **"]},
)


@settings(max_examples=200, deadline=None)
@given(checkpoints, checkpoints, st.sampled_from(CONDITIONS))
def test_every_difference_shows_itself_in_every_way(
    a: Arrays, b: Arrays, conditions: dict[str, Any]
) -> None:
    """Each tensor of B stands in what lists all of them, and the bottom line in every form."""
    found = cs.diff(a, b, **conditions)
    told = found.to_dict()
    assert [row["key"] for row in told["rows"]][: len(b)] == list(b)
    whole = found.show(verbose=True)
    assert all(key in whole for key in b)
    for text in (str(found), whole, found.to_html(), found.to_markdown()):
        assert found.bottom_line in html.unescape(text)
