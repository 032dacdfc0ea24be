"""The arithmetic of a fold: weight and bias of a convolution and a BatchNorm as one layer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ckptsurgeon.batchnorm.layers import Layer, tensors_of
from ckptsurgeon.batchnorm.tracing import Convolution


@torch.no_grad()
def folded(module: nn.Module, layer: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """(weight[O, I, ...], bias[O]) that do in one step what the two modules do one after the other.

    W' = W s and b' = (b - mean) / sqrt(var + eps) * gain + shift with s = gain / sqrt(var + eps),
    by `torch.nn.utils.fusion`. Dtypes are those of the parameters there are.
    """
    convolution, batchnorm = cast(Convolution, module), cast(Layer, layer)
    given: dict[str, Tensor] = tensors_of(batchnorm)
    weight, bias = convolution.weight, convolution.bias
    tensors = (weight, *given.values(), *(() if bias is None else (bias,)))
    wide = any(tensor.dtype is torch.float64 for tensor in tensors)
    dtype = torch.float64 if wide else torch.float32
    parts = {name: tensor.to(dtype) for name, tensor in given.items()}
    new_weight, new_bias = fuse_conv_bn_weights(
        _turn(convolution, weight).to(dtype),
        None if bias is None else bias.to(dtype),
        parts["running_mean"],
        parts["running_var"],
        batchnorm.eps,
        parts.get("weight"),
        parts.get("bias"),
    )
    return (
        nn.Parameter(_turn(convolution, new_weight).to(weight.dtype), weight.requires_grad),
        nn.Parameter(new_bias.to((weight if bias is None else bias).dtype), weight.requires_grad),
    )


def _turn(convolution: Convolution, weight: Tensor) -> Tensor:
    """[I, O / groups, ...] of a transposed convolution as [O, I / groups, ...], and back."""
    if not isinstance(convolution, _ConvTransposeNd):
        return weight
    # A group's inputs lead to that group's outputs alone.
    grouped = weight.reshape(convolution.groups, -1, *weight.shape[1:])
    return grouped.transpose(1, 2).flatten(0, 1).contiguous()
