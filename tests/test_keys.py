"""Folding says exactly what was there: no key more, no key less, and right about its origin."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report.plans import HOSTILE, resnet18

from ckptsurgeon.keys import boxes, fold_keys, range_text, read_key, write_key
from ckptsurgeon.render.lines import Entry, fold_entries, join, unfold_entries
from ckptsurgeon.specs import TensorSpec

PIECES = st.sampled_from(["a", "b", "0", "1", "2", "3", "10", "03", "007", "x1", "x2y3", "", "é"])
KEYS = st.one_of(
    st.lists(PIECES, min_size=1, max_size=5).map(".".join),
    st.text(max_size=12),
    st.sampled_from(HOSTILE),
)
POINTS = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=40)
SPECS = st.builds(
    TensorSpec, st.sampled_from(["F32", "F16"]), st.lists(st.integers(1, 3), max_size=2).map(tuple)
)


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ((7,), 0, "7"),
        ((0, 1, 2), 0, "<0..2>"),
        ((0, 1, 2, 5), 0, "<0..2,5>"),
        ((1, 3), 0, "<1,3>"),
        ((1, 2, 30), 2, "<01..02,30>"),
    ],
)
def test_ranges(values: tuple[int, ...], width: int, text: str) -> None:
    assert range_text(values, width) == text


@given(KEYS)
def test_a_key_is_written_as_it_was_read(key: str) -> None:
    assert write_key(*read_key(key)) == key


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


def test_layers_of_other_lengths_stay_apart() -> None:
    keys = [f"layer{i}.{j}" for i, n in ((1, 3), (2, 4), (3, 6), (4, 3)) for j in range(n)]
    told = [str(box) for box in fold_keys(keys)]
    assert told == ["layer<1,4>.<0..2>", "layer2.<0..3>", "layer3.<0..5>"]


def shifted(key: str, shift: int) -> str:
    return re.sub("[0-9]+", lambda match: str(int(match[0]) + shift), key)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    made = []
    for key in sorted(draw(st.sets(KEYS, max_size=30))):
        shift = draw(st.sampled_from([0, 0, 0, 1]))
        origin = shifted(key, shift) if len(key) < 99 else key
        origins = draw(st.sampled_from([(), (origin,), (origin, f"b.{origin}")]))
        after = draw(SPECS)
        before = draw(st.sampled_from([None, after, TensorSpec("F32", (9,))]))
        made.append(Entry(key, after, origins, before, draw(st.sampled_from([("x",), ("y",)]))))
    return made


@settings(max_examples=300, deadline=None)
@given(entries())
def test_lines_tell_exactly_the_entries(told: list[Entry]) -> None:
    lines = fold_entries(told)
    assert sorted(key for line in lines for key in line.keys) == sorted(e.key for e in told)
    assert sum(line.count for line in lines) == len(told)
    by_key = {entry.key: entry for entry in told}
    for line in lines:
        found = [by_key[key] for key in line.keys]
        assert {entry.label for entry in found} == {line.label}
        assert len({entry.changed for entry in found}) == 1
        for name in line.names:
            same = [e for e in found if e.key.endswith(f".{name}")]
            assert len({(e.after.dtype, len(e.after.shape)) for e in same if e.after}) == 1


@settings(max_examples=300, deadline=None)
@given(entries())
def test_origins_of_a_line_are_those_of_its_entries(told: list[Entry]) -> None:
    by_key = {entry.key: entry for entry in told}
    for line in fold_entries(told):
        shown = {key for box in line.origins for key in box.keys}
        if line.of_modules:
            shown = {join(module, name) for module in shown for name in line.names}
        assert shown == {origin for key in line.keys for origin in by_key[key].origins}


def test_a_key_that_is_called_like_a_module() -> None:
    told = [Entry("a", None), Entry("a.a", None), Entry("a.b", None)]
    assert [sorted(line.keys) for line in fold_entries(told)] == [["a"], ["a.a", "a.b"]]


def test_two_integers_that_go_together_are_not_told_as_combinations() -> None:
    told = [Entry(f"a.{n}", None, (f"b.{n}.c.{n}",)) for n in range(3)]
    assert [str(line.origins[0]) for line in fold_entries(told)] == [
        "b.0.c.0",
        "b.1.c.1",
        "b.2.c.2",
    ]


def test_a_shifted_origin_is_folded() -> None:
    told = [
        Entry(f"stages.{i}.{j}.w", None, (f"layer{i + 1}.{j}.w",))
        for i in range(4)
        for j in range(2)
    ]
    (line,) = fold_entries(told)
    assert (str(line.box), str(line.origins[0])) == (
        "stages.<0..3>.<0..1>.w",
        "layer<1..4>.<0..1>.w",
    )


def test_picked_layers_are_folded_in_runs() -> None:
    picked = [*range(24), *range(8, 32)]
    told = [Entry(f"l.{n}.w", None, (f"h.{old}.w",)) for n, old in enumerate(picked)]
    lines = [(str(line.box), str(line.origins[0])) for line in fold_entries(told)]
    assert lines == [("l.<0..23>.w", "h.<0..23>.w"), ("l.<24..47>.w", "h.<8..31>.w")]


def test_gathered_origins_are_folded_in_every_layer() -> None:
    told = [
        Entry(f"l.{i}.up", None, tuple(f"l.{i}.e.{e}.w{n}" for e in range(8) for n in (1, 3)))
        for i in range(4)
    ]
    (line,) = fold_entries(told)
    assert str(line.origins[0]) == "l.<0..3>.e.<0..7>.w<1,3>"


def test_a_network_is_few_lines() -> None:
    told = [Entry(key, spec) for key, spec in resnet18().items()]
    assert len(fold_entries(told)) == 7
    assert len(unfold_entries(told)) == 122
