"""`fold`: BatchNorms worked into the convolutions before them, for export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import is_parametrized

from ckptsurgeon.batchnorm.frozen import FrozenBatchNorm
from ckptsurgeon.batchnorm.layers import (
    Layer,
    has_hooks,
    has_statistics,
    layers,
    odd_forward,
    refuse,
    refuse_lazy,
    replace,
)
from ckptsurgeon.batchnorm.results import Block, NormResult
from ckptsurgeon.batchnorm.running import run
from ckptsurgeon.batchnorm.tracing import Convolution, trace
from ckptsurgeon.batchnorm.weights import folded
from ckptsurgeon.checkpoints.models import require_model
from ckptsurgeon.checkpoints.planting import is_tensor
from ckptsurgeon.errors import nearest
from ckptsurgeon.specs import plural
from ckptsurgeon.wanted import require


@dataclass(frozen=True, slots=True)
class Unfolded:
    """A BatchNorm that stays, and why."""

    batchnorm: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Folds(NormResult):
    """(convolution, BatchNorm) by name, of every pair that is one layer now; and what stays."""

    pairs: tuple[tuple[str, str], ...]
    unfolded: tuple[Unfolded, ...]

    @property
    def summary(self) -> str:
        """How many pairs are one layer now, and how many BatchNorms stay."""
        stay = f", {len(self.unfolded):,} stay" if self.unfolded else ""
        return f"{plural(len(self.pairs), 'BatchNorm')} folded{stay}"

    @property
    def blocks(self) -> Sequence[Block]:
        """The convolutions with what was folded into them, and what stays for which reason."""
        reasons: dict[str, list[str]] = {}
        for one in self.unfolded:
            reasons.setdefault(one.reason, []).append(one.batchnorm)
        return (
            Block.of("folded into", ((layer, (norm,)) for layer, norm in self.pairs)),
            *(Block.names(f"stays: {reason}", names) for reason, names in reasons.items()),
        )


def fold(model: nn.Module, pairs: Mapping[str, str] | None = None, *, example: Any = None) -> Folds:
    """What was folded: BatchNorms are worked into the layer before them, in place.

    The convolution gets new parameters (a bias, too, where it had none; those that it had are left
    as they are for whoever holds them), and `torch.nn.Identity` takes the BatchNorm's place. With
    s = weight / sqrt(running_var + eps): W'[o, …] = W[o, …] s[o], b' = (b - running_mean) s + bias
    (torch.nn.utils.fusion), computed in float32, or in float64 where a tensor is.

    Without `pairs`, torch.fx traces the model, and a BatchNorm is folded where the trace proves it
    right: its input is what a convolution gives, and nothing else reads that; both run once; no
    weight is shared. A BatchNorm after an activation stays. Where torch.fx can't trace a model, a
    run on an `example` (an argument, a tuple of them, or a mapping of keywords) shows the same, and
    speaks for inputs that take the same way through the model. `pairs` names them instead,
    convolution -> BatchNorm, for subclasses, and for a Linear before a BatchNorm1d (right for
    inputs [N, C] alone); that the one runs just before the other is then your word.

    Raises CkptSurgeonError, with nothing changed, for a model that can't be traced, a BatchNorm in
    train mode, and named pairs that don't fit.
    """
    require_model(model)
    if pairs is not None:
        _require_pairs(pairs)
    found, unfolded = _proved(model, example) if pairs is None else (_named(model, pairs), {})
    _refuse(_training(model, found.values()))
    for name, parameters in _computed(model, found).items():
        convolution = model.get_submodule(name)
        convolution.weight, convolution.bias = parameters
    replace(model, {model.get_submodule(name): nn.Identity() for name in found.values()})
    told = tuple(Unfolded(name, reason) for name, reason in unfolded.items())
    return Folds(tuple(found.items()), told)


def _require_pairs(pairs: Any) -> None:
    """Raises CkptSurgeonError for what is no dict of names."""
    help = "an input is `example=image`" if is_tensor(pairs) else ""
    require("fold: pairs", pairs, Mapping, 'a dict of names, {"conv1": "bn1"}', help=help)
    for name in (one for pair in pairs.items() for one in pair):
        require("fold: pairs", name, str, 'a name, as in {"conv1": "bn1"}')


def _proved(model: nn.Module, example: Any) -> tuple[dict[str, str], dict[str, str]]:
    """(convolution -> BatchNorm to fold, BatchNorm -> why it stays), as trace or run tell."""
    if example is not None:
        _refuse(_training(model, layers(model)))  # a run would move their statistics
    before = trace(model) if example is None else run(model, example)
    found, unfolded = {}, {}
    for batchnorm, layer in layers(model).items():
        convolution, reason = before(layer)
        if reason:
            unfolded[batchnorm] = reason
        else:
            found[convolution] = batchnorm
    unfolded |= {bn: why for conv, bn in found.items() if (why := _obstacle(model, conv, bn))}
    return {conv: bn for conv, bn in found.items() if bn not in unfolded}, unfolded


def _named(model: nn.Module, pairs: Mapping[str, str]) -> dict[str, str]:
    """The pairs as they were given; raises CkptSurgeonError for what doesn't fit."""
    _refuse(why for conv, bn in pairs.items() if (why := _misfit(model, conv, bn)))
    named = [(name, model.get_submodule(name)) for pair in pairs.items() for name in pair]
    count = Counter(module for _, module in named)
    twice = dict.fromkeys(name for name, module in named if count[module] > 1)
    _refuse(f"`{name}` is named more than once" for name in twice)
    return dict(pairs)


