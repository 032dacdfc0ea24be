"""What one pass over a checkpoint's tensors has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptsurgeon.measuring.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one tensor.

    `zero_channels` are the rows of dim 0 that are all zero, of a tensor of two dims and more;
    `small` the numbers below the limit that was asked for, if one was.
    """

    statistics: Statistics
    zero_channels: int = 0
    small: int = 0


@dataclass(frozen=True, slots=True)
class Measurements:
    """What is known of tensors by key, and of the others why they have no numbers."""

    tensors: Mapping[str, Measured] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
