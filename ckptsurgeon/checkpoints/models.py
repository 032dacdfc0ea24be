"""Checkpoints that are models in memory: the tensors of an `nn.Module` by key."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptsurgeon.checkpoints.memory import MemoryCheckpoint, checkpoint_of
from ckptsurgeon.checkpoints.planting import is_model
from ckptsurgeon.checkpoints.tensors import is_torch
from ckptsurgeon.cutting import list_some
from ckptsurgeon.errors import CheckpointError
from ckptsurgeon.wanted import kind_of

if TYPE_CHECKING:
    from torch import nn

MOST_LAYERS = 5
"""Lazy layers that an error names."""


def open_model(model: nn.Module) -> MemoryCheckpoint:
    """The checkpoint over a model's own tensors, without what wraps it."""
    inner = unwrapped(model)
    return checkpoint_of_model(state_of(inner), name_model(inner))


def name_model(model: nn.Module) -> str:
    """What reports call a model."""
    return f"<{type(model).__name__}>"


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside DistributedDataParallel, DataParallel and `torch.compile`."""
    from torch.nn.parallel import DataParallel, DistributedDataParallel

    require_model(model)
    while True:
        if isinstance(model, DistributedDataParallel | DataParallel):
            model = model.module
        elif is_compiled(model):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def require_model(value: object) -> None:
    """Raises CheckpointError for what is given where a model is wanted."""
    if is_model(value):
        return
    next_step = ""
    if isinstance(value, type):
        next_step = f"; make one: `{value.__name__}()`"
    elif isinstance(value, str | os.PathLike):
        next_step = "; `modules.load(model, path)` puts a checkpoint into one"
    elif isinstance(value, Mapping):
        next_step = "; `modules.load(model, state_dict)` puts one into it"
    found = f"{kind_of(value)} where a model is wanted: an instance of an nn.Module"
    raise CheckpointError(found + next_step)


def is_compiled(model: nn.Module) -> bool:
    """Whether a model is what `torch.compile(model)` gives."""
    return "_orig_mod" in model._modules


def state_of(model: nn.Module) -> Mapping[str, Any]:
    """The tensors of `model.state_dict()` themselves, not detached, with its `_metadata`.

    Tied parameters are one object. Extra state that is no tensor is left out. Raises
    CheckpointError for lazy layers that have no shapes yet.
    """
    whole: Any = model.state_dict(keep_vars=True)
    _refuse_lazy(model, whole)
    state: Any = OrderedDict((key, value) for key, value in whole.items() if is_torch(value))
    state._metadata = whole._metadata
    return state  # type: ignore[no-any-return]


def _refuse_lazy(model: nn.Module, state: Mapping[str, Any]) -> None:
    from torch.nn.parameter import is_lazy

    lazy = sorted({key.rpartition(".")[0] for key, value in state.items() if is_lazy(value)})
    if lazy:
        names = list_some((f"`{name}`" for name in lazy), MOST_LAYERS)
        raise CheckpointError(
            f"{type(model).__name__} has lazy layers without shapes: {names}; run a batch through "
            "it first"
        )


def checkpoint_of_model(
    state: Mapping[str, Any], name: str, *, shapes_only: bool = False
) -> MemoryCheckpoint:
    """The checkpoint over a state of `state_of`, called `name` in reports."""
    return replace(checkpoint_of(state, shapes_only=shapes_only), path=Path(name))
