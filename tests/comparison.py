"""Equality to the byte, for state dicts and for checkpoint files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor


def load(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or `.pt` file, read by the libraries that own the formats."""
    if path.suffix == ".safetensors":
        return load_file(path)
    tensors: dict[str, Tensor] = torch.load(path, weights_only=True, mmap=True)
    return tensors


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether dtype, shape and every byte agree (so that NaN equals itself)."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    flat = [tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
    return torch.equal(*flat)


def assert_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Fails with the names of keys that are missing, unexpected or differ."""
    missing, unexpected = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    assert (missing, unexpected) == (set(), set())
    assert [key for key in wanted if not same_bits(found[key], wanted[key])] == []
