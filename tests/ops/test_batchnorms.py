"""What the rules of BatchNorms compute: torch's own fusion and frozen forms, but for rounding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from comparison import assert_rounded_alike
from ops.applying import applied
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from transformers.models.detr.modeling_detr import DetrFrozenBatchNorm2d

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops import build

Tensors = Mapping[str, torch.Tensor]


def random_norm(channels: int, *, affine: bool = True) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(channels)
    parts = {
        "running_mean": torch.randn(channels, generator=random),
        "running_var": torch.rand(channels, generator=random) * 4,
    }
    if affine:
        parts["weight"] = torch.randn(channels, generator=random)
        parts["bias"] = torch.randn(channels, generator=random)
    return parts


def made(name: str, tensors: Tensors, words: str, **parameters: object) -> torch.Tensor:
    parts = [word for word in words.split() if word in tensors]
    given: dict[str, Any] = {"parts": parts, **parameters}
    return applied(name, given, *(tensors[part] for part in parts))


SHIFT = "running_mean running_var weight bias kernel_bias"

SCALE_ROUNDINGS = 5
"""Of weight / sqrt(running_var + eps) and of what it scales; a vector unit's rsqrt errs by more."""

SHIFT_ROUNDINGS = SCALE_ROUNDINGS + 2
"""A difference before and a sum behind, which may be one rounding with the product."""


def shift_terms(tensors: Tensors, eps: float = 1e-5) -> torch.Tensor:
    """The sizes of what a shift adds up."""
    scale = tensors.get("weight", torch.tensor(1.0)) / (tensors["running_var"] + eps).sqrt()
    nothing = torch.tensor(0.0)
    centre = tensors["running_mean"].abs() + tensors.get("kernel_bias", nothing).abs()
    return tensors.get("bias", nothing).abs() + centre * scale.abs()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
@pytest.mark.parametrize(
    ("module", "transposed"),
    [
        (nn.Conv2d(4, 6, 3), False),
        (nn.Conv1d(4, 6, 3, groups=2), False),
        (nn.ConvTranspose2d(4, 6, 3), True),
    ],
)
def test_a_convolution_as_torch(
    module: nn.Module, transposed: bool, eps: float, bias: bool, affine: bool
) -> None:
    norm, state = random_norm(6, affine=affine), module.state_dict()
    tensors = {**norm, "kernel": state["weight"]} | ({"kernel_bias": state["bias"]} if bias else {})
    kernel, shift = fuse_conv_bn_weights(
        state["weight"],
        tensors.get("kernel_bias"),
        norm["running_mean"],
        norm["running_var"],
        eps,
        norm.get("weight"),
        norm.get("bias"),
        transposed,
    )
    folded = made(
        "fold_kernel", tensors, "kernel running_var weight", eps=eps, transposed=transposed
    )
    assert_rounded_alike(folded, kernel, SCALE_ROUNDINGS)
    shifted = made("batchnorm_shift", tensors, SHIFT, eps=eps, dtype="F32")
    assert_rounded_alike(shifted, shift, SHIFT_ROUNDINGS, shift_terms(tensors, eps))


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_as_torch(bias: bool) -> None:
    norm, state = random_norm(7), nn.Linear(5, 7).state_dict()
    tensors = {**norm, "kernel": state["weight"]} | ({"kernel_bias": state["bias"]} if bias else {})
    weight, shift = fuse_linear_bn_weights(
        state["weight"],
        tensors.get("kernel_bias"),
        norm["running_mean"],
        norm["running_var"],
        1e-5,
        norm["weight"],
        norm["bias"],
    )
    folded = made("fold_kernel", tensors, "kernel running_var weight")
    assert_rounded_alike(folded, weight, SCALE_ROUNDINGS)
    shifted = made("batchnorm_shift", tensors, SHIFT, dtype="F32", scale_first=True)
    assert_rounded_alike(shifted, shift, SHIFT_ROUNDINGS, shift_terms(tensors))


