"""Ops applied to torch tensors, and parts of timm as oracles."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch

from ckptsurgeon.checkpoints.memory import checkpoint_of
from ckptsurgeon.checkpoints.tensors import to_torch
from ckptsurgeon.ops import build


def applied(name: str, parameters: Mapping[str, object], *tensors: torch.Tensor) -> torch.Tensor:
    """What the op makes of the tensors; its spec is checked against what was inferred."""
    (made,) = results(name, parameters, *tensors)
    return made


def results(
    name: str, parameters: Mapping[str, object], *tensors: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """All that the op makes of the tensors."""
    held = checkpoint_of({str(number): tensor for number, tensor in enumerate(tensors)})
    specs = tuple(held.contents.specs.values())
    op = build(name, parameters)
    arrays = op.apply(tuple(map(held.read, held.contents.specs)), specs)
    made: Any = tuple(
        to_torch(array, spec, "cpu") for array, spec in zip(arrays, op.infer(specs), strict=True)
    )
    return made  # type: ignore[no-any-return]


def timm_module(name: str) -> ModuleType:
    """One module of timm, without the packages around it, which need torchvision."""
    with patch.dict(sys.modules):
        for package in ("timm", "timm.layers", "timm.models"):
            spec = importlib.util.find_spec(package)
            assert spec is not None
            sys.modules[package] = importlib.util.module_from_spec(spec)
        sys.modules["timm.layers"].use_reentrant_ckpt = None  # type: ignore[attr-defined]
        return importlib.import_module(name)
