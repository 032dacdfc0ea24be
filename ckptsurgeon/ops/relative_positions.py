"""The op resize_rel_pos_bias: tables of relative position biases made for another window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from ckptsurgeon.ops.base import larger_spec, only
from ckptsurgeon.ops.computing import Resizing, narrow, refuse_all_but_real, widen
from ckptsurgeon.ops.positions import Grid, check_grid, resize_rows, square
from ckptsurgeon.specs import Specs, TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays

MAX_SIDE = 1023
"""Greatest height and width of a table that is sampled: a window of 512."""

EXTRA_ROWS = (0, 3)
"""Rows behind a table's window: Swin has none; BEiT's are class to token, token to class, class."""


class ResizeRelPosBias(Resizing, frozen=True, kw_only=True):
    """table[(2h-1) * (2w-1) + extra, heads] or [heads, 2h-1, 2w-1] -> the same for another window.

    `to` is the number of rows that results, or its window [h, w]; `window` is the one that there
    is, if it is not square. BEiT's three extra rows are kept as they are. `geometric` samples near
    places more densely, as timm's resize_rel_pos_bias_table and BEiT do; `bicubic` as timm's
    resize_rel_pos_bias_table_simple, `bilinear` as BEiT of transformers.
    """

    name: ClassVar[str] = "resize_rel_pos_bias"
    first: ClassVar[str | None] = "to"
    sized: ClassVar[tuple[str, ...]] = ("to", "window")

    to: int | Grid | None = None
    window: Grid | None = None
    how: Literal["geometric", "bicubic", "bilinear"] = "geometric"

    def __post_init__(self) -> None:
        check_grid(self, "window", self.window)
        if not isinstance(self.to, int):
            check_grid(self, "to", self.to)

    def size_in(self, wanted: TensorSpec) -> object:
        if len(wanted.shape) == 3:
            height, width = wanted.shape[1:]
            return (height + 1) // 2, (width + 1) // 2
        return wanted.shape[0] if wanted.shape else None

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        if len(spec.shape) not in (2, 3):
            raise self.error("takes tables of [places, heads] or [heads, height, width]", specs)
        new, extra = self._new(specs), self._extra(specs)
        if max(*new, *self._old(specs)) > MAX_SIDE:
            raise self.error(f"a table of more than {MAX_SIDE} on a side can't be resized", specs)
        refuse_all_but_real(self, specs)
        if len(spec.shape) == 3:
            return (larger_spec(self, spec.dtype, (spec.shape[0], *new), specs),)
        return (larger_spec(self, spec.dtype, (math.prod(new) + extra, spec.shape[1]), specs),)

    def _old(self, specs: Specs) -> Grid:
        """Height and width of the table."""
        shape = specs[0].shape
        if len(shape) == 3:
            self._check_window(specs)
            return shape[1], shape[2]
        if self.window is not None:
            return _table(self.window)
        return self._square(shape[0], "window", specs)[0]

    def _check_window(self, specs: Specs) -> None:
        height, width = specs[0].shape[1:]
        if not height % 2 or not width % 2:
            raise self.error("the height and width of a table must be odd", specs)
        if self.window is not None and _table(self.window) != (height, width):
            raise self.error(f"the table is not that of a window of {list(self.window)}", specs)

    def _extra(self, specs: Specs) -> int:
        """How many rows behind the window's stay as they are."""
        height, width = self._old(specs)
        if len(specs[0].shape) == 3:
            return 0
        extra = specs[0].shape[0] - height * width
        if extra not in EXTRA_ROWS:
            raise self.error(
                f"a window of {list(self.window or ())} has {height * width} rows, or 3 more",
                specs,
            )
        return extra

    def _new(self, specs: Specs) -> Grid:
        """Height and width of the table that results."""
        if self.to is None:
            raise self.error("needs `to`, the number of rows or the window that results", specs)
        if not isinstance(self.to, int):
            return _table(self.to)
        if len(specs[0].shape) == 3:
            raise self.error("needs `to` as a window [h, w] for a table of 3 dims", specs)
        table, extra = self._square(self.to, "to", specs)
        if extra != self._extra(specs):
            raise self.error(
                f"{self.to} rows would have {extra} extra ones, the table has"
                f" {self._extra(specs)}; give `to` as a window [h, w]",
                specs,
            )
        return table

    def _square(self, rows: int, name: str, specs: Specs) -> tuple[Grid, int]:
        """The square table of so many rows and the extra rows, of which one answer can be true."""
        for extra in EXTRA_ROWS:
            table = square(rows - extra)
            if table is not None and table[0] % 2:
                return table, extra
        raise self.error(
            f"{rows} rows are no table of a square window, with or without 3 extra rows;"
            f" give `{name}` as a window [h, w]",
            specs,
        )

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (result,) = self.infer(specs)
        old, new = self._old(specs), self._new(specs)
        if old == new:
            return arrays
        if len(result.shape) == 3:
            rows = arrays[0].reshape(result.shape[0], -1).T
            return (self._resize(rows, old, new, result.dtype).T.reshape(result.shape),)
        import numpy as np

        count = math.prod(old)
        made = self._resize(arrays[0][:count], old, new, result.dtype)
        return (np.concatenate([made, arrays[0][count:]]),)

    def _resize(self, rows: Array, old: Grid, new: Grid, dtype: str) -> Array:
        """[places, heads] of a carrier, resized."""
        numbers = widen(rows, dtype)
        if self.how == "geometric":
            made = _geometric(numbers, old, new)
        else:
            made = resize_rows(numbers, old, new, self.how, antialias=False)
        return narrow(made, dtype)