def test_half_precision_is_rounded_once() -> None:
    norm, weight = random_norm(6), torch.randn(6, 4, 3, 3).bfloat16()
    folded = made("fold_kernel", {**norm, "kernel": weight}, "kernel running_var weight")
    assert folded.dtype == torch.bfloat16
    scale = norm["weight"].double() / (norm["running_var"].double() + 1e-5).sqrt()
    assert_rounded_alike(folded, weight * scale.reshape(-1, 1, 1, 1), SCALE_ROUNDINGS)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_transposed_convolutions_of_groups_give_the_same_outputs(groups: int) -> None:
    before = nn.ConvTranspose2d(8, 4, 3, groups=groups, bias=False)
    norm, layer, image = random_norm(4), nn.BatchNorm2d(4).eval(), torch.randn(2, 8, 6, 6)
    layer.load_state_dict({**norm, "num_batches_tracked": torch.tensor(0)})
    wanted = layer(before(image))
    how = {"transposed": True, "groups": groups}
    tensors = {**norm, "kernel": before.weight.data}
    before.weight.data = made("fold_kernel", tensors, "kernel running_var weight", **how)
    before.bias = nn.Parameter(made("batchnorm_shift", norm, SHIFT, dtype="F32"))
    torch.testing.assert_close(before(image), wanted)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_batchnorm_alone_becomes_a_convolution(groups: int) -> None:
    norm, layer = random_norm(6), nn.BatchNorm2d(6).eval()
    layer.load_state_dict({**norm, "num_batches_tracked": torch.tensor(0)})
    kernel = made("fold_identity", norm, "running_var weight", groups=groups)
    shift = made("batchnorm_shift", norm, SHIFT, dtype="F32")
    image = torch.randn(2, 6, 5, 5)
    made_by_it = nn.functional.conv2d(image, kernel, shift, groups=groups)
    torch.testing.assert_close(made_by_it, layer(image))


def test_frozen_forms_as_detr() -> None:
    norm, frozen = random_norm(6), DetrFrozenBatchNorm2d(6)
    frozen.load_state_dict(norm)
    scale = made("batchnorm_scale", norm, "running_var weight")
    shift = made("batchnorm_shift", norm, SHIFT, dtype="F32", scale_first=True)
    image = torch.randn(2, 6, 5, 5)
    shape = (1, -1, 1, 1)
    found = image * scale.reshape(shape) + shift.reshape(shape)
    terms = (image * scale.reshape(shape)).abs() + shift_terms(norm).reshape(shape)
    assert_rounded_alike(found, frozen(image), SHIFT_ROUNDINGS, terms)


# --- what can be seen to be wrong -----------------------------------------------------------------


@pytest.mark.parametrize("variance", [-1e-5, -3.0, float("nan")])
def test_a_variance_without_a_root_is_refused(variance: float) -> None:
    norm = random_norm(4)
    norm["running_var"][2] = variance
    with pytest.raises(ShapeError, match=r"running_var \+ eps is .* in channel 2 \(1 of 4"):
        made("batchnorm_scale", norm, "running_var weight")


@pytest.mark.parametrize("dtype", ["I8", "F4", "C64", "float"])
def test_the_dtype_of_a_saved_plan_is_checked(dtype: str) -> None:
    with pytest.raises(ShapeError, match=r"^batchnorm_shift: `dtype` must be floating"):
        build("batchnorm_shift", {"parts": ["running_mean", "running_var"], "dtype": dtype})


@pytest.mark.parametrize(
    "parameters",
    [
        {"parts": ["weight"]},
        {"parts": ["running_var", "running_var"]},
        {"parts": ["running_var", "bias"]},
        {"parts": ["running_var"], "eps": -1},
        {"parts": ["running_var"], "eps": float("nan")},
        {"parts": ["running_var"], "eps": None},
    ],
)
def test_parameters_of_a_saved_plan_are_checked(parameters: dict[str, Any]) -> None:
    with pytest.raises(ShapeError, match=r"^batchnorm_scale: "):
        build("batchnorm_scale", parameters)
