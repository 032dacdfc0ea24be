"""`freeze` and `unfreeze`: BatchNorms that neither learn nor count while the rest is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ckptsurgeon.batchnorm.layers import BatchNorm, batchnorms, has_statistics
from ckptsurgeon.batchnorm.results import Block, NormResult
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.specs import plural

_TURNED_OFF = "_parameters_turned_off"
"""A layer's attribute that names the parameters that `freeze`, and nobody before, turned off."""


@dataclass(frozen=True, slots=True, repr=False)
class FrozenLayers(NormResult):
    """The BatchNorms that a call froze, or let go: by name, "" being the model itself.

    `affine` are those whose weight and bias it was, `statistics` those whose running statistics.
    """

    affine: tuple[str, ...]
    statistics: tuple[str, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that is named, once."""
        return tuple(dict.fromkeys((*self.affine, *self.statistics)))

    @property
    def summary(self) -> str:
        """How many layers, and what of them."""
        return (
            f"{plural(len(self.layers), 'BatchNorm')}: weight and bias of {len(self.affine)}, "
            f"running statistics of {len(self.statistics)}"
        )

    @property
    def blocks(self) -> Sequence[Block]:
        """The layers; apart where not both is true of them."""
        both = [name for name in self.affine if name in self.statistics]
        return (
            Block.names("both", both),
            Block.names("weight and bias", (n for n in self.affine if n not in both)),
            Block.names("running statistics", (n for n in self.statistics if n not in both)),
        )


class _StaysInEval:
    """The `train` of a layer with frozen statistics: it stays in eval, whatever mode is asked for.

    An object of a module's `__dict__`, for that is what deepcopy, pickle and `torch.save` carry
    along, and it leaves the layer's type alone, by which other tools know a BatchNorm.
    """

    __slots__ = ("asked", "layer")

    def __init__(self, layer: nn.Module, asked: bool) -> None:
        self.layer, self.asked = layer, asked

    def __call__(self, mode: bool = True) -> nn.Module:
        self.asked = mode
        return nn.Module.train(self.layer, False)


def freeze(model: nn.Module, affine: bool = True, stats: bool = True) -> FrozenLayers:
    """The layers that are frozen now: every BatchNorm of the model, which is altered in place.

    `affine`: weight and bias stop training (`requires_grad` is off, and a gradient that is there is
    let go, since an optimizer would still apply it). `stats`: the running statistics stop moving,
    and are what normalises; the layer is in eval mode and stays so through `model.train()`.

    Both hold through DistributedDataParallel, deepcopy, `torch.compile`, pickling and
    `torch.save(model)`; the keys and values of the state_dict are what they were. Another freeze
    adds to one before. `SyncBatchNorm.convert_sync_batchnorm` makes new layers: convert first.

    Raises CkptSurgeonError where there is no BatchNorm, where lazy ones have no size yet, and where
    parameters are to stop inside DistributedDataParallel, which waits for their gradients.
    """
    found = batchnorms(model)
    _check(model, found, affine, stats)
    learning = {n: layer for n, layer in found.items() if affine and list(layer.parameters())}
    counting = {n: layer for n, layer in found.items() if stats and has_statistics(layer)}
    for layer in learning.values():
        _stop_training(layer)
    for layer in counting.values():
        _stop_counting(layer)
    return FrozenLayers(tuple(learning), tuple(counting))


def unfreeze(model: nn.Module, affine: bool = True, stats: bool = True) -> FrozenLayers:
    """The layers that `freeze` had frozen, and that are let go now; the others are left alone.

    Parameters that did not require gradients before `freeze` still don't. A layer takes the mode
    that `train()` or `eval()` last asked for.
    """
    _require_flags(affine=affine, stats=stats)
    found = batchnorms(model)
    off = {n: layer for n, layer in found.items() if affine and layer.__dict__.get(_TURNED_OFF)}
    kept = {n: layer for n, layer in found.items() if stats and is_frozen(layer)}
    for layer in off.values():
        for name in layer.__dict__.pop(_TURNED_OFF):
            layer.get_parameter(name).requires_grad_(True)
    for layer in kept.values():
        hold = layer.__dict__.pop("train")
        layer.train(hold.asked)
    return FrozenLayers(tuple(off), tuple(kept))


def is_frozen(layer: nn.Module) -> bool:
    """Whether `freeze` holds the layer's running statistics."""
    return isinstance(layer.__dict__.get("train"), _StaysInEval)


def _require_flags(**flags: object) -> None:
    """Raises CkptSurgeonError where names of layers, say, are given as a flag."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise CkptSurgeonError(
                f"{name}={value!r}: wanted True or False; of a part of a model give the part, such "
                "as `model.layer1`"
            )


def _check(model: nn.Module, found: dict[str, BatchNorm], affine: bool, stats: bool) -> None:
    _require_flags(affine=affine, stats=stats)
    if not (affine or stats):
        raise CkptSurgeonError("freeze: neither affine nor stats; name one of them")
    if not found:
        raise CkptSurgeonError(
            f"{type(model).__name__} has no BatchNorm; a norm of another class "
            "has to be frozen by hand"
        )
    wrapped = [m for m in model.modules() if isinstance(m, DistributedDataParallel)]
    inside = [layer for ddp in wrapped for layer in batchnorms(ddp).values()]
    if affine and any(p.requires_grad for layer in inside for p in layer.parameters()):
        raise CkptSurgeonError(
            "the model is in DistributedDataParallel, which waits for the gradient of every "
            "parameter that it was given; freeze the model first, then wrap it"
        )


def _stop_training(layer: BatchNorm) -> None:
    off = [name for name, parameter in layer.named_parameters() if parameter.requires_grad]
    layer.__dict__[_TURNED_OFF] = (*layer.__dict__.get(_TURNED_OFF, ()), *off)
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None


def _stop_counting(layer: BatchNorm) -> None:
    if not is_frozen(layer):
        layer.__dict__["train"] = _StaysInEval(layer, layer.training)
    nn.Module.train(layer, False)
