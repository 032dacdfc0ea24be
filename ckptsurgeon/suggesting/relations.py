"""How a tensor of one shape can become one of another, by ops that the language has."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ckptsurgeon.drafting.steps import Call
from ckptsurgeon.suggesting.roles import Found, value_of

Shape = tuple[int, ...]
Roles = Mapping[str, Found]


class Tensor(NamedTuple):
    """What is known of a tensor: its shape, the last word of its key, and what its module is."""

    shape: Shape
    leaf: str
    roles: Roles


class Relation(NamedTuple):
    """Ops that make one shape of another, and a cost."""

    name: str
    calls: tuple[Call, ...] = ()
    cost: float = 0.0


SAME = Relation("same")

KERNELS = ("kernel",)
"""Leaves of Flax, Keras and TensorFlow, whose inputs stand before their outputs."""


def relate(source: Tensor, target: Tensor) -> Relation | None:
    """The best relation of two tensors; None where there is none."""
    if source.leaf in KERNELS and target.leaf not in KERNELS:
        return _relate_kernel(source, target)
    if source.shape == target.shape:
        return SAME
    return next(_relations(source, target), None)


def _relations(source: Tensor, target: Tensor) -> Iterator[Relation]:
    for find in (_transpose, _squeeze):
        found = find(source, target)
        if found is not None:
            yield found


# --- kernels --------------------------------------------------------------------------------------


def _relate_kernel(source: Tensor, target: Tensor) -> Relation | None:
    """Relations of a kernel [..., in, out] and a weight [out, in, ...]."""
    found = (find(source, target) for find in _OF_KERNELS)
    return next((one for one in found if one is not None), None)


def _turn_kernel(source: Tensor, target: Tensor) -> Relation | None:
    *space, into, out = (0, 0, *source.shape)
    space = [size for size in space if size]
    if target.shape != (out, into, *space) or len(source.shape) < 2:
        return None
    if not space:
        return Relation("transpose", (Call("transpose"),), 0.2)
    count = len(source.shape)
    dims = (count - 1, count - 2, *range(count - 2))
    return Relation("permute", (Call("permute", (("dims", dims),)),), 0.2)


def _join_heads(source: Tensor, target: Tensor) -> Relation | None:
    """Of [in, heads, head_dim], as Flax's attention has its queries, and of its output's kernel."""
    if len(source.shape) != 3 or len(target.shape) != 2:
        return None
    first, middle, last = source.shape
    is_out = "o" in (value_of(source.roles, "part"), value_of(target.roles, "part"))
    ways = (
        ("d h k -> (h k) d", (middle * last, first), not is_out),
        ("h k d -> d (h k)", (last, first * middle), is_out),
    )
    fits = [(way, meant) for way, shape, meant in ways if shape == target.shape]
    for way, _ in sorted(fits, key=lambda one: not one[1]):
        return Relation(way, (Call("rearrange", (("pattern", way),)),), 0.4)
    return None


def _keep_kernel(source: Tensor, target: Tensor) -> Relation | None:
    return SAME if source.shape == target.shape else None


_OF_KERNELS: tuple[Callable[[Tensor, Tensor], Relation | None], ...] = (
    _turn_kernel,
    _join_heads,
    _keep_kernel,
)


# --- others ---------------------------------------------------------------------------------------


def _transpose(source: Tensor, target: Tensor) -> Relation | None:
    if len(source.shape) == 2 and source.shape == target.shape[::-1]:
        return Relation("transpose", (Call("transpose"),), UNSURE)
    return None


def _squeeze(source: Tensor, target: Tensor) -> Relation | None:
    """Dims of one that come or go, as between a linear layer and a 1x1 convolution."""
    wide = [size for size in source.shape if size != 1]
    if wide != [size for size in target.shape if size != 1]:
        if len(target.shape) == 1 and math.prod(source.shape) == target.shape[0]:
            return Relation("flatten", (Call("reshape", (("shape", (-1,)),)),), 0.8)
        return None
    if len(wide) > len(NAMES):
        return None
    pattern = f"{_dims(source.shape)} -> {_dims(target.shape)}"
    moved = source.shape[:1] != target.shape[:1] and 1 in (*source.shape[:1], *target.shape[:1])
    cost = UNSURE if moved and len(wide) > 1 and wide == wide[::-1] else 0.8
    return Relation(pattern, (Call("rearrange", (("pattern", pattern),)),), cost)


UNSURE = 1.0
"""The cost of an op that no shape proves: a transpose, or channels that may change places."""


NAMES = "abcdefgh"
"""What dims are called in patterns."""


def _dims(shape: Shape) -> str:
    names = iter(NAMES)
    return " ".join("1" if size == 1 else next(names) for size in shape)


def is_square(shape: Shape) -> bool:
    """Whether a matrix looks the same when it is transposed."""
    return len(shape) == 2 and shape[0] == shape[1]
