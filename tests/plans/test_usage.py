"""Bytes count as used where they end in the output: held against the values that end there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckptsurgeon as cs
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.ops.mosaic import dense
from ckptsurgeon.plans.usage import regions_of
from ckptsurgeon.report.report import make_report
from ckptsurgeon.specs import TensorSpec

FIRST = (
    {"from": "x", "to": "y", "ops": {"slice": "[2:5]"}},
    {"from": "x", "to": "y", "ops": {"take": [0, 3, 3]}},
    {"from": "x", "to": "y", "ops": [{"transpose": [0, 1]}, {"slice": "[1:3]"}]},
    {"from": "x", "to": "y", "ops": [{"reshape": [3, 2, 4]}, {"take": {"indices": [1], "dim": 1}}]},
    {"from": "x", "to": "y", "ops": [{"reshape": [3, 2, 4]}, {"slice": "[:, :1]"}]},
    {"from": "x", "to": "y", "ops": [{"reshape": [24]}, {"slice": "[3:17]"}]},
    {"from": "x", "to": "y", "ops": [{"reshape": [2, 12]}, {"slice": "[:, 1:7]"}]},
    {"from": "x", "to": ["y", "z"], "ops": {"split": {"sizes": [2, 4]}}},
    {"from": "x[:4]", "to": "y", "ops": {"take": [0, 2]}},
    {"from": "x", "to": ["x", "y"]},
    {"from": "x[3:]", "to": "z"},
    {"from": "x[:, ::2]", "to": "y"},
    {"from": ["x", "w"], "to": "y", "ops": ["concat", {"slice": "[4:8, 1:]"}]},
    {"from": "w", "to": "v", "ops": [{"flip": 0}, {"slice": "[:2]"}]},
    {"from": "w", "to": "v", "ops": {"pad": {"to": 9}}},
    {"drop": "w"},
    {"drop": "x[4:]"},
)
SECOND = (
    {"drop": "z"},
    {"drop": "y"},
    {"from": "y[:2]", "to": "u"},
    {"from": "x[2:]", "to": "t"},
    {"from": "v", "to": "v", "ops": {"slice": "[1:]"}},
)

SOURCE = {
    "x": np.arange(1.0, 25.0).reshape(6, 4),
    "w": np.arange(25.0, 41.0).reshape(4, 4),
    "b": np.arange(41.0, 44.0),
}
"""Each element has a value of its own."""


ALL = ("missing", "unexpected", "unused", "mismatched", "unreadable", "nothing")


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(FIRST), max_size=4, unique_by=str),
    st.lists(st.sampled_from(SECOND), max_size=3, unique_by=str),
    st.lists(st.sampled_from("xyzwvutb"), max_size=3, unique=True),
)
def test_bytes_count_as_used_where_they_end_in_the_output(
    first: list[Any], second: list[Any], other: list[str]
) -> None:
    """`other` keys have other shapes in a destination, and what would go there doesn't."""
    optional = ([{**one, "optional": True} for one in own] for own in (first, second))
    rules = [cs.load_ruleset({"format": 1, "rules": own}) for own in optional]
    into = {key: np.full((7, 7), -1.0) for key in other} or None
    try:
        made = cs.plan(SOURCE, rules, into=into, allow=ALL)
        tensors, _ = cs.apply(SOURCE, rules, into, allow=ALL)
    except CkptSurgeonError:  # two rules that give one key, say
        return
    ended = {value for one in tensors.values() for value in one.ravel() if value > 0}
    coverage = make_report(made).coverage
    assert (coverage.used.nbytes, coverage.offered.nbytes) == (8 * len(ended), 8 * 43)


@pytest.mark.parametrize(
    ("ops", "share"),
    [({"slice": "[:3]"}, "50.0%"), ({"take": [1]}, "83.3%"), ([{"slice": "[:, 1:]"}], "25.0%")],
)
def test_what_ops_leave_out_is_noted(ops: Any, share: str) -> None:
    found = cs.plan(SOURCE, [{"from": "x", "to": "y", "ops": ops}]).notes
    told = f"{share} of F64[6, 4] is left out by what the rule does with it"
    assert [(note.key, note.text) for note in found if note.kind == "untaken"] == [("x", told)]


def test_what_another_rule_uses_is_not_left_out() -> None:
    rules = [
        {"from": "x", "to": "y", "reuse": True, "ops": {"slice": "[:3]"}},
        {"from": "x", "to": "z", "ops": {"take": [3, 4, 5]}},
    ]
    assert not [note for note in cs.plan(SOURCE, rules).notes if note.kind == "untaken"]


SHAPE = (4, 3, 2)

MOVES = st.one_of(
    st.permutations(range(3)).map(lambda dims: ("permute", dims)),
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 3)).map(lambda x: ("part", x)),
    st.integers(0, 2).map(lambda dim: ("flip", dim)),
)


@given(st.lists(MOVES, max_size=4))
def test_regions_are_the_elements_of_views(moves: list[tuple[str, Any]]) -> None:
    numbers = np.arange(24).reshape(SHAPE)
    mosaic = dense("x", TensorSpec("U8", SHAPE))
    for name, how in moves:
        if name == "permute":
            numbers, mosaic = numbers.transpose(how), mosaic.permute(how)
        elif name == "flip":
            numbers, mosaic = np.flip(numbers, how), mosaic.flip(how)
        else:
            dim, start, step = how
            taken = range(min(start, numbers.shape[dim] - 1), numbers.shape[dim], step)
            numbers = numbers.take(list(taken), dim)
            mosaic = mosaic.part(dim, taken)
    (tile,) = mosaic.tiles
    regions = regions_of(tile.view, SHAPE)
    assert regions is not None
    whole = np.arange(24).reshape(SHAPE)
    found = [number for region in regions for number in whole[np.ix_(*region)].ravel()]
    assert sorted(found) == sorted(numbers.ravel())
