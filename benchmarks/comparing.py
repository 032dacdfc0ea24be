"""Two checkpoints held against each other: `comparing.py ONE OTHER`; tells differences, exits 1."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file


def load(path: Path) -> dict[str, torch.Tensor]:
    """All tensors by key, as far as they can without being read yet."""
    if path.is_dir():
        parts = (load(part) for part in sorted(path.glob("*.safetensors")))
        return {key: tensor for part in parts for key, tensor in part.items()}
    if path.suffix == ".safetensors":
        return load_file(path)
    loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    nested: dict[str, torch.Tensor] = loaded.get("state_dict", loaded)
    return nested


def differences(one: Path, other: Path) -> Iterator[str]:
    """The keys that only one has, and those whose dtype, shape or a bit of the value differ."""
    ours, theirs = load(one), load(other)
    yield from sorted(ours.keys() ^ theirs.keys())
    for key in sorted(ours.keys() & theirs.keys()):
        a, b = ours[key], theirs[key]
        if a.dtype != b.dtype or a.shape != b.shape or not _same_bits(a, b):
            yield key


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    flat = (tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return torch.equal(*flat)


if __name__ == "__main__":
    found = list(differences(Path(sys.argv[1]), Path(sys.argv[2])))
    print("\n".join(found))
    sys.exit(bool(found))
