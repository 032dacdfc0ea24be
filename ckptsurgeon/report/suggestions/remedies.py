"""What makes a tensor of another shape fit: slices and turns, or the op that resizes its kind."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ckptsurgeon.report.suggestions.model import Keys, Mismatch

Shape = tuple[int, ...]

PREFIX_TOKENS = (1, 0, 2)
"""Class and distillation tokens in front of a position embedding's grid; the likeliest first."""

EXTRA_ROWS = (0, 3)
"""Rows behind a table of relative positions: Swin has none, BEiT three."""

SMALLEST_PATCH = 8
"""Kernels of this size cut patches; smaller ones do where the key's name says so."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What makes a shape fit: slices behind the source or the target, or an op; and its reason.

    `besides` tells of another way; `exact` that all elements stay, and none comes in.
    """

    reason: str
    source_slice: str = ""
    target_slice: str = ""
    op: str = ""
    besides: str = ""
    exact: bool = False


def find_resize(one: Mismatch) -> Remedy | None:
    """The op for a tensor that knows places in an image, of another grid, window or patch."""
    key, found, wanted = one.key.lower(), one.found.shape, one.wanted.shape
    if len(found) != len(wanted) or found == wanted or not one.found.floating:
        return None
    if "rel_pos" in key or "relative_position" in key:
        return _resized_table(found, wanted)
    if "pos" in key:
        return _resized_grid(found, wanted)
    return _resized_patch(key, found, wanted)


def _resized_table(found: Shape, wanted: Shape) -> Remedy | None:
    if len(found) != 2 or found[1] != wanted[1]:
        return None
    for extra in EXTRA_ROWS:
        sides = [_side(shape[0] - extra) for shape in (found, wanted)]
        if all(side % 2 for side in sides):
            old, new = ((side + 1) // 2 for side in sides)
            reason = f"relative positions of a window of {old} instead of {new}, resize them"
            return Remedy(reason, op="resize_rel_pos_bias")
    return None


def _resized_grid(found: Shape, wanted: Shape) -> Remedy | None:
    if len(found) not in (2, 3) or found[-1] != wanted[-1] or found[:-2] != wanted[:-2]:
        return None
    if len(found) == 3 and found[0] != 1:
        return None
    for prefix in PREFIX_TOKENS:
        old, new = (_side(shape[-2] - prefix) for shape in (found, wanted))
        if old and new:
            reason = f"places of a grid of {old} x {old} instead of {new} x {new}, resize it"
            op = "resize_pos_embed"
            return Remedy(
                reason, op=op if prefix == 1 else f"{{{op}: {{prefix_tokens: {prefix}}}}}"
            )
    return None


def _resized_patch(key: str, found: Shape, wanted: Shape) -> Remedy | None:
    if len(found) != 4 or found[:2] != wanted[:2]:
        return None
    old, new = found[2], wanted[2]
    if found[3] != old or wanted[3] != new or min(old, new) < 1:
        return None
    if "patch" not in key and min(old, new) < SMALLEST_PATCH:
        return None
    reason = f"patches of {old} x {old} instead of {new} x {new}, resample the kernel"
    return Remedy(reason, op="resample_patch_embed")


def _side(places: int) -> int:
    """The side of the square of so many places; 0 where there is none."""
    side = math.isqrt(max(0, places))
    return side if side * side == places else 0


def find_remedy(one: Mismatch, keys: Keys) -> Remedy | None:
    """What would make the shape fit by moving elements alone, where the shapes allow one guess."""
    found, wanted = one.found.shape, one.wanted.shape
    if len(found) == 2 and found == wanted[::-1]:
        return Remedy("transposed", op="transpose", exact=True)
    if [n for n in found if n != 1] == [n for n in wanted if n != 1]:
        return Remedy("other dims of size 1", op=f"{{reshape: {list(wanted)}}}", exact=True)
    if len(found) != len(wanted):
        return None
    dims = [dim for dim, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b]
    return _part(one, dims[0], keys) if len(dims) == 1 else None


def _part(one: Mismatch, dim: int, keys: Keys) -> Remedy | None:
    """The part that both have, where the sizes differ in one dim."""
    found, wanted = one.found.shape, one.wanted.shape
    part = f"[{', '.join([':'] * dim + [f':{min(found[dim], wanted[dim])}'])}]"
    sizes = f"{found[dim]} instead of {wanted[dim]} in dim {dim}"
    channels = len(found) > 2 and dim == 1 and one.found.floating and min(found[1], wanted[1]) > 0
    more = "; or the op `adapt_input_channels`, to fit all in" if channels else ""
    if found[dim] > wanted[dim]:
        return Remedy(f"{sizes}, take a part", source_slice=part, besides=more)
    if keys.has_values and found[dim]:
        reason = f"{sizes}, fill a part and keep the rest"
        return Remedy(reason, target_slice=part, besides=more.replace("fit all in", "fill all"))
    if channels:
        return Remedy(f"{sizes}, repeat and rescale the channels", op="adapt_input_channels")
    return None
