"""Weight norm and spectral norm as torch has them, merge_lora as peft: all but for rounding."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from comparison import assert_rounded_alike
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.applying import applied
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from transformers.pytorch_utils import Conv1D

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import build
from ckptsurgeon.specs import TensorSpec

quickly = settings(max_examples=60, derandomize=True)


def norm_roundings(direction: torch.Tensor) -> int:
    """Those of a norm of at most all items of v, its root, a product and a quotient."""
    return direction.numel() + 3


@pytest.mark.parametrize(
    ("module", "dim"),
    [
        (nn.Linear(5, 7), 0),
        (nn.Linear(5, 7), 1),
        (nn.Linear(5, 7), None),
        (nn.Conv2d(3, 8, 3), 0),
        (nn.ConvTranspose1d(4, 6, 3), 1),
        (nn.Conv1d(4, 6, 3), 2),
    ],
)
def test_weight_norm_as_torch(module: nn.Module, dim: int | None) -> None:
    normed = weight_norm(module, dim=dim)
    magnitude = normed.parametrizations.weight.original0.data
    direction = normed.parametrizations.weight.original1.data
    magnitude.mul_(1.7)
    made = applied("fuse_weight_norm", {"dim": dim or 0}, magnitude, direction)
    assert_rounded_alike(made, normed.weight, norm_roundings(direction))


def test_weight_norm_by_a_dim_from_the_end() -> None:
    magnitude, direction = torch.rand(1, 5), torch.randn(7, 5)
    assert_rounded_alike(
        applied("fuse_weight_norm", {"dim": -1}, magnitude, direction),
        applied("fuse_weight_norm", {"dim": 1}, magnitude, direction),
        norm_roundings(direction),
    )


def test_a_direction_of_zeros_is_refused() -> None:
    direction = torch.ones(4, 3)
    direction[2] = 0
    with pytest.raises(ShapeError, match="v is all zeros in 1 of 4 rows"):
        applied("fuse_weight_norm", {}, torch.ones(4, 1), direction)


# --- spectral norm --------------------------------------------------------------------------------

NORMED: list[tuple[nn.Module, tuple[int, ...], int]] = [
    (nn.Linear(5, 7), (2, 5), 0),
    (nn.Conv1d(3, 4, 3), (2, 3, 8), 0),
    (nn.Conv2d(3, 4, 3), (2, 3, 8, 8), 0),
    (nn.Conv3d(3, 4, 2), (2, 3, 4, 4, 4), 0),
    (nn.ConvTranspose1d(4, 2, 3), (2, 4, 8), 1),
    (nn.ConvTranspose2d(4, 2, 3), (2, 4, 8, 8), 1),
    (nn.ConvTranspose3d(4, 2, 2), (2, 4, 4, 4, 4), 1),
]


@pytest.mark.parametrize(("module", "shape", "dim"), NORMED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_spectral_norm_as_torch(
    module: nn.Module, shape: tuple[int, ...], dim: int, dtype: torch.dtype
) -> None:
    normed = old_spectral_norm(copy.deepcopy(module))
    for _ in range(3):
        normed(torch.randn(shape))
    normed.eval()(torch.randn(shape))
    parts = [getattr(normed, f"weight_{name}").data for name in ("orig", "u", "v")]
    made = applied("fuse_spectral_norm", {"dim": dim}, *parts)
    assert_rounded_alike(made, normed.weight, parts[0].numel() + 2)
    torch.testing.assert_close(made, normed.weight.data, atol=1e-6, rtol=1e-6)
    narrow = parts[0].to(dtype)
    rounded = applied("fuse_spectral_norm", {"dim": dim}, narrow, *parts[1:])
    exact = applied("fuse_spectral_norm", {"dim": dim}, narrow.double(), *parts[1:])
    assert_rounded_alike(rounded, exact, 3)


@pytest.mark.parametrize("module", [nn.Linear(5, 7), nn.ConvTranspose2d(4, 2, 3)])
def test_spectral_norm_of_the_parametrization(module: nn.Module) -> None:
    normed = spectral_norm(copy.deepcopy(module)).eval()
    own = normed.parametrizations.weight
    parts = own.original.data, own[0]._u, own[0]._v
    made = applied("fuse_spectral_norm", {"dim": own[0].dim}, *parts)
    assert_rounded_alike(made, normed.weight, parts[0].numel() + 2)


@quickly
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(0, 3),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_spectral_norm_of_any_shape(shape: list[int], at: int, dtype: torch.dtype) -> None:
    dim = at % len(shape)
    weight = torch.rand(shape).to(dtype) + 0.1
    u, v = torch.rand(shape[dim]) + 0.1, torch.rand(math.prod(shape) // shape[dim]) + 0.1
    norm = u.double() @ weight.double().movedim(dim, 0).reshape(shape[dim], -1) @ v.double()
    made = applied("fuse_spectral_norm", {"dim": dim}, weight, u, v)
    assert_rounded_alike(made, weight.double() / norm, 3)


@pytest.mark.parametrize(
    ("shapes", "words", "help"),
    [
        (
            [(4, 2, 3, 3), (2,), (36,)],
            "u has 2 items and dim 0 has 4",
            "write `{fuse_spectral_norm: 1}`, as of transposed convolutions",
        ),
        (
            [(4, 2, 3), (3,), (8,)],
            "u has 3 items and dim 0 has 4",
            "write `{fuse_spectral_norm: 2}`",
        ),
        ([(4, 2, 3, 3), (4,), (9,)], "v has 9 items and the dims but 0 have 18", ""),
        ([(4, 2), (5,), (2,)], "u has 5 items and dim 0 has 4", ""),
        ([(4, 2), (4, 1), (2,)], "u must have one dim", ""),
        ([(4, 2), (4,)], "takes three tensors, orig, u and v, was given 2", ""),
        ([(), (1,), (1,)], "there is no dim 0: it has none", ""),
    ],
)
def test_spectral_norms_that_do_not_fit(
    shapes: list[tuple[int, ...]], words: str, help: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        build("fuse_spectral_norm", {}).infer(tuple(TensorSpec("F32", one) for one in shapes))
    assert words in str(caught.value)
    assert caught.value.help == help


def test_a_norm_of_0_is_refused() -> None:
    with pytest.raises(ShapeError, match="u · W v is 0: there is no norm to divide by"):
        applied("fuse_spectral_norm", {}, torch.ones(4, 3), torch.zeros(4), torch.ones(3))


# --- LoRA -----------------------------------------------------------------------------------------


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 40)
        self.turned = Conv1D(40, 24)
        self.conv = nn.Conv2d(5, 7, 3)
        self.point = nn.Conv2d(5, 7, 1)
        self.embed = nn.Embedding(11, 8)


RANK = 4
LORA_ROUNDINGS = RANK + 2
"""A product of RANK terms (peft has a convolution's by a convolution), the scale, and W's sum."""


@pytest.mark.parametrize("name", ["linear", "turned", "conv", "point", "embed"])
def test_lora_as_peft(name: str) -> None:
    turned = name == "turned"
    torch.manual_seed(0)
    config = LoraConfig(
        r=RANK, lora_alpha=6, target_modules=[name], fan_in_fan_out=turned, init_lora_weights=False
    )
    model = get_peft_model(Layers(), config)
    layer = model.base_model.model.get_submodule(name)
    weight = layer.base_layer.weight.data.clone()
    if name == "embed":
        factors = [layer.lora_embedding_A["default"].data, layer.lora_embedding_B["default"].data]
    else:
        factors = [layer.lora_A["default"].weight.data, layer.lora_B["default"].weight.data]
    how = {"alpha": 6, "fan_in_fan_out": turned or name == "embed"}
    made = applied("merge_lora", how, weight, *factors)
    terms = applied("merge_lora", how, *(tensor.abs() for tensor in (weight, *factors)))
    wanted = model.merge_and_unload().get_submodule(name).weight
    assert_rounded_alike(made, wanted, LORA_ROUNDINGS, terms)


def test_lora_of_wider_factors_is_rounded_once() -> None:
    weight, one, other = torch.randn(6, 5), torch.randn(2, 5), torch.randn(6, 2)
    weight = weight.bfloat16()
    made = applied("merge_lora", {"alpha": 3, "rank": 4}, weight, one, other)
    wide = weight.double(), one.double(), other.double()
    wanted, terms = (w + b @ a * 0.75 for w, a, b in (wide, map(torch.abs, wide)))
    assert_rounded_alike(made, wanted, LORA_ROUNDINGS, terms)
