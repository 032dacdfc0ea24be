"""BatchNorms turned into `FrozenBatchNorm`s, and back into what they were."""

from __future__ import annotations

import torch
from torch import nn

from ckptsurgeon.batchnorm.freezing import is_frozen
from ckptsurgeon.batchnorm.frozen import FrozenBatchNorm, Origin
from ckptsurgeon.batchnorm.layers import (
    BatchNorm,
    batchnorms,
    has_statistics,
    odd_forward,
    refuse,
    replace,
    tensors_of,
)
from ckptsurgeon.checkpoints.models import require_model
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_VECTORS

_BY_TORCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def convert_to_frozen(model: nn.Module) -> nn.Module:
    """The model with a `FrozenBatchNorm` for each BatchNorm, of the same values, dtype and device.

    The model is altered in place and is what comes back, unless it is itself a BatchNorm. A weight
    or bias that a layer lacks becomes ones or zeros. Outputs in eval mode stay what they are.

    Raises CkptSurgeonError, with nothing changed, for layers without running statistics, with a
    forward of their own or with hooks (both would be lost), and for lazy ones without a size.
    """
    require_model(model)
    found = batchnorms(model)
    problems = [f"`{name}`: {why}" for name, layer in found.items() if (why := _obstacle(layer))]
    advice = "nothing was converted; convert the parts of the model without them"
    refuse(problems, advice=advice)
    return replace(model, {layer: _frozen(layer) for layer in found.values()})


def convert_from_frozen(model: nn.Module, kind: type[BatchNorm] | None = None) -> nn.Module:
    """The model with a BatchNorm for each `FrozenBatchNorm`: the reverse of `convert_to_frozen`.

    Each becomes what it was made from: torch's class (of a subclass, the one it derives from),
    momentum, counter, and which parameters there were and required gradients. One that was not made
    from a layer, or all of them where `kind` is given, become a `kind` with torch's defaults:
    `torch.nn.BatchNorm2d`, for one. They count again; `freeze` them where they should not.

    Raises CkptSurgeonError, with nothing changed, where neither says which class it is to be.
    """
    require_model(model)
    named = model.named_modules()
    found = {name: m for name, m in named if isinstance(m, FrozenBatchNorm)}
    unknown = [n for n, layer in found.items() if kind is None and layer.origin is None]
    advice = "nothing was converted; say which class they become: kind=torch.nn.BatchNorm2d"
    refuse((f"`{name}`: was not made from a layer" for name in unknown), advice=advice)
    return replace(model, {layer: _thawed(layer, kind) for layer in found.values()})


def _obstacle(layer: BatchNorm) -> str:
    if not has_statistics(layer):
        return "keeps no running statistics (track_running_stats=False)"
    return odd_forward(layer)


def _frozen(layer: BatchNorm) -> FrozenBatchNorm:
    tensors = tensors_of(layer)
    mean = tensors["running_mean"]
    new = FrozenBatchNorm(layer.num_features, layer.eps, device=mean.device, dtype=mean.dtype)
    for name in BATCHNORM_VECTORS:
        if name in tensors:
            new.register_buffer(name, tensors[name].detach().clone())
    new.origin = _origin(layer)
    return new.train(layer.__dict__["train"].asked if is_frozen(layer) else layer.training)


def _origin(layer: BatchNorm) -> Origin | None:
    """What to become again; None for a class that derives from none of torch's public ones."""
    kind = next((cls for cls in type(layer).__mro__ if cls in _BY_TORCH), None)
    if kind is None:
        return None
    trained = tuple((name, p.requires_grad) for name, p in layer.named_parameters())
    counter = layer.num_batches_tracked
    batches = None if counter is None or counter.is_meta else int(counter)
    return Origin(kind, layer.momentum, trained, batches)


def _thawed(layer: FrozenBatchNorm, kind: type[BatchNorm] | None) -> BatchNorm:
    origin = layer.origin
    if origin is None or kind is not None:
        defaults = (("weight", True), ("bias", True))
        origin = Origin(kind or nn.BatchNorm2d, 0.1, defaults, 0)
    mean = layer.running_mean
    new = origin.kind(
        layer.num_features, layer.eps, origin.momentum, device=mean.device, dtype=mean.dtype
    )
    _take_parameters(new, layer, dict(origin.trained))
    new.running_mean, new.running_var = mean.clone(), layer.running_var.clone()
    if new.num_batches_tracked is not None:
        new.num_batches_tracked.fill_(origin.batches or 0)
    return new.train(layer.training)


def _take_parameters(new: BatchNorm, layer: FrozenBatchNorm, trained: dict[str, bool]) -> None:
    """Parameters of the layer's values; one that it never had is left out where it says nothing."""
    for name, idle in (("weight", 1.0), ("bias", 0.0)):
        value = layer.get_buffer(name)
        if name in trained or not _is_filled(value, idle):
            setattr(new, name, nn.Parameter(value.clone(), trained.get(name, True)))
        else:
            new.register_parameter(name, None)
    new.affine = new.weight is not None


def _is_filled(vector: torch.Tensor, value: float) -> bool:
    """Whether all of a vector is one value; taken for granted on meta, where it has none."""
    return vector.is_meta or bool((vector == value).all())
