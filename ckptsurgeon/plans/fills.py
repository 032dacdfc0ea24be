"""Whether a tensor that `init` makes can be made: its dtype must hold every number of its fill."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ckptsurgeon.errors import ShapeError
from ckptsurgeon.ops.base import MAX_DIMS, MAX_MADE_BYTES
from ckptsurgeon.ops.ranges import INTEGER_RANGES, lacks
from ckptsurgeon.plans.graph import Made
from ckptsurgeon.specs import MAX_BYTES, human_bytes

FARTHEST = 13
"""No draw is further from 0, in deviations: its uniform numbers are no finer than 2**-53."""

NUMBERS = {"zeros": (0,), "ones": (1,), "eye": (0, 1)}
"""The numbers that stand in a tensor, by the word that fills it."""


def numbers_of(fill: str | int | float) -> tuple[int | float, ...]:
    """The numbers that stand in a tensor; none where they are drawn, or the word is not known."""
    return NUMBERS.get(fill, ()) if isinstance(fill, str) else (fill,)


def check_made(made: Made) -> Made:
    """The tensor itself, if it can be made; raises ShapeError, which says why it can't."""
    for reason in _reasons(made):
        raise ShapeError(reason)
    return made


def _reasons(made: Made) -> Iterator[str]:
    """Why a tensor can't be made."""
    key, spec, fill = made.key, made.spec, made.fill
    if spec.carrier is None:
        yield f"`{key}` can't be made: {spec.dtype} items are smaller than a byte"
    if fill == "eye" and len(spec.shape) != 2:
        yield f"`fill: eye` makes a matrix, `{key}` is {spec}"
    if spec.nbytes > MAX_MADE_BYTES:
        yield f"`{key}` would be {spec}, which is {human_bytes(spec.nbytes)}"
    elif len(spec.shape) > MAX_DIMS:
        yield f"`{key}` would have {len(spec.shape)} dims; {MAX_DIMS} is the most that are made"
    # An empty tensor has no bytes, yet NumPy counts the other dims' sizes all the same.
    elif math.prod(filter(None, spec.shape)) > MAX_BYTES // 16:
        yield f"`{key}` would be {spec}, which no array can be"
    if made.seed < 0:
        yield f"`seed` takes an integer from 0, found {made.seed}"
    if made.seed >= 2**64:
        yield "`seed` takes an integer below 2**64"
    if not 0 <= made.std < math.inf:
        yield f"`std` takes a number from 0, found {made.std}"
    for reason in _misfits(made):
        advice = "give another number, or another `dtype`"
        yield f"`fill: {fill}` can't fill `{key}`, {spec}: {reason}; {advice}"


def _misfits(made: Made) -> Iterator[str]:
    """Why numbers of the fill can't stand in the dtype."""
    dtype = made.spec.dtype
    if made.fill == "normal":
        if dtype in INTEGER_RANGES:
            yield "its numbers have fractions"
        elif reason := lacks(dtype, made.std * FARTHEST) or lacks(dtype, -made.std * FARTHEST):
            yield f"with `std: {made.std}` its numbers {reason}"
        return
    numbers = numbers_of(made.fill)
    if not numbers:
        yield "the word is not known"
    for number in numbers:
        if reason := lacks(dtype, number):
            yield f"{number} {reason}"
