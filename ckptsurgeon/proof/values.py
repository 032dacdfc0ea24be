"""Values that no trained network should have: NaN, infinity, zeros, memory that was never written.

Each check says what stands in the tensor, not how it came there. Training can do some of these
things too (a gate that is initialised with zeros), which is why every kind can be allowed by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptsurgeon.proof.results import Finding, Kind
from ckptsurgeon.report.values import (
    FRESH,
    STATISTICS,
    is_bias,
    last_piece,
    tell_all,
    tell_share,
)

if TYPE_CHECKING:
    from torch import Tensor

HUGE = 1e15
"""Magnitude beyond which no weight lies; memory that was never written often does."""


def check_values(state: Mapping[str, Any], parameters: Collection[str]) -> Iterator[Finding]:
    """What is wrong with the values of a state_dict, of which some keys are parameters.

    Integers, and buffers that are no statistics (masks may hold infinities), are checked for NaN
    alone.
    """
    for key, tensor in state.items():
        if (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel():
            is_weight = key in parameters
            yield from _checked(key, tensor, is_weight, is_weight or last_piece(key) in STATISTICS)
    yield from _fresh(state)


def _checked(key: str, tensor: Tensor, is_weight: bool, is_finite: bool) -> Iterator[Finding]:
    numbers = _numbers(tensor)
    if nans := int(numbers.isnan().sum()):
        yield Finding(Kind.NAN, key, f"{_share(nans, numbers)} NaN")
        return
    if not is_finite:
        return
    if infinite := int(numbers.isinf().sum()):
        yield Finding(Kind.INFINITE, key, f"{_share(infinite, numbers)} infinite")
    elif told := _garbage(numbers, tensor):
        yield Finding(Kind.GARBAGE, key, f"{told}: memory that was never written looks like this")
    elif is_weight:
        yield from _one_value(key, numbers)
    elif last_piece(key) == "running_var" and (below := int((numbers < 0).sum())):
        yield Finding(Kind.VARIANCE, key, f"{_share(below, numbers)} below zero")


def _numbers(tensor: Tensor) -> Tensor:
    """The tensor in a dtype that torch can compute with; complex numbers as pairs."""
    import torch

    plain = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return plain if plain.element_size() > 2 else plain.float()


def _share(count: int, numbers: Tensor) -> str:
    total = numbers.numel()
    return tell_share((count, count), (total, total))


def _all(numbers: Tensor, what: str) -> str:
    total = numbers.numel()
    return tell_all((total, total), what)


def _garbage(numbers: Tensor, tensor: Tensor) -> str:
    """What makes values look like leftover memory; "" where nothing does.

    float16 and float8 are narrow: trained weights do reach their subnormal numbers.
    """
    import torch

    sizes = numbers.abs()
    if (largest := float(sizes.max())) > HUGE:
        return f"the largest magnitude is {largest:.1e}"
    if tensor.dtype not in (torch.float32, torch.float64, torch.bfloat16):
        return ""
    limit = torch.finfo(numbers.dtype).tiny
    tiny = int(((sizes > 0) & (sizes < limit)).sum())
    others = int(sizes.count_nonzero()) - tiny
    return f"{_share(tiny, numbers)} subnormal" if tiny > others else ""


def _one_value(key: str, numbers: Tensor) -> Iterator[Finding]:
    """A parameter whose elements are all alike."""
    low, high = map(float, numbers.aminmax())
    if low != high or numbers.numel() == 1:
        return
    if low == 0 and not is_bias(key):
        yield Finding(Kind.ZERO, key, _all(numbers, "zero"))
    elif low != 0 and numbers.dim() > 1:
        yield Finding(Kind.CONSTANT, key, _all(numbers, f"{low:g}"))


def _fresh(state: Mapping[str, Any]) -> Iterator[Finding]:
    """BatchNorms whose statistics were neither loaded nor measured."""
    for key, mean in state.items():
        prefix, dot, last = key.rpartition(".")
        if last == "running_mean" and _is_new(mean, state.get(f"{prefix}{dot}running_var")):
            yield Finding(Kind.FRESH, key, FRESH)


def _is_new(mean: Tensor, variance: Tensor | None) -> bool:
    if variance is None or mean.numel() < 2:
        return False
    return not mean.count_nonzero() and bool((variance == 1).all())
