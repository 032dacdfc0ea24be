"""dequantize_blocks and quantize_blocks: bit for bit as plain torch computes blocks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.applying import applied, results

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import build
from ckptsurgeon.specs import TensorSpec

GREATEST = {torch.float8_e4m3fn: 448.0, torch.float8_e5m2: 57344.0}
CODES = {torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2"}
OTHERS = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}

float8 = st.sampled_from(list(GREATEST))
sizes = st.tuples(st.integers(1, 20), st.integers(1, 20))
blocks = st.tuples(st.integers(1, 8), st.integers(1, 8))
stacks = st.sampled_from([(), (3,), (1, 2)])
quickly = settings(max_examples=60, derandomize=True)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def scales_of(shape: tuple[int, ...], block: tuple[int, int]) -> tuple[int, ...]:
    return (*shape[:-2], -(-shape[-2] // block[0]), -(-shape[-1] // block[1]))


def spread(scale: torch.Tensor, shape: tuple[int, ...], block: tuple[int, int]) -> torch.Tensor:
    """Each scale as often as its block has items."""
    repeated = scale.repeat_interleave(block[0], -2).repeat_interleave(block[1], -1)
    return repeated[..., : shape[-2], : shape[-1]]


# --- from float8 ----------------------------------------------------------------------------------


@quickly
@given(float8, st.sampled_from(list(OTHERS)), stacks, sizes, blocks)
def test_dequantized_as_torch(
    dtype: torch.dtype,
    wanted: torch.dtype,
    stack: tuple[int, ...],
    size: tuple[int, int],
    block: tuple[int, int],
) -> None:
    weight = random(*stack, *size).to(dtype)
    scale = random(*scales_of(weight.shape, block)).abs() + 0.1
    made = applied("dequantize_blocks", {"block": block, "dtype": OTHERS[wanted]}, weight, scale)
    exact = weight.float() * spread(scale, weight.shape, block)
    assert torch.equal(made, exact.to(wanted))


def test_double_precision_is_multiplied_as_such() -> None:
    weight = torch.full((4, 6), 448.0).to(torch.float8_e4m3fn)
    scale = torch.full((2, 3), 1e300, dtype=torch.float64)
    made = applied("dequantize_blocks", {"block": 2, "dtype": "F64"}, weight, scale)
    assert torch.equal(made, torch.full((4, 6), 448.0 * 1e300, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scales_of_other_dtypes_are_computed_with_in_f32(dtype: torch.dtype) -> None:
    weight, scale = random(5, 7).to(torch.float8_e4m3fn), (random(2, 2).abs() + 0.1).to(dtype)
    made = applied("dequantize_blocks", {"block": 4}, weight, scale)
    exact = weight.float() * spread(scale.float(), (5, 7), (4, 4))
    assert torch.equal(made, exact.bfloat16())


def test_every_item_of_float8() -> None:
    """All 256 bit patterns: subnormal numbers are computed with, NaN and infinity stay."""
    for dtype in GREATEST:
        weight = torch.arange(256, dtype=torch.uint8).reshape(16, 16).view(dtype)
        made = applied("dequantize_blocks", {"dtype": "F32"}, weight, torch.tensor([[0.5]]))
        torch.testing.assert_close(made, weight.float() * 0.5, rtol=0, atol=0, equal_nan=True)


# --- to float8 ------------------------------------------------------------------------------------


@quickly
@given(float8, st.sampled_from(list(OTHERS)), stacks, sizes, blocks)
def test_quantized_as_torch(
    dtype: torch.dtype,
    given_in: torch.dtype,
    stack: tuple[int, ...],
    size: tuple[int, int],
    block: tuple[int, int],
) -> None:
    weight = (random(*stack, *size) * 3).to(given_in)
    how = {"block": block, "dtype": CODES[dtype]}
    made, scale = results("quantize_blocks", how, weight)
    wanted = weight.new_zeros(scales_of(weight.shape, block), dtype=torch.float32)
    for at in range(wanted.shape[-2]):
        for column in range(wanted.shape[-1]):
            rows = slice(at * block[0], (at + 1) * block[0])
            part = weight[..., rows, column * block[1] : (column + 1) * block[1]]
            wanted[..., at, column] = part.float().abs().amax((-2, -1)) / GREATEST[dtype]
    assert torch.equal(scale, wanted)
    exact = weight.float() / spread(scale, weight.shape, block)
    assert torch.equal(made.float(), exact.to(dtype).float())


@quickly
@given(float8, sizes, blocks)
def test_what_is_quantized_comes_back_nearly(
    dtype: torch.dtype, size: tuple[int, int], block: tuple[int, int]
) -> None:
    """A value is at most half a unit of the last place off, or of the least number's."""
    weight = random(*size)
    made, scale = results("quantize_blocks", {"block": block, "dtype": CODES[dtype]}, weight)
    back = applied("dequantize_blocks", {"block": block, "dtype": "F32"}, made, scale)
    limits, full = torch.finfo(dtype), spread(scale, size, block)
    allowed = torch.maximum(weight.abs() * limits.eps, full * limits.smallest_normal * limits.eps)
    assert ((back - weight).abs() <= allowed * 0.5001).all()


