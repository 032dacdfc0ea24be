"""Ops that move elements against NumPy's, torch's and einops' own functions."""

from __future__ import annotations

from typing import Any

import einops
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.strategies import Grouping, groupings

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import build
from ckptsurgeon.ops.joining import Split
from ckptsurgeon.specs import TensorSpec

Array = np.ndarray[Any, Any]


def matrix(*shape: int) -> Array:
    return np.arange(np.prod(shape), dtype="<u4").reshape(shape)


def run(name: str, parameters: dict[str, Any], *arrays: Array) -> list[Array]:
    specs = tuple(TensorSpec("F32", array.shape) for array in arrays)
    return list(build(name, parameters).apply(arrays, specs))


def signed(array: Array) -> torch.Tensor:
    return torch.from_numpy(array.astype("i8"))


W = matrix(4, 6, 2)
T = signed(W)

SINGLE = [
    ("slice", {"index": [[1, 3, None], "...", -1]}, T[1:3, ..., -1]),
    ("slice", {"index": [[None, None, 2], [-4, None, None]]}, T[::2, -4:]),
    ("slice", {"index": [0, 1, 1]}, T[0, 1, 1]),
    ("take", {"indices": [3, 0, 0], "dim": -2}, T.index_select(1, torch.tensor([3, 0, 0]))),
    ("pad", {"by": 2, "value": 7}, torch.nn.functional.pad(T, (0, 0, 0, 0, 0, 2), value=7)),
    ("pad", {"to": 8, "dim": 1, "at": "both"}, torch.nn.functional.pad(T, (0, 0, 1, 1))),
    ("pad", {"to": 5, "dim": -1, "at": "start"}, torch.nn.functional.pad(T, (3, 0))),
    ("transpose", {"dims": [0, -1]}, T.transpose(0, -1)),
    ("permute", {"dims": [2, 0, 1]}, T.permute(2, 0, 1)),
    ("permute", {"dims": [-1, 0, 1]}, T.permute(-1, 0, 1)),
    ("reshape", {"shape": [-1, 3]}, T.reshape(-1, 3)),
    ("flip", {}, T.flip(0)),
    ("flip", {"dim": -2}, T.flip(1)),
    ("roll", {"shift": 1}, T.roll(1, 0)),
    ("roll", {"shift": -7, "dim": 1}, T.roll(-7, 1)),
    ("repeat", {"times": 3, "dim": 1}, T.tile(1, 3, 1)),
    ("repeat", {"times": 3, "dim": 1, "each": True}, T.repeat_interleave(3, 1)),
]


@pytest.mark.parametrize(("name", "parameters", "wanted"), SINGLE)
def test_one_tensor_as_torch(name: str, parameters: dict[str, Any], wanted: torch.Tensor) -> None:
    specs = (TensorSpec("U32", W.shape),)
    (result,) = build(name, parameters).apply((W,), specs)
    assert signed(result).equal(wanted)


def test_transpose_of_a_matrix_needs_no_dims() -> None:
    (result,) = run("transpose", {}, matrix(2, 3))
    assert result.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_square_matrix_is_transposed_all_the_same() -> None:
    (result,) = run("transpose", {}, matrix(2, 2))
    assert result.tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_concat_and_stack_as_torch(dim: int) -> None:
    one, other = matrix(2, 3), matrix(2, 3) + 10
    (joined,) = run("concat", {"dim": dim}, one, other)
    assert signed(joined).equal(torch.cat([signed(one), signed(other)], dim))
    (stacked,) = run("stack", {"dim": dim}, one, other)
    assert signed(stacked).equal(torch.stack([signed(one), signed(other)], dim))


def test_split_and_unstack_as_torch() -> None:
    parts = run("split", {"dim": 1, "sizes": [1, 3, 2]}, W)
    assert all(
        signed(part).equal(wanted)
        for part, wanted in zip(parts, T.split([1, 3, 2], 1), strict=True)
    )
    items = run("unstack", {"dim": 2}, W)
    assert all(signed(item).equal(wanted) for item, wanted in zip(items, T.unbind(2), strict=True))


def test_the_inverse_of_an_unequal_concat_has_its_sizes() -> None:
    specs = (TensorSpec("F32", (32, 4)), TensorSpec("F32", (8, 4)))
    assert build("concat", {}).inverse(specs) == Split(dim=0, sizes=(32, 8))


@pytest.mark.parametrize("parts", [3, 4, 20])
def test_a_chunk_that_does_not_divide_is_refused(parts: int) -> None:
    with pytest.raises(ShapeError, match=f"10 rows on dim 0 don't divide into {parts} parts"):
        run("split", {"parts": parts}, matrix(10, 2))


