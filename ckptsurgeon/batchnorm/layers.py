"""The BatchNorms of a model: found by name, told apart, and replaced by other modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ckptsurgeon.batchnorm.frozen import FrozenBatchNorm
from ckptsurgeon.checkpoints.models import require_model
from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import CkptSurgeonError
from ckptsurgeon.planner.compiling.compiled import BATCHNORM_PARTS

BatchNorm = _BatchNorm
"""The base of torch's BatchNorm1d, 2d and 3d, SyncBatchNorm and the lazy ones."""

Layer = _BatchNorm | FrozenBatchNorm

_FORWARDS = (_BatchNorm.forward, nn.SyncBatchNorm.forward, FrozenBatchNorm.forward)


def batchnorms(model: nn.Module) -> dict[str, BatchNorm]:
    """torch's BatchNorms of a model by name, each once; "" is the model itself.

    Raises CkptSurgeonError for lazy ones that no forward has given a size yet.
    """
    return {name: m for name, m in layers(model).items() if isinstance(m, BatchNorm)}


def layers(model: nn.Module) -> dict[str, Layer]:
    """The BatchNorms of a model, frozen ones too, by name; raises as `batchnorms`."""
    require_model(model)
    found = {name: m for name, m in model.named_modules() if isinstance(m, Layer)}
    refuse_lazy(found)
    return found


def refuse_lazy(found: Mapping[str, nn.Module]) -> None:
    """Raises CkptSurgeonError where a lazy BatchNorm has no tensors yet."""
    lazy = [name for name, layer in found.items() if _is_lazy(layer)]
    if lazy:
        raise CkptSurgeonError(
            f"{listed(lazy)}: lazy, and without a size until data has passed; "
            "run the model on one batch first"
        )


def _is_lazy(layer: nn.Module) -> bool:
    return isinstance(layer, nn.modules.lazy.LazyModuleMixin) and layer.has_uninitialized_params()


def tensors_of(layer: nn.Module) -> dict[str, Tensor]:
    """The tensors of a BatchNorm that are there, live, by part: `weight`, `running_mean`, …"""
    parts = {part: getattr(layer, part, None) for part in BATCHNORM_PARTS}
    return {part: tensor for part, tensor in parts.items() if isinstance(tensor, Tensor)}


def has_statistics(layer: nn.Module) -> bool:
    """Whether a layer has running statistics (`track_running_stats`)."""
    return {"running_mean", "running_var"} <= tensors_of(layer).keys()


def odd_forward(layer: Layer) -> str:
    """What makes a forward do more than normalise, as text; "" where nothing does.

    `timm.layers.BatchNormAct2d` is one: its activation would be lost with it.
    """
    if type(layer).forward not in _FORWARDS:
        return f"{type(layer).__name__} has a forward of its own"
    return "it has forward hooks" if has_hooks(layer) else ""


def has_hooks(module: nn.Module) -> bool:
    """Whether something of the user's runs with the module's forward or backward."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def different_eps(source: float, destination: float) -> str:
    """The message for layers whose results differ though their tensors are the same."""
    return (
        f"the source's eps is {source:g}, the destination's {destination:g}; it is in no "
        f"state_dict: set it where the destination is built, or here by `.eps = {source:g}`"
    )


def replace(model: nn.Module, new: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """The model with modules replaced in place, under all of their names.

    It is the same object, unless the model itself is one of those.
    """
    named = list(model.named_modules(remove_duplicate=False))
    for name, module in named:
        if name and module in new:
            above, _, last = name.rpartition(".")
            setattr(model.get_submodule(above), last, new[module])
    return new.get(model, model)


def refuse(problems: Iterable[str], title: str = "", advice: str = "") -> None:
    """Raises CkptSurgeonError with all problems, where there are any."""
    lines = list(problems)
    if lines:
        raise CkptSurgeonError("\n".join(filter(None, [title, *lines, advice])))


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names for an error, `layer1.bn1, layer1.bn2 and 30 more`."""
    return list_some((name or "(the model itself)" for name in names), most)
