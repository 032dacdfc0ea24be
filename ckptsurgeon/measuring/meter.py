"""A stretch of one tensor measured, run by run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ckptsurgeon.measuring import tallies
from ckptsurgeon.measuring.channels import Rows, find_rows, skip_rows
from ckptsurgeon.measuring.gauge import Gauge
from ckptsurgeon.measuring.numbers import read_numbers, to_floats
from ckptsurgeon.measuring.scratch import Scratch
from ckptsurgeon.measuring.statistics import Statistics
from ckptsurgeon.measuring.tallies import Tally
from ckptsurgeon.ops.carriers import Array
from ckptsurgeon.ops.ranges import BEYOND_F64, COMPLEX, INTEGER_RANGES
from ckptsurgeon.specs import BITS, TensorSpec, number_width


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is known of the numbers of a tensor from place `at` on; `below` as in Measured."""

    at: int
    statistics: Statistics
    rows: tuple[Rows, ...]
    below: tuple[int, ...]


class Meter:
    """Measures `count` numbers of a tensor from place `at` on; those below `limits` are counted."""

    def __init__(
        self, spec: TensorSpec, at: int, count: int, limits: Sequence[float], scratch: Scratch
    ) -> None:
        self._code, self._first, self._at = spec.dtype, at, at
        self._row = _numbers_of_row(spec)
        is_short = BITS[spec.dtype] <= tallies.WIDEST and not limits
        is_tallied = is_short and count >= tallies.FEWEST
        self._tally = Tally(spec.dtype, scratch) if is_tallied else None
        self._gauge, self._rows = Gauge(scratch), list[Rows]()
        self._below = dict.fromkeys(limits, 0)
        self._range: tuple[int, int] | None = None

    def add(self, run: Array) -> None:
        """Takes in the bytes of a chunk, which ends between items."""
        count = len(run) // number_width(self._code)
        zeros = self._measure(run) if self._tally is None else self._tally.add(run)
        if self._row > 1:
            rows = self._find_rows(run) if zeros else skip_rows(count, self._at, self._row)
            self._rows.append(rows)
        if self._code in BEYOND_F64:
            self._note_range(read_numbers(run, self._code))
        self._at += count

    def _measure(self, run: Array) -> int:
        """Computes with the numbers of a chunk; how many of them are zero."""
        numbers = to_floats(run, self._code)
        for limit in self._below:
            self._below[limit] += int(np.count_nonzero(numbers < limit))
        return self._gauge.add(numbers)

    def _find_rows(self, run: Array) -> Rows:
        return find_rows(to_floats(run, self._code) == 0, self._at, self._row)

    def _note_range(self, integers: Array) -> None:
        least, most = int(integers.min()), int(integers.max())
        known = self._range or (least, most)
        self._range = min(least, known[0]), max(most, known[1])

    @property
    def stretch(self) -> Stretch:
        """What is known of all runs."""
        found = (self._tally or self._gauge).statistics
        if self._code in INTEGER_RANGES and found.least is not None:
            least, most = self._range or (int(found.least), int(found.most or 0))
            found = replace(found, least=least, most=most)
        rows = [Rows(found.zeros)] if self._row == 1 else self._rows
        return Stretch(self._first, found, tuple(rows), tuple(self._below.values()))


def _numbers_of_row(spec: TensorSpec) -> int:
    """The numbers of one index of dim 0; 0 of a tensor of less than two dims."""
    if len(spec.shape) < 2:
        return 0
    return math.prod(spec.shape[1:]) * (2 if spec.dtype in COMPLEX else 1)
