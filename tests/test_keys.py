"""Folding says exactly what was there: no key more, no key less, and right about its origin."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from report.plans import HOSTILE

from ckptsurgeon import keys
from ckptsurgeon.keys import KeyReader, boxes, fold_keys, range_text, read_key, write_key

PIECES = st.sampled_from(["a", "b", "0", "1", "2", "3", "10", "03", "007", "x1", "x2y3", "", "é"])
KEYS = st.one_of(
    st.lists(PIECES, min_size=1, max_size=5).map(".".join),
    st.text(max_size=12),
    st.sampled_from(HOSTILE),
)
POINTS = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=40)


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ((7,), 0, "7"),
        ((0, 1, 2), 0, "<0..2>"),
        ((0, 1, 2, 5), 0, "<0..2,5>"),
        ((1, 3), 0, "<1,3>"),
        ((1, 2, 30), 2, "<01..02,30>"),
        ((0, 2, 4), 0, "<0,2,4>"),
        ((1, 4, 7, 10), 2, "<01..10 step 3>"),
        ((0, 2, 4, 7), 0, "<0,2,4,7>"),
    ],
)
def test_ranges(values: tuple[int, ...], width: int, text: str) -> None:
    assert range_text(values, width) == text


@given(KEYS)
def test_a_key_is_written_as_it_was_read(key: str) -> None:
    assert write_key(*read_key(key)) == key


@given(st.lists(KEYS, max_size=20))
@example(["1" * 19, "2" * 19, "1.2.3.4.5.6.7.8.9", "1.2.3.4.5.6.7.8.7", "10", "01", "11", "00"])
def test_many_keys_are_read_as_each_is(many: list[str]) -> None:
    reader = KeyReader()
    for key in many + many:
        template, point = read_key(key)
        assert reader.read(key) == (write_key(template, (0,) * len(point)), list(point))
        assert read_key(reader.read(key)[0])[0] == template


def test_keys_are_read_when_too_many_masks_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_MASKS", 2)
    reader = KeyReader()
    assert [reader.read(f"{'a' * n}{n}") for n in range(9)] == [
        ("a" * n + "0", [n]) for n in range(9)
    ]


@given(POINTS)
def test_boxes_hold_exactly_the_points(points: set[tuple[int, ...]]) -> None:
    found = boxes(sorted(points))
    inside = [
        p for box in found for p in ((a, b, c) for a in box[0] for b in box[1] for c in box[2])
    ]
    assert sorted(inside) == sorted(points)


@given(st.sets(KEYS, max_size=40))
def test_folded_keys_are_exactly_the_keys(keys: set[str]) -> None:
    assert sorted(key for box in fold_keys(sorted(keys)) for key in box.keys) == sorted(keys)


def test_keys_that_stand_twice_are_told_once() -> None:
    assert [str(box) for box in fold_keys(["a.0", "a.1", "a.0", "b", "b"])] == ["a.<0..1>", "b"]


def test_layers_of_other_lengths_stay_apart() -> None:
    keys = [f"layer{i}.{j}" for i, n in ((1, 3), (2, 4), (3, 6), (4, 3)) for j in range(n)]
    told = [str(box) for box in fold_keys(keys)]
    assert told == ["layer<1,4>.<0..2>", "layer2.<0..3>", "layer3.<0..5>"]
