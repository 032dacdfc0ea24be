"""What people write today where values are asked for: `value_scripts.py JOB WITH FILE`, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from safetensors import safe_open

BINS = 16

Told = dict[str, float]


def tensors(path: str) -> Iterator[tuple[str, torch.Tensor]]:
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 - a file is no dict
            yield key, file.get_tensor(key)


def tell_by_numpy(tensor: torch.Tensor) -> Told:
    numbers = tensor.float().numpy().reshape(-1)
    return {
        "min": float(numbers.min()),
        "max": float(numbers.max()),
        "mean": float(numbers.mean(dtype=np.float64)),
        "std": float(numbers.std(dtype=np.float64)),
        "zeros": int((numbers == 0).sum()),
        "nan": int(np.isnan(numbers).sum()),
        "infinite": int(np.isinf(numbers).sum()),
        "counted": int(np.histogram(numbers, BINS)[0].sum()),
    }


def tell_by_torch(tensor: torch.Tensor) -> Told:
    numbers = tensor.float()
    return {
        "min": float(numbers.min()),
        "max": float(numbers.max()),
        "mean": float(numbers.mean()),
        "std": float(numbers.std(correction=0)),
        "zeros": int((numbers == 0).sum()),
        "nan": int(numbers.isnan().sum()),
        "infinite": int(numbers.isinf().sum()),
        "counted": int(torch.histc(numbers, BINS).sum(dtype=torch.float64)),
    }


STATS: dict[str, Callable[[torch.Tensor], Told]] = {"numpy": tell_by_numpy, "torch": tell_by_torch}


def stats(library: str, path: str) -> dict[str, Told]:
    return {key: STATS[library](tensor) for key, tensor in tensors(path)}


# Sums of 33 million squares in F32 are off by up to a third of a percent, so both add in F64.


def change_by_numpy(one: torch.Tensor, other: torch.Tensor) -> Told:
    a, b = one.double().numpy().reshape(-1), other.double().numpy().reshape(-1)
    delta = b - a
    return {
        "max_delta": float(np.abs(delta).max()),
        "relative_l2": float(np.linalg.norm(delta) / np.linalg.norm(a)),
        "cosine": float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)),
        "equal": int((a == b).sum()),
    }


def change_by_torch(one: torch.Tensor, other: torch.Tensor) -> Told:
    a, b = one.double().flatten(), other.double().flatten()
    delta = b - a
    return {
        "max_delta": float(delta.abs().max()),
        "relative_l2": float(delta.norm() / a.norm()),
        "cosine": float(torch.nn.functional.cosine_similarity(a, b, dim=0)),
        "equal": int((a == b).sum()),
    }


CHANGES: dict[str, Callable[[torch.Tensor, torch.Tensor], Told]] = {
    "numpy": change_by_numpy,
    "torch": change_by_torch,
}


def diff(library: str, path: str, other: str) -> dict[str, Told]:
    pairs = zip(tensors(path), tensors(other), strict=True)
    return {key: CHANGES[library](one, two) for (key, one), (_, two) in pairs}


JOBS: dict[str, Callable[..., object]] = {"stats": stats, "diff": diff}
"""What is printed, by the library that computes and the files that are read."""


if __name__ == "__main__":
    job, *words = sys.argv[1:]
    json.dump(JOBS[job](*words), sys.stdout)
