"""Mean and squared distances of a chunk of numbers, in float64."""

from __future__ import annotations

import math

import numpy as np

from ckptsurgeon.measuring.scratch import Scratch
from ckptsurgeon.measuring.statistics import Moments
from ckptsurgeon.ops.carriers import Array


def find_moments(numbers: Array, scratch: Scratch) -> Moments:
    """Those of finite numbers, by two passes: the mean, and what lies around it.

    The rest that the rounded mean leaves is taken off the squares: Chan, Golub and LeVeque,
    Algorithms for Computing the Sample Variance (1983).
    """
    count = len(numbers)
    wide = scratch.take(np.dtype(np.float64), count)
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(wide, numbers)
        mean = _add_up(wide) / count
        if not math.isfinite(mean):  # the sum is beyond float64
            mean = float((wide / count).sum())
        np.subtract(wide, mean, out=wide)
        rest = _add_up(wide)
        squares = float(np.einsum("i,i->", wide, wide)) - rest * (rest / count)
    if not math.isfinite(squares):  # it is beyond float64, as the rest may be
        return Moments(count, float(mean), math.inf)
    return Moments(count, float(mean + rest / count), max(squares, 0.0))


def _add_up(numbers: Array) -> float:
    # einsum adds in one thread, and lets others run meanwhile: BLAS, which is faster, does neither.
    return float(np.einsum("i->", numbers))