def test_same_compares_bits_not_numbers() -> None:
    nan = np.full((3, 2), np.nan, "<f4").view("<u4")
    assert run("same", {}, nan, nan.copy())[0] is nan
    zero = np.zeros((3, 2), "<f4")
    minus = zero.copy()
    minus[1, 1] = -0.0
    with pytest.raises(ShapeError, match="number 3 of 3 differs from the first in 1 of 6 elements"):
        run("same", {}, zero.view("<u4"), zero.view("<u4").copy(), minus.view("<u4"))


def test_same_compares_both_halves_of_complex_items() -> None:
    specs = (TensorSpec("C128", (2,)),) * 2
    one = np.array([complex(np.nan, 1), 2], "<c16")
    assert build("same", {}).apply((one, one.copy()), specs)[0] is one
    other = np.array([complex(np.nan, 1), 2 + 1j], "<c16")
    with pytest.raises(ShapeError, match="in 1 of 2 elements"):
        build("same", {}).apply((one, other), specs)


@settings(max_examples=150, derandomize=True)
@given(grouping=groupings(smallest=1))
def test_rearrange_as_einops(grouping: Grouping) -> None:
    array = matrix(*grouping.shape)
    wanted = einops.rearrange(array, grouping.pattern, **grouping.sizes)
    (result,) = run("rearrange", {"pattern": grouping.pattern, **grouping.sizes}, array)
    assert result.shape == wanted.shape
    assert (result == wanted).all()


PATTERNS = [
    ("(h two d) i -> (h d two) i", {"two": 2, "h": 3}, (12, 5)),
    ("a b->b a", {}, (2, 3)),
    ("a ( b c )  ->  a c b", {"c": 2}, (2, 6)),
    ("b 1 (c d) -> b c d 1", {"d": 3}, (2, 1, 6)),
    ("a () b -> (a b)", {}, (2, 1, 3)),
    ("(p ...) x -> x p ...", None, (2, 3)),
    ("... c h -> ... h c", {}, (2, 3, 4, 5)),
    ("->", {}, ()),
]


@pytest.mark.parametrize(("pattern", "sizes", "shape"), PATTERNS)
def test_patterns_as_they_are_written(
    pattern: str, sizes: dict[str, int] | None, shape: tuple[int, ...]
) -> None:
    if sizes is None:
        with pytest.raises(ShapeError, match="outside of them"):
            run("rearrange", {"pattern": pattern}, matrix(*shape))
        return
    (result,) = run("rearrange", {"pattern": pattern, **sizes}, matrix(*shape))
    wanted = einops.rearrange(matrix(*shape), pattern, **sizes)
    assert result.tolist() == wanted.tolist()


def test_a_turned_pattern_knows_every_size() -> None:
    op = build("rearrange", {"pattern": "(h two d) i -> (h d two) i", "two": 2, "h": 3})
    inverse = op.inverse((TensorSpec("F32", (12, 5)),))
    assert inverse == build(
        "rearrange",
        {"pattern": "(h d two) i -> (h two d) i", "d": 2, "h": 3, "i": 5, "two": 2},
    )


@given(data=st.data())
@settings(max_examples=30, derandomize=True)
def test_take_of_a_permutation_is_undone_by_a_take(data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(6)))
    op = build("take", {"indices": order, "dim": 1})
    specs = (TensorSpec("F32", W.shape),)
    inverse = op.inverse(specs)
    assert inverse is not None
    assert (inverse.apply(op.apply((W,), specs), specs)[0] == W).all()


@pytest.mark.parametrize("indices", [[0, 1], [0, 1, 2, 3, 4, 4]])
def test_take_of_less_than_all_is_not_undone(indices: list[int]) -> None:
    op = build("take", {"indices": indices, "dim": 1})
    assert op.inverse((TensorSpec("F32", W.shape),)) is None


def test_moves_that_need_no_copy_are_views() -> None:
    for name, parameters in [
        ("slice", {"index": [[1, 3, None]]}),
        ("split", {"sizes": [1, 3]}),
        ("unstack", {"dim": 1}),
        ("transpose", {"dims": [0, 1]}),
        ("permute", {"dims": [2, 1, 0]}),
        ("reshape", {"shape": [4, 12]}),
        ("flip", {}),
        ("split_qkv", {"layout": "flat", "heads": 2, "kv_heads": 1}),
    ]:
        assert all(np.shares_memory(result, W) for result in run(name, parameters, W)), name