def _refuse(problems: Iterable[str]) -> None:
    refuse(problems, title="fold: nothing was folded")


def _computed(
    model: nn.Module, pairs: Mapping[str, str]
) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """Weight and bias of every pair by its convolution; refused where they hold no numbers."""
    new = {
        name: folded(model.get_submodule(name), model.get_submodule(batchnorm))
        for name, batchnorm in pairs.items()
    }
    _refuse(
        f"`{name}`: the folded weight or bias is NaN or infinite; look at `{pairs[name]}`"
        for name, parameters in new.items()
        if not all(bool(p.isfinite().all()) for p in parameters if not p.is_meta)
    )
    return new


def _training(model: nn.Module, names: Iterable[str]) -> list[str]:
    """What is wrong with BatchNorms that would still normalise by the batch."""
    training = {name: model.get_submodule(name) for name in names}
    return [
        f"`{name}` is in train mode, where the batch's statistics count; call model.eval() first"
        for name, layer in training.items()
        if layer.training and not isinstance(layer, FrozenBatchNorm)
    ]


def _obstacle(model: nn.Module, convolution: str, batchnorm: str) -> str:
    """Why a traced pair is not folded without being named; "" where it is."""
    module = model.get_submodule(convolution)
    if isinstance(module, nn.Linear):
        return f"comes after `{convolution}` (Linear); name the pair if its inputs are [N, C]"
    if type(module).__module__ != nn.Conv2d.__module__:
        return f"`{convolution}` is a {type(module).__name__}, which may do more; name the pair"
    return _unfit(model, module, model.get_submodule(batchnorm), convolution)


def _misfit(model: nn.Module, convolution: str, batchnorm: str) -> str:
    """What is wrong with a named pair; "" where nothing is."""
    known = dict(model.named_modules(remove_duplicate=False))
    for name, kind in ((convolution, Convolution), (batchnorm, Layer)):
        if name not in known:
            return f"`{name}`: the model has no such module; {nearest(name, known)}".rstrip("; ")
        if not isinstance(known[name], kind):
            wanted = "a BatchNorm" if kind is Layer else "a convolution or Linear"
            return f"`{name}` is {type(known[name]).__name__}, wanted {wanted}"
    why = _unfit(model, known[convolution], known[batchnorm], convolution)
    return f"`{convolution}`, `{batchnorm}`: {why}" if why else ""


def _unfit(model: nn.Module, module: nn.Module, layer: nn.Module, name: str) -> str:
    """Why a BatchNorm can't be worked into a module, whatever stands between; "" where it can."""
    convolution, batchnorm = cast(Convolution, module), cast(Layer, layer)
    refuse_lazy({name: module})
    if why := odd_forward(batchnorm):
        return why
    if not has_statistics(batchnorm):
        return "keeps no running statistics"
    if is_parametrized(module) or has_hooks(module):
        return f"the weight of `{name}` is parametrized, or it has hooks"
    own = (m.parameters(recurse=False) for m in model.modules())
    if sum(any(one is convolution.weight for one in parameters) for parameters in own) > 1:
        return f"the weight of `{name}` is shared with another module"
    return _sizes(convolution, batchnorm)


def _sizes(convolution: Convolution, batchnorm: Layer) -> str:
    """What is wrong with the dims or the widths; "" where nothing is."""
    dims = convolution.weight.dim() - 2
    fixed = {nn.BatchNorm1d: (0, 1), nn.BatchNorm2d: (2,), nn.BatchNorm3d: (3,)}
    for kind, possible in fixed.items():
        if isinstance(batchnorm, kind) and dims not in possible:
            return f"{kind.__name__} does not follow {type(convolution).__name__}"
    width = convolution.weight.shape[0]
    if isinstance(convolution, _ConvNd):
        width = convolution.out_channels
    if width == batchnorm.num_features:
        return ""
    return f"{width} channels come out, and the BatchNorm has {batchnorm.num_features}"
