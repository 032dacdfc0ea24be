"""Orders of rows, named by the op that makes them; and hashes of planes, summed in any chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptsurgeon.checkpoints import runs
from ckptsurgeon.checkpoints.memory import open_dict
from ckptsurgeon.drafting.nodes import nodes_of
from ckptsurgeon.drafting.steps import Call, Grid, Size, Step
from ckptsurgeon.engine.evaluation import Evaluator
from ckptsurgeon.learning import signatures, words
from ckptsurgeon.learning.permutations import factorise, name_order, name_split
from ckptsurgeon.learning.shaping import rearrangements, reorder, reshape
from ckptsurgeon.learning.signatures import sign, squeeze
from ckptsurgeon.plans.graph import Leaf

Array = np.ndarray[Any, Any]


def applied(array: Array, calls: tuple[Call, ...]) -> Array:
    """What ops make of an array of float32."""
    checkpoint = open_dict({"w": array})
    leaf = Leaf("", "w", checkpoint.contents.specs["w"], "w")
    node = nodes_of(Step(Grid(("w",)), Grid(("x",)), calls), {"w": leaf})["x"]
    return Evaluator({"": checkpoint}, [node]).array(node).view("f4")


def numbered(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


ROWS = {
    "flip": np.arange(12)[::-1],
    "roll": np.roll(np.arange(12), 5),
    "permute_rope": np.arange(24).reshape(3, 2, 4).transpose(0, 2, 1).reshape(-1),
    "rearrange": np.arange(40).reshape(2, 5, 4).transpose(1, 0, 2).reshape(-1),
    "repeat": np.tile(np.arange(6), 3),
    "split_qkv": np.concatenate(np.split(np.arange(36).reshape(3, 12), 3, axis=1), axis=0).reshape(
        -1
    ),
}


@pytest.mark.parametrize("op", ROWS)
def test_an_order_of_rows_is_named(op: str) -> None:
    order = ROWS[op]
    calls = name_order(order, 0, 2)
    assert calls is not None
    assert calls[0].op == op
    rows = numbered(int(order.max()) + 1, 5)
    assert np.array_equal(applied(rows, calls), rows[order])


@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 5), st.permutations(range(3)))
def test_axes_in_another_order_are_found(a: int, b: int, c: int, dims: list[int]) -> None:
    order = np.arange(a * b * c).reshape(a, b, c).transpose(dims).reshape(-1)
    calls = name_order(order, 0, 1)
    assert calls is not None
    rows = numbered(a * b * c)
    assert np.array_equal(applied(rows, calls), rows[order])


@given(st.permutations(range(9)))
def test_no_order_is_named_wrongly(order: list[int]) -> None:
    calls = name_order(np.array(order), 0, 1)
    if calls is not None:
        assert np.array_equal(applied(numbered(9), calls), numbered(9)[order])


def test_an_order_over_nothing_regular_has_no_axes() -> None:
    assert factorise(np.array([0, 2, 1, 3, 5, 4])) is None


def test_grouped_queries_are_split_by_their_layout() -> None:
    rows = np.arange(2 * 4 * 3).reshape(2, 4, 3)
    orders = [rows[:, :2].reshape(-1), rows[:, 2].reshape(-1), rows[:, 3].reshape(-1)]
    found = name_split(orders, 24)
    assert found == Call(
        "split_qkv",
        (("layout", "per_group"), ("heads", Size(4, "heads")), ("kv_heads", Size(2, "kv_heads"))),
    )


# --- shapes ---------------------------------------------------------------------------------------

SHAPES = [
    ((6, 4), (4, 6)),
    ((2, 3, 4), (6, 4)),
    ((6, 4), (2, 3, 4)),
    ((5, 4), (5, 4, 1, 1)),
    ((5, 4, 1, 1), (5, 4)),
    ((1, 6), (6,)),
    ((4, 6), (3, 8)),
    ((), (1,)),
    ((1,), ()),
]


@pytest.mark.parametrize(("shape", "wanted"), SHAPES)
def test_a_reshape_keeps_the_order(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    array = numbered(*shape)
    assert np.array_equal(applied(array, reshape(shape, wanted)), array.reshape(wanted))


def test_dims_change_their_order() -> None:
    array = numbered(2, 1, 3, 4)
    calls = reorder((2, 1, 3, 4), (2, 0, 1), (4, 1, 2, 3))
    assert np.array_equal(applied(array, calls), array.transpose(3, 1, 0, 2))
    assert reorder((2, 3), (1, 0), (3, 2)) == (Call("transpose"),)


def test_dims_are_put_together_in_every_order() -> None:
    made = [applied(numbered(2, 3, 4), (call,)) for call in rearrangements((2, 3, 4), (12, 2))]
    wanted = numbered(2, 3, 4).transpose(1, 2, 0).reshape(12, 2)
    assert any(np.array_equal(one, wanted) for one in made)


# --- hashes ---------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 7), min_size=0, max_size=4),
    st.sampled_from([5, 16, 64, 1 << 17]),
    st.sampled_from([16, 100, 8 << 20]),
)
def test_hashes_are_sums_over_planes(shape: list[int], chunk: int, read: int) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype("f4")
    with pytest.MonkeyPatch.context() as patch:
        for module in (signatures, words):
            patch.setattr(module, "CHUNK", chunk)
        patch.setattr(runs, "READ", read)
        found = sign(open_dict({"w": array}), "w", "F32")
    hashes = words.scramble(np.ravel(array).view("u4").astype("u8")).reshape(squeeze(array.shape))
    assert found.total == int(hashes.sum(dtype="u8"))
    for dim, planes in enumerate(found.planes):
        others = tuple(other for other in range(hashes.ndim) if other != dim)
        assert np.array_equal(planes, hashes.sum(others, dtype="u8"))
    for dim, planes in enumerate(found.items, 1):
        others = tuple(other for other in range(1, hashes.ndim) if other != dim)
        assert np.array_equal(planes, hashes.sum(others, dtype="u8"))
    for (start, stop), planes in found.merged.items():
        others = tuple(dim for dim in range(hashes.ndim) if not start <= dim < stop)
        assert np.array_equal(planes, hashes.sum(others, dtype="u8").reshape(-1))


def test_equal_values_of_two_dtypes_have_one_hash() -> None:
    numbers = np.float16([1, 2.5, -3])
    narrow = sign(open_dict({"w": numbers}), "w", "F32")
    wide = sign(open_dict({"w": numbers.astype("f4")}), "w", "F32")
    assert narrow.flat == wide.flat
    assert narrow.flat != sign(open_dict({"w": numbers[::-1].copy()}), "w", "F32").flat
