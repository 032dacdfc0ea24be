"""What one pass over a checkpoint's tensors has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptsurgeon.measuring.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one tensor.

    `zero_channels` are the rows of dim 0 that are all zero, of a tensor of two dims and more;
    `below` the numbers that are below each of the limits that were asked for.
    """

    statistics: Statistics
    zero_channels: int = 0
    below: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurements:
    """What is known of tensors by key, and of the others why they have no numbers."""

    tensors: Mapping[str, Measured] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
