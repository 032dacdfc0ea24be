"""fuse_weight_norm as torch's parametrization has it, merge_lora as peft: both but for rounding."""

from __future__ import annotations

import pytest
import torch
from comparison import assert_rounded_alike
from ops.applying import applied
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from transformers.pytorch_utils import Conv1D

from ckptsurgeon.errors import ShapeError


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
