"""Values for state dicts: all different, those of fresh weights, and rounded ones."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import ml_dtypes
import numpy as np

from known_conversions.shapes import Shapes

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
Sources = dict[str, Arrays]
"""Alias -> state dict; "" is the source without a name."""

STEPS = 1 << 22
"""Values to draw from. Each is exact in float32, and so is each plus one."""

INTEGERS = ("num_batches_tracked", "position_ids", "relative_position_index", "queue_ptr")
"""Last pieces of keys whose tensors are I64."""


def empty(shapes: Shapes, dtype: str = "float32") -> Arrays:
    """Arrays of these shapes, the counters and indices among them of integers; all are zero."""
    kinds = {key: "int64" if key.endswith(INTEGERS) else dtype for key in shapes}
    return {key: np.zeros(shape, kinds[key]) for key, shape in shapes.items()}


def fill(sources: Mapping[str, Arrays], seed: int, same: tuple[str, ...] = ()) -> Sources:
    """Sources of these keys, shapes and dtypes whose elements all differ, as far as dtypes allow.

    Keys that a glob of `same` matches have one value in all sources. A running_var is above 1, all
    else between -1 and 1. float32 and wider hold four million values; booleans are random.
    """
    generator = np.random.default_rng(seed)
    count = sum(array.size for arrays in sources.values() for array in arrays.values())
    values = generator.choice(STEPS, count, replace=False)
    filled: Sources = {}
    known: Arrays = {}
    place = 0
    for alias, arrays in sources.items():
        filled[alias] = {}
        for key, array in arrays.items():
            drawn = values[place : place + array.size].reshape(array.shape)
            place += array.size
            made = _valued(key, drawn, array.dtype)
            if any(fnmatchcase(key, glob) for glob in same):
                made = known.setdefault(key, made)
            filled[alias][key] = made
    return filled


def _valued(key: str, drawn: Array, dtype: np.dtype[Any]) -> Array:
    """Whole numbers below STEPS as values of the dtype that stand for a key."""
    if dtype == np.bool_:
        return (drawn % 2).astype(dtype)
    if np.issubdtype(dtype, np.integer):
        return drawn.astype(dtype)
    sizes = (drawn + 1) / STEPS
    if key.endswith("running_var"):
        return (sizes + 1).astype(dtype)
    return np.where(drawn % 2 == 1, sizes, -sizes).astype(dtype)


def fresh(source: Arrays, seed: int) -> Arrays:
    """The state dict as a network that was never trained has it: norms and biases are alike.

    Weights of norms and running_var are one, biases, running_mean and counters zero; all the rest
    is random.
    """
    return reset(fill({"": source}, seed)[""])


def reset(source: Arrays) -> Arrays:
    """The state dict with norms, biases and counters as in a network that was never trained."""
    return {key: _reset(key, array) for key, array in source.items()}


ONES = ("running_var", "moving_variance", "scale", "gamma", "lambda1")
ZEROS = ("bias", "beta", "running_mean", "moving_mean", "num_batches_tracked")


def _reset(key: str, array: Array) -> Array:
    if key.endswith(ONES) or (key.endswith("weight") and array.ndim == 1):
        return np.ones_like(array)
    return np.zeros_like(array) if key.endswith(ZEROS) else array


def rounded(converted: Arrays) -> Arrays:
    """The state dict in BF16, in which many values are alike; what is not floating stays."""
    return {key: _round(array) for key, array in converted.items()}


def _round(array: Array) -> Array:
    return array.astype(ml_dtypes.bfloat16) if np.issubdtype(array.dtype, np.floating) else array
