"""Tensors of one name and another size: grids of positions, channels of images, other heads."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from ckptsurgeon.drafting.steps import Call, Degree, Grid, Step
from ckptsurgeon.suggesting.names import cut_leaf
from ckptsurgeon.suggesting.roles import roles_of, value_of
from ckptsurgeon.suggesting.units import Shape, Specs

CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")
"""Last names of the token that stands before an image's: positions may have one more for it."""

RGB = 3

MOST_ALONE = 100
"""Keys left on one side among which pairs are looked for."""


class Resized(NamedTuple):
    """A step for a tensor of another size, or what is to be asked of it."""

    step: Step | None
    asked: str = ""


def find_resized(
    pairs: Mapping[str, str], source: Specs, target: Specs
) -> Iterator[tuple[str, Resized]]:
    """What becomes of target keys whose source key has another shape; `pairs` are by target."""
    tokens = _has_class(source), _has_class(target)
    for key, own in pairs.items():
        shapes = source[own].shape, target[key].shape
        found = next(
            (
                one
                for one in (
                    _positions(own, key, *shapes, tokens),
                    _channels(own, key, *shapes),
                    _reshaped(own, key, *shapes),
                )
                if one is not None
            ),
            Resized(None, _tell(own, *shapes)),
        )
        yield key, found


def pair_alone(source: Specs, target: Specs) -> dict[str, str]:
    """Target keys whose shape differs in one dim from that of one source key alone, and it of them.

    Vectors tell too little, and where there are many of either nobody can say which is which.
    """
    fits: dict[str, list[str]] = {}
    takers: Counter[str] = Counter()
    if min(len(source), len(target)) > MOST_ALONE:
        return {}
    for key, spec in target.items():
        fits[key] = [own for own in source if _differ_in_one(source[own].shape, spec.shape)]
        takers.update(fits[key])
    pairs = {
        key: some[0]
        for key, some in fits.items()
        if len(some) == 1 and takers[some[0]] == 1 and cut_leaf(key)[2] == cut_leaf(some[0])[2]
    }
    modules = {cut_leaf(key)[0]: cut_leaf(own)[0] for key, own in pairs.items()}
    leaves = {(module, kind): own for own in source for module, _, kind in (cut_leaf(own),)}
    for key in target:
        module, _, kind = cut_leaf(key)
        own = leaves.get((modules.get(module, ""), kind))
        if own is not None:
            pairs.setdefault(key, own)
    return pairs


def _differ_in_one(shape: Shape, wanted: Shape) -> bool:
    if len(shape) != len(wanted) or len(shape) < 2:
        return False
    return sum(one != other for one, other in zip(shape, wanted, strict=True)) == 1


def _has_class(specs: Collection[str]) -> bool:
    return any(key.rpartition(".")[2] in CLASS_TOKENS for key in specs)


def _step(own: str, key: str, call: Call, remark: str) -> Resized:
    step = Step(Grid((own,)), Grid((key,)), (call,), degree=Degree.LIKELY, remark=remark)
    return Resized(step)


def _tell(own: str, shape: Shape, wanted: Shape) -> str:
    return f"{own} is {list(shape)}, here {list(wanted)} is wanted"


# --- positions ------------------------------------------------------------------------------------


def _positions(
    own: str, key: str, shape: Shape, wanted: Shape, tokens: tuple[bool, bool]
) -> Resized | None:
    """The grid of an image's positions for another grid; other tables are asked about."""
    roles = {value_of(roles_of(cut_leaf(one)[0]), "embed") for one in (own, key)}
    if roles != {"position"}:
        return None
    if len(shape) != len(wanted) or shape[-1] != wanted[-1] or len(shape) < 2:
        return None
    count, to = shape[-2], wanted[-2]
    told = f"{count} positions there, {to} here"
    if tokens[0] and not tokens[1] and count == to + 1:
        slice = "[:, 1:]" if len(shape) == 3 else "[1:]"
        return Resized(None, f"{told}: without the class token {own}{slice}")
    prefix = 1 if all(tokens) else 0
    sides = _side(count - prefix), _side(to - prefix)
    is_grid = len(shape) == 3 and shape[0] == wanted[0] == 1
    if not is_grid or None in sides or tokens[0] != tokens[1]:
        return Resized(None, f"{told}: resize_pos_embed, a slice, or its own?")
    side = sides[1]
    given = (("to", (side, side)), *((("prefix_tokens", prefix),) if prefix != 1 else ()))
    call = Call("resize_pos_embed", given)
    return _step(own, key, call, f"{told}: timm resizes with antialias, transformers without")


def _side(count: int) -> int | None:
    side = math.isqrt(max(0, count))
    return side if side and side * side == count else None


# --- channels and others --------------------------------------------------------------------------


def _channels(own: str, key: str, shape: Shape, wanted: Shape) -> Resized | None:
    """The first layer of an image network for other channels."""
    others = (shape[:1] + shape[2:], wanted[:1] + wanted[2:])
    if len(shape) != 4 or len(wanted) != 4 or others[0] != others[1]:
        return None
    channels, to = shape[1], wanted[1]
    told = f"{channels} channels there, {to} here"
    if channels == RGB or (channels == 1 and to == RGB):
        call = Call("adapt_input_channels", (("to", to),))
        part = f"; or a part, {own}[:, :{to}]" if to < channels else ""
        return _step(own, key, call, f"{told}, as timm does it{part}")
    if channels == RGB + 1 and to == RGB:
        step = Step(
            Grid((own,)),
            Grid((key,)),
            index=((None, None, None), (None, to, None)),
            degree=Degree.LIKELY,
            remark=f"{told}: the first {to}, if colours come first",
        )
        return Resized(step)
    return Resized(None, f"{told}: adapt_input_channels, a slice, or take with their order?")


def _reshaped(own: str, key: str, shape: Shape, wanted: Shape) -> Resized | None:
    """The same numbers in other dims, under one name."""
    if math.prod(shape) != math.prod(wanted) or len(shape) == len(wanted):
        return None
    call = Call("reshape", (("shape", wanted),))
    return _step(own, key, call, "as many elements in other dims: their order can't be seen")
