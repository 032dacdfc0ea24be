"""The tolerance that tests share lets roundings pass, and nothing else."""

from __future__ import annotations

import pytest
import torch
from comparison import assert_rounded_alike
from torch import Tensor

PRODUCTS = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)).double()
SUM, SIZES = PRODUCTS.sum(1), PRODUCTS.abs().sum(1)
ROUNDINGS = 8


def test_sums_in_any_order_are_alike() -> None:
    forth, back = (order.float().cumsum(1)[:, -1] for order in (PRODUCTS, PRODUCTS.flip(1)))
    assert_rounded_alike(forth, back, ROUNDINGS, SIZES)
    assert_rounded_alike(forth, SUM, ROUNDINGS, SIZES)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_one_rounding_into_a_narrow_dtype_is_alike_and_two_are_not(dtype: torch.dtype) -> None:
    assert_rounded_alike(SUM.to(dtype), SUM, ROUNDINGS, SIZES)
    with pytest.raises(AssertionError, match="items differ"):
        assert_rounded_alike((SUM / 3).to(dtype) * 3, SUM, ROUNDINGS, SIZES)


LARGEST = SUM.abs() == SUM.abs().max()

WRONG: dict[str, Tensor] = {
    "a term too few": PRODUCTS[:, 1:].sum(1),
    "a scale": SUM * (1 + 1e-4),
    "a sign": -SUM,
    "a NaN": SUM.masked_fill(LARGEST, torch.nan),
    "an infinity": SUM.masked_fill(LARGEST, torch.inf),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_not_alike(name: str) -> None:
    with pytest.raises(AssertionError, match="items differ"):
        assert_rounded_alike(WRONG[name].float(), SUM, ROUNDINGS, SIZES)


def test_other_shapes_and_dtypes_are_not_alike() -> None:
    for other in (SUM[None].float(), SUM.half()):
        with pytest.raises(AssertionError):
            assert_rounded_alike(SUM.float(), other, ROUNDINGS, SIZES)
