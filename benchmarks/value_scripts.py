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


JOBS: dict[str, Callable[..., object]] = {"stats": stats}
"""What is printed, by the library that computes and the files that are read."""


if __name__ == "__main__":
    job, *words = sys.argv[1:]
    json.dump(JOBS[job](*words), sys.stdout)
