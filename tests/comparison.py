"""What tests compare tensors by: equal bytes for what moves, counted roundings for what computes.

`+`, `-`, `*`, `/`, the square root and a cast of one item have one right answer (IEEE 754), on any
processor. Products of matrices, convolutions, interpolation, sums of three and more, exp and their
like have none: processors, thread counts and libraries add up in other orders, and round a product
before it is added or not. Networks' outputs are held against `torch.testing.assert_close`.
"""

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


def assert_rounded_alike(
    found: Tensor,
    wanted: Tensor,
    roundings: int,
    terms: Tensor | float | None = None,
    *,
    computed_in: torch.dtype | None = None,
) -> None:
    """Fails where two results of one formula are further apart than their roundings explain.

    A rounding errs by half an eps of what is rounded; `roundings` are those on the way to one item
    (K for a sum of K products), which two sides may do otherwise; `terms` are the sizes of what is
    added up, where that may cancel: the sizes of `wanted` unless given. The numbers on the way are
    float32, float64 where `found` is, unless `computed_in` says so. A narrower `found` is rounded
    once more: by half a unit of its last place, which a `wanted` of its dtype has been, too.
    """
    assert found.shape == wanted.shape
    assert wanted.dtype in (found.dtype, torch.float64)
    exact = wanted.detach().double()
    sizes = exact.abs() if terms is None else torch.as_tensor(terms).detach().double().abs()
    wide = computed_in or (torch.float64 if found.dtype == torch.float64 else torch.float32)
    limit = roundings * torch.finfo(wide).eps * sizes
    if torch.finfo(found.dtype).bits < torch.finfo(wide).bits:
        limit = limit + last_place(exact, found.dtype) * (1 if wanted.dtype == found.dtype else 0.5)
    difference = (found.detach().double() - exact).abs()
    beyond = ~(difference <= limit)
    assert not beyond.any(), (
        f"{int(beyond.sum())} of {beyond.numel()} items differ,"
        f" by up to {float((difference / limit).max()):.3g} times their roundings"
    )


def last_place(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """The distance of neighbours in the dtype, at each of the numbers."""
    limits = torch.finfo(dtype)
    sizes = numbers.abs().clamp_min(limits.smallest_normal)
    return torch.exp2(torch.frexp(sizes).exponent.double() - 1) * limits.eps