def test_a_block_of_zeros_has_the_scale_1() -> None:
    weight = torch.zeros(3, 4)
    weight[0, 3] = 896
    made, scale = results("quantize_blocks", {"block": [3, 2]}, weight)
    assert scale.tolist() == [[1.0, 2.0]]
    assert made.float().count_nonzero() == 1
    assert made[0, 3] == 448


def test_a_block_of_subnormal_numbers_does_not_overflow() -> None:
    weight = torch.full((2, 2), 3e-43)
    made, scale = results("quantize_blocks", {}, weight)
    assert scale.item() == 2.0**-126
    assert made.float().isfinite().all()


def test_double_precision_is_divided_as_such() -> None:
    weight = random(5, 5).double()
    made, scale = results("quantize_blocks", {"block": 5}, weight)
    assert scale.item() == (weight.abs().max() / 448).float().item()
    assert torch.equal(made.float(), (weight / scale.double()).float().to(made.dtype).float())


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "count"), [(math.inf, 2), (math.nan, 2)])
def test_what_no_scale_fits_is_refused(value: float, count: int) -> None:
    weight = torch.zeros(3, 3)
    weight[1, :count] = value
    with pytest.raises(ShapeError, match=f"{count} items are infinite or NaN: no scale fits them"):
        results("quantize_blocks", {}, weight)


def test_a_scale_beyond_f32_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"a block goes up to 1e\+300: its scale is beyond F32"):
        results("quantize_blocks", {}, torch.full((2, 2), 1e300, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("dequantize_blocks", {"block": 0}, "`block` must be 1 or more, found 0"),
        (
            "dequantize_blocks",
            {"block": [128, -1]},
            r"`block` must be 1 or more, found \[128, -1\]",
        ),
        ("dequantize_blocks", {"block": "128"}, "`block` must be an integer or a list of two"),
        ("dequantize_blocks", {"block": [1, 2, 3]}, "`block` must be an integer or a list of two"),
        ("dequantize_blocks", {"dtype": "F8_E4M3"}, "`dtype` must be one of F16, BF16, F32, F64"),
        ("quantize_blocks", {"dtype": "BF16"}, "`dtype` must be one of F8_E4M3, F8_E5M2, .*found"),
    ],
)
def test_a_parameter_that_can_not_be(name: str, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(ShapeError, match=f"^{name}: {words}"):
        build(name, parameters)


@pytest.mark.parametrize(
    ("shape", "scale", "words", "help"),
    [
        (
            (300, 200),
            (5, 4),
            "scale is [5, 4], and blocks of 128 x 128 have [3, 2]",
            "write `{dequantize_blocks: 64}` if that is the size of the blocks",
        ),
        (
            (300, 200),
            (300, 2),
            "scale is [300, 2], and blocks of 128 x 128 have [3, 2]",
            "write `{dequantize_blocks: [1, 128]}` if that is the size of the blocks",
        ),
        ((300, 200), (2, 3), "and blocks of 128 x 128 have [3, 2]", "_blocks: [256, 67]}`"),
        ((300, 200), (3,), "scale is [3], and blocks of 128 x 128 have [3, 2]", ""),
        ((4, 300, 200), (5, 3, 2), "have [4, 3, 2]", ""),
        ((300, 200), (301, 2), "have [3, 2]", ""),
    ],
)
def test_scales_of_other_blocks(
    shape: tuple[int, ...], scale: tuple[int, ...], words: str, help: str
) -> None:
    specs = TensorSpec("F8_E4M3", shape), TensorSpec("F32", scale)
    with pytest.raises(ShapeError) as caught:
        build("dequantize_blocks", {}).infer(specs)
    assert words in str(caught.value)
    assert help in caught.value.help
    assert bool(help) == bool(caught.value.help)


def test_weight_and_scale_in_the_other_order() -> None:
    specs = TensorSpec("F32", (3, 2)), TensorSpec("F8_E4M3", (300, 200))
    with pytest.raises(
        ShapeError, match=r"the weight is F32\[3, 2\], and not of F8_E4M3"
    ) as caught:
        build("dequantize_blocks", {}).infer(specs)
    assert caught.value.help == "the weight comes first, then its scale"
