"""The arithmetic of a fold: weight and bias of a convolution and a BatchNorm as one layer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from ckptsurgeon.batchnorm.layers import Layer, tensors_of
from ckptsurgeon.batchnorm.tracing import Convolution


@torch.no_grad()
def folded(module: nn.Module, layer: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """(weight[O, I, ...], bias[O]) that do in one step what the two modules do one after the other.

    W' = W s and b' = (b - mean) / sqrt(var + eps) * gain + shift with s = gain / sqrt(var + eps),
    in the order of `torch.nn.utils.fusion`. Dtypes are those of the parameters there are.
    """
    convolution, batchnorm = cast(Convolution, module), cast(Layer, layer)
    given: dict[str, Tensor] = tensors_of(batchnorm)
    weight, bias = convolution.weight, convolution.bias
    tensors = (weight, *given.values(), *(() if bias is None else (bias,)))
    wide = any(tensor.dtype is torch.float64 for tensor in tensors)
    dtype = torch.float64 if wide else torch.float32
    parts = {name: tensor.to(dtype) for name, tensor in given.items()}
    factor = torch.rsqrt(parts["running_var"] + batchnorm.eps)
    gain = parts.get("weight", torch.ones_like(factor))
    shift = parts.get("bias", torch.zeros_like(factor))
    start = torch.zeros_like(factor) if bias is None else bias.to(dtype)
    new_weight = _scaled(convolution, weight.to(dtype), gain * factor)
    new_bias = (start - parts["running_mean"]) * factor * gain + shift
    bias_dtype = weight.dtype if bias is None else bias.dtype
    trains = weight.requires_grad
    return (
        nn.Parameter(new_weight.to(weight.dtype), trains),
        nn.Parameter(new_bias.to(bias_dtype), trains),
    )


def _scaled(convolution: Convolution, weight: Tensor, scale: Tensor) -> Tensor:
    """The weight with every output channel scaled."""
    ones = (1,) * (weight.dim() - 2)
    if not isinstance(convolution, _ConvTransposeNd):
        return weight * scale.reshape(-1, 1, *ones)
    # [I, O / groups, ...]: a group's inputs lead to that group's outputs alone.
    groups = convolution.groups
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    return (grouped * scale.reshape(groups, 1, -1, *ones)).reshape(weight.shape)