def _table(window: Grid) -> Grid:
    return 2 * window[0] - 1, 2 * window[1] - 1


# --- geometric sampling, after BEiT ---------------------------------------------------------------


def _geometric(numbers: Array, old: Grid, new: Grid) -> Array:
    """[places, heads] sampled linearly between places whose distances grow by a constant factor."""
    import numpy as np

    values = numbers.reshape(*old, -1)
    sides = [_sample(*sizes, numbers.dtype.type) for sizes in zip(old, new, strict=True)]
    (tops, up, down), (lefts, west, east) = sides
    total = np.zeros((*new, values.shape[2]), numbers.dtype)
    for row, high in ((tops[0], down), (tops[1], up)):
        for column, wide in ((lefts[0], east), (lefts[1], west)):
            weight = high[:, None] * wide[None, :]
            total += values[row[:, None], column[None, :]] * weight[..., None]
    share = (up + down)[:, None] * (west + east)[None, :]
    result: Array = (total / share[..., None]).reshape(-1, values.shape[2])
    return result


def _sample(old: int, new: int, dtype: type) -> tuple[tuple[Array, Array], Array, Array]:
    """For each new place the old ones on both sides of it, and how far it is from each."""
    import numpy as np

    known = _places(old, new, dtype)
    asked: Array = np.arange(-(new // 2), new // 2 + 1).astype(dtype)
    right = np.searchsorted(known, asked).clip(max=old - 1)
    left = (right - 1).clip(min=0)
    before, behind = asked - known[left], known[right] - asked
    before[before < 0] = 0  # beyond the last place the last value holds
    behind[behind < 0] = 0
    here = (before == 0) & (behind == 0)
    before[here] = behind[here] = 1
    return (left, right), before, behind


def _places(old: int, new: int, dtype: type) -> Array:
    """Where the old places lie among the new ones, from the middle outwards."""
    import numpy as np

    factor = _factor(old // 2, new // 2)
    distances, distance = [], 1.0
    for number in range(old // 2):
        distances.append(distance)
        distance += factor ** (number + 1)
    return np.array([*(-far for far in reversed(distances)), 0, *distances], dtype)


def _factor(steps: int, wanted: int) -> float:
    """The factor, from 1.01 to 1.5, of the geometric series whose sum reaches the border."""
    low, high = 1.01, 1.5
    factor = low
    while high - low > 1e-6:
        factor = (low + high) / 2
        if (1 - factor**steps) / (1 - factor) > wanted:
            high = factor
        else:
            low = factor
    return factor
