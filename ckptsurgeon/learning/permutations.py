"""Orders of the items of a dim, named by the op that makes them.

An order is a list of indices: item i of the result is item order[i] of what there was.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from ckptsurgeon.drafting.steps import Call, Size
from ckptsurgeon.learning.shaping import of_dim
from ckptsurgeon.learning.words import Array
from ckptsurgeon.ops.attention import FuseQkv, Layout, PermuteRope, SplitQkv
from ckptsurgeon.ops.base import Op
from ckptsurgeon.specs import TensorSpec

LAYOUTS: tuple[Layout, ...] = ("per_head", "per_group", "megatron_v1")
"""The layouts of q, k and v that are not one behind the other."""

MOST_ROWS = 1 << 16
"""Rows of which all layouts of q, k and v are tried."""

QKV = ("q", "k", "v")
"""What fused heads have."""

PARTS = "t"
"""The axis of equal parts of a dim, which are as many as the targets that take one."""

OWN = "p"
"""The name of a dim that one op opens and the next one closes."""

AXES = "abcdefgh"
"""Names of the axes of a pattern."""


def name_order(order: Array, dim: int, dims: int) -> tuple[Call, ...] | None:
    """The op that puts all items of a dim in this order; None where none is short enough."""
    size = len(order)
    if np.array_equal(order, np.arange(size)):
        return ()
    count = int(order.max()) + 1
    if count < size:
        return _name_repeat(order, count, dim)
    if np.array_equal(order, np.arange(size)[::-1]):
        return (Call("flip", of_dim(dim)),)
    for name in (_name_roll, _name_rope, _name_layout):
        if (found := name(order, dim)) is not None:
            return found
    return _name_axes(order, dim, dims)


def _name_repeat(order: Array, count: int, dim: int) -> tuple[Call, ...] | None:
    """repeat, where every item stands there as often as every other."""
    times, rest = divmod(len(order), count)
    if rest:
        return None
    given: tuple[tuple[str, int | bool], ...] = (("times", times), *of_dim(dim))
    if np.array_equal(order, np.tile(np.arange(count), times)):
        return (Call("repeat", given),)
    if np.array_equal(order, np.repeat(np.arange(count), times)):
        return (Call("repeat", (*given, ("each", True))),)
    return None


def name_take(order: Array, dim: int) -> tuple[Call, ...]:
    """The op that takes these items of a dim, one by one."""
    return (Call("take", (("indices", tuple(map(int, order))), *of_dim(dim))),)


def _name_roll(order: Array, dim: int) -> tuple[Call, ...] | None:
    size = len(order)
    shift = int(-order[0]) % size
    if not np.array_equal(order, (np.arange(size) - shift) % size):
        return None
    signed = shift - size if shift > size // 2 else shift
    return (Call("roll", (("shift", signed), *of_dim(dim))),)


def _name_rope(order: Array, dim: int) -> tuple[Call, ...] | None:
    """permute_rope, where the order is one of rotary rows."""
    size = len(order)
    if dim or size < 4 or order[0] != 0:
        return None
    to: Literal["half", "interleaved"] = "half" if order[1] == 2 else "interleaved"
    ahead = int(order[1]) if to == "interleaved" else int(np.flatnonzero(order == 1)[0])
    rotary = 2 * ahead
    for head_dim in (one for one in divisors(size) if one >= rotary):
        partial = () if head_dim == rotary else (("rotary_dim", rotary),)
        op = PermuteRope(head_dim=head_dim, to=to, rotary_dim=rotary)
        if np.array_equal(_moved(op, size), order):
            named = ("head_dim", Size(head_dim, "head_dim"))
            return (Call("permute_rope", (named, ("to", to), *partial)),)
    return None


def _moved(op: Op, *sizes: int) -> Array:
    """Where an op of rows puts them: the numbers that they come out with."""
    starts = (0, *itertools.accumulate(sizes))
    parts = tuple(
        np.arange(a, b, dtype=np.uint64) for a, b in itertools.pairwise(starts[: len(sizes) + 1])
    )
    specs = tuple(TensorSpec("U64", part.shape) for part in parts)
    return np.concatenate(op.apply(parts, specs)).astype(np.int64)


# --- q, k and v -----------------------------------------------------------------------------------


def name_split(orders: Sequence[Array], size: int) -> Call | None:
    """The split_qkv that gives three tensors these rows of a fused one."""
    if len(orders) != 3 or sum(map(len, orders)) != size:
        return None
    for layout, heads, kv_heads in _heads(len(orders[0]), len(orders[1])):
        op = SplitQkv(layout=layout, heads=heads, kv_heads=kv_heads)
        if np.array_equal(_moved(op, size), np.concatenate(orders)):
            return Call("split_qkv", _layout(layout, heads, kv_heads))
    return None


def name_fuse(order: Array, sizes: Sequence[int]) -> Call | None:
    """The fuse_qkv that puts the rows of three tensors in this order."""
    if len(sizes) != 3 or sizes[1] != sizes[2]:
        return None
    for layout, heads, kv_heads in _heads(sizes[0], sizes[1]):
        op = FuseQkv(layout=layout, heads=heads, kv_heads=kv_heads)
        if np.array_equal(_moved(op, *sizes), order):
            return Call("fuse_qkv", _layout(layout, heads, kv_heads))
    return None


def _name_layout(order: Array, dim: int) -> tuple[Call, ...] | None:
    """q, k and v taken out of their layout and put one behind the other, or the way back."""
    size = len(order)
    if dim or size > MOST_ROWS:
        return None
    for units in divisors(size):
        for kv_heads in divisors(units):
            heads = units - 2 * kv_heads
            if heads < 1 or heads % kv_heads:
                continue
            for layout in LAYOUTS:
                if (layout == "per_group") != (heads == kv_heads):
                    found = _try_layout(order, layout, heads, kv_heads)
                    if found is not None:
                        return found
    return None


def _try_layout(order: Array, layout: Layout, heads: int, kv_heads: int) -> tuple[Call, ...] | None:
    size = len(order)
    given = _layout(layout, heads, kv_heads)
    split = SplitQkv(layout=layout, heads=heads, kv_heads=kv_heads)
    if np.array_equal(_moved(split, size), order):
        return Call("split_qkv", given, OWN), Call("concat", (), OWN)
    head_dim = size // (heads + 2 * kv_heads)
    sizes = (heads * head_dim, kv_heads * head_dim, kv_heads * head_dim)
    fuse = FuseQkv(layout=layout, heads=heads, kv_heads=kv_heads)
    if np.array_equal(_moved(fuse, *sizes), order):
        flat = _layout("flat", heads, kv_heads)
        return Call("split_qkv", flat, OWN), Call("fuse_qkv", given, OWN)
    return None


def _heads(queries: int, keys: int) -> Iterator[tuple[Layout, int, int]]:
    """Layouts with the numbers of heads that rows of q and of k may have."""
    if not keys or queries % keys:
        return
    for layout in LAYOUTS:
        if (layout == "per_group") == (queries == keys):
            continue
        for kv_heads in divisors(keys):
            yield layout, kv_heads * (queries // keys), kv_heads


def _layout(layout: Layout, heads: int, kv_heads: int) -> tuple[tuple[str, str | Size], ...]:
    given: tuple[tuple[str, str | Size], ...] = (
        ("layout", layout),
        ("heads", Size(heads, "heads")),
    )
    if kv_heads != heads:
        given = (*given, ("kv_heads", Size(kv_heads, "kv_heads")))
    return given


def name_strided(order: Array, dim: int, shape: Sequence[int]) -> tuple[Call, ...]:
    """The ops that take one of several equal parts of a dim, or of each head that it has.

    Of rows [(heads, parts, head_dim)], as fused heads have theirs; nothing where items are others.
    """
    ends = np.flatnonzero(np.diff(order) != 1)
    rows = int(ends[0]) + 1 if len(ends) else len(order)
    if len(order) % rows or shape[dim] % len(order):
        return ()
    heads, parts, at = len(order) // rows, shape[dim] // len(order), int(order[0]) // rows
    grid = np.arange(shape[dim]).reshape(heads, parts, rows)
    if at >= parts or not np.array_equal(grid[:, at].reshape(-1), order):
        return ()
    before = "".join(f"{_axis_name(one)} " for one in range(dim))
    rest = " ..." if len(shape) > dim + 1 else ""
    axes = "(h t d)", "(h d)"
    given: tuple[tuple[str, str | int | Size], ...] = ((PARTS, parts),)
    if heads == 1:
        axes = "(t d)", "d"
    else:
        given += (("d", Size(rows, "head_dim" if parts == len(QKV) else "rows")),)
    pattern = f"{before}{axes[0]}{rest} -> t {before}{axes[1]}{rest}"
    return Call("rearrange", (("pattern", pattern), *given)), Call("slice", (("index", (at,)),))


# --- axes -----------------------------------------------------------------------------------------


def _name_axes(order: Array, dim: int, dims: int) -> tuple[Call, ...] | None:
    """rearrange, where the dim is a grid of which the axes are in another order."""
    axes = factorise(order)
    if axes is None or len(axes) > len(AXES):
        return None
    by_stride = sorted(axes, key=lambda axis: -axis[1])
    names = {axis: AXES[at] for at, axis in enumerate(by_stride)}
    before = [*map(_axis_name, range(dim)), f"({' '.join(names.values())})"]
    after = [*map(_axis_name, range(dim)), f"({' '.join(names[axis] for axis in axes)})"]
    rest = " ..." if dims > dim + 1 or not dim else ""
    pattern = f"{' '.join(before)}{rest} -> {' '.join(after)}{rest}"
    sizes = tuple((names[axis], Size(axis[0], names[axis])) for axis in by_stride[:-1])
    return (Call("rearrange", (("pattern", pattern), *sizes)),)


def _axis_name(dim: int) -> str:
    return f"d{dim}"


def factorise(order: Array) -> list[tuple[int, int]] | None:
    """The axes (size, stride) that an order runs over, the outermost first; None where it does not.

    Their strides are those of a dense grid of the same axes.
    """
    axes: list[tuple[int, int]] = []
    rest = np.asarray(order)
    if rest[0] != 0:
        return None
    while len(rest) > 1:
        step = int(rest[1] - rest[0])
        even = np.flatnonzero(np.diff(rest) != step)
        size = int(even[0]) + 1 if len(even) else len(rest)
        while len(rest) % size:
            size -= 1
        if step <= 0 or size < 2 or not _repeats(rest, size, step):
            return None
        axes.insert(0, (size, step))
        rest = rest[::size]
    return axes if _is_dense(axes, len(order)) else None


def _repeats(rest: Array, size: int, step: int) -> bool:
    blocks = rest.reshape(-1, size)
    return bool((blocks == blocks[:, :1] + np.arange(size) * step).all())


def _is_dense(axes: Sequence[tuple[int, int]], count: int) -> bool:
    stride = 1
    for size, step in sorted(axes, key=lambda axis: axis[1]):
        if step != stride:
            return False
        stride *= size
    return stride == count


def divisors(number: int) -> list[int]:
    """The divisors of a number, in order."""
    low = [one for one in range(1, math.isqrt(number) + 1) if number % one == 0]
    return sorted({*low, *(number // one for one in low)})


def order_between(before: Array, after: Array) -> Array | None:
    """The order in which planes stand after, of those before; None where it isn't certain."""
    if np.array_equal(before, after):
        return np.arange(len(before))
    ranks = np.argsort(before, kind="stable")
    ordered = before[ranks]
    if len(ordered) > 1 and (ordered[1:] == ordered[:-1]).any():
        return None
    places = np.searchsorted(ordered, after)
    if (places >= len(ordered)).any() or (
        ordered[np.minimum(places, len(ordered) - 1)] != after
    ).any():
        return None
    found: Array = ranks[places]
    return found
