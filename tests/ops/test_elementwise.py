"""Ops of items, sum and mean: against torch, Python's integers, and NaN.

What is computed item by item has one right answer, so it is compared bit for bit; sums have not.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from comparison import assert_rounded_alike
from ops.applying import applied

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import build
from ckptsurgeon.specs import TensorSpec

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
every_float = pytest.mark.parametrize("dtype", FLOATS, ids=str)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return made.to(dtype)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


@every_float
@pytest.mark.parametrize("number", [0.75, 1 / 3, -2, 0])
def test_a_number_as_torch(dtype: torch.dtype, number: float) -> None:
    tensor = random(5, 7, dtype=dtype)
    by_torch = wide(tensor)
    assert torch.equal(applied("scale", {"number": number}, tensor), (by_torch * number).to(dtype))
    assert torch.equal(applied("shift", {"number": number}, tensor), (by_torch + number).to(dtype))


@every_float
def test_tensors_together_as_torch(dtype: torch.dtype) -> None:
    parts = [random(3, 4, 5, dtype=dtype), random(4, 1, dtype=dtype), random(5, dtype=dtype)]
    one, two, three = map(wide, parts)
    assert torch.equal(applied("add", {}, *parts), (one + two + three).to(dtype))
    assert torch.equal(applied("multiply", {}, *parts), (one * two * three).to(dtype))
    assert torch.equal(applied("divide", {}, *parts), (one / two / three).to(dtype))
    assert torch.equal(applied("average", {}, *parts), ((one + two + three) / 3).to(dtype))
    weighted = applied("average", {"weights": [3, 0.5, 1]}, *parts)
    assert torch.equal(weighted, ((one * 3 + two * 0.5 + three) / 4.5).to(dtype))


def test_the_average_of_many() -> None:
    parts = [torch.full((3,), float(number)) for number in range(101)]
    assert applied("average", {}, *parts).tolist() == [50.0] * 3


@pytest.mark.parametrize("shape", [(1200, 1000), (2, 1100, 1000), (1, 1, 1_100_001)])
def test_more_items_than_are_computed_at_a_time(shape: tuple[int, ...]) -> None:
    tensor = random(*shape)
    assert torch.equal(applied("scale", {"number": 3}, tensor), tensor * 3)


@every_float
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_sum_and_mean_are_rounded_once(dtype: torch.dtype, dim: int) -> None:
    tensor = random(8, 33, 6, dtype=dtype)
    size, exact = tensor.shape[dim], tensor.double()
    for keepdim in (False, True):
        how = {"dim": dim, "keepdim": keepdim}
        total, terms = exact.sum(dim, keepdim), exact.abs().sum(dim, keepdim)
        for name, parts in (("sum", 1), ("mean", size)):
            made = applied(name, how, tensor)
            assert_rounded_alike(
                made, total / parts, size, terms / parts, computed_in=torch.float64
            )


def test_complex_numbers_stay_complex() -> None:
    tensor = torch.complex(random(4, 3), random(3, 4).T.contiguous())
    assert torch.equal(applied("scale", {"number": 0.5}, tensor), tensor * 0.5)
    assert torch.equal(applied("add", {}, tensor, tensor), tensor + tensor)
    torch.testing.assert_close(applied("sum", {"dim": 0}, tensor), tensor.sum(0))


def test_nothing_is_divided_by_0() -> None:
    with pytest.raises(ShapeError, match="number 3 has items that are 0: nothing is divided by 0"):
        applied("divide", {}, random(2, 3), random(3), torch.tensor([1.0, -0.0, 2.0]))


def test_a_quotient_of_integers_is_refused() -> None:
    with pytest.raises(ShapeError, match="a quotient of I64 would have fractions; cast it first"):
        applied("divide", {}, torch.tensor([4]), torch.tensor([2]))


# --- integers -------------------------------------------------------------------------------------


def test_integers_are_exact_beyond_what_floats_hold() -> None:
    tensor = torch.tensor([2**53 + 1, -(2**62), 2**62 - 1])
    assert applied("scale", {"number": 1}, tensor).tolist() == tensor.tolist()
    assert applied("shift", {"number": -1}, tensor).tolist() == [n - 1 for n in tensor.tolist()]
    assert applied("sum", {"dim": 0}, tensor).tolist() == sum(tensor.tolist())
    assert applied("add", {}, tensor, tensor[:1]).tolist() == [
        n + 2**53 + 1 for n in tensor.tolist()
    ]


def test_integers_that_cancel_on_the_way() -> None:
    tensor = torch.tensor([[2**62, 2**62, 2**62, -(2**62), -(2**62)]])
    assert applied("sum", {"dim": 1}, tensor).tolist() == [2**62]


@pytest.mark.parametrize(
    ("name", "parameters", "values", "found"),
    [
        ("scale", {"number": 100}, [[2]], 200),
        ("shift", {"number": 3}, [[125]], 128),
        ("sum", {"dim": 0}, [[100, 100]], 200),
        ("add", {}, [[100], [100]], 200),
        ("multiply", {}, [[100], [-100]], -10000),
    ],
)
def test_integers_must_fit(
    name: str, parameters: dict[str, object], values: list[list[int]], found: int
) -> None:
    tensors = [torch.tensor(each, dtype=torch.int8) for each in values]
    with pytest.raises(ShapeError, match=rf"^{name}: the value {found} does not fit I8"):
        applied(name, parameters, *tensors)


@pytest.mark.parametrize(
    ("name", "parameters", "values", "found"),
    [
        ("scale", {"number": 2**30}, [2**40], 2**70),
        ("shift", {"number": 2**62}, [2**62], 2**63),
        ("sum", {"dim": 0}, [2**62, 2**62], 2**63),
        ("add", {}, [2**62], 2**63),
        ("multiply", {}, [2**40], 2**80),
    ],
)
def test_integers_of_64_bits_do_not_come_round(
    name: str, parameters: dict[str, object], values: list[int], found: int
) -> None:
    tensors = [torch.tensor(values)] * (2 if name in ("add", "multiply") else 1)
    with pytest.raises(ShapeError, match=rf"^{name}: the value {found} does not fit I64"):
        applied(name, parameters, *tensors)


def test_a_scale_that_is_whole_may_be_written_with_a_point() -> None:
    assert applied("scale", {"number": 2.0}, torch.tensor([3, 4])).tolist() == [6, 8]


# --- what is refused, and what overflows ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("scale", {"number": math.nan}, "`number` must be finite, found nan"),
        ("shift", {"number": math.inf}, "`number` must be finite, found inf"),
        ("scale", {"number": True}, "`number` must be a number, found true"),
        ("average", {"weights": [1, math.nan]}, "`weights` must be finite, found nan"),
        ("average", {"weights": [1, -1]}, r"the sum of `weights` must not be 0, found \[1, -1\]"),
        ("average", {"weights": [0.25, 0.5, -0.75]}, "the sum of `weights`"),
        ("average", {"weights": [1e308, 1e308]}, "`weights` must be finite, found inf"),
        ("average", {"weights": []}, "`weights` must hold one for each tensor"),
        ("merge_lora", {"alpha": math.nan}, "`alpha` must be finite"),
        ("merge_lora", {"alpha": 8, "rank": 0}, "`rank` must be 1 or more"),
    ],
)
def test_a_parameter_that_can_not_be(name: str, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(ShapeError, match=f"^{name}: {words}"):
        build(name, parameters)


@pytest.mark.parametrize(
    ("values", "lost"),
    [([60000, 1], 1), ([math.inf, 60000], 1), ([math.nan, 1], 0)],
)
def test_overflow_of_a_scale_is_counted(values: list[float], lost: int) -> None:
    array = np.array(values, "f2").view("u2")
    op, specs = build("scale", {"number": 2}), (TensorSpec("F16", (2,)),)
    assert op.overflows((array,), op.apply((array,), specs), specs) == lost


def test_overflow_of_a_sum_is_counted() -> None:
    array = np.array([[60000, 1], [60000, 1]], "f2").view("u2")
    op, specs = build("sum", {"dim": 0}), (TensorSpec("F16", (2, 2)),)
    assert op.overflows((array,), op.apply((array,), specs), specs) == 1
