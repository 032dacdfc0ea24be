"""Counts that files claim: sizes, offsets, items."""

from __future__ import annotations

from typing import Any

MAX_DIMS = 64
"""Most dims of a tensor; NumPy's arrays and torch's tensors have no more."""

MOST = 1 << 63
"""No count of torch's or NumPy's reaches this."""


def is_count(value: Any) -> bool:
    """Whether a value is an integer from 0 on; true and 1.0 are none."""
    return type(value) is int and 0 <= value < MOST


def are_counts(values: Any, most: int = MAX_DIMS) -> bool:
    """Whether a value is a list or a tuple of counts, no more than so many."""
    if type(values) not in (list, tuple) or len(values) > most:
        return False
    return all(map(is_count, values))
