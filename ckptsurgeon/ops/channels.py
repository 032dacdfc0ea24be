"""The op adapt_input_channels: a first convolution made to take another number of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ckptsurgeon.ops.base import larger_spec, only
from ckptsurgeon.ops.computing import Resizing, narrow, refuse_fractions, widen
from ckptsurgeon.ops.padding import Pad
from ckptsurgeon.ops.ranges import INTEGER_RANGES, lacks
from ckptsurgeon.ops.reductions import Sum
from ckptsurgeon.specs import Specs, TensorSpec, with_item

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays

How = Literal["sum", "tile", "mean", "zeros"]


class AdaptInputChannels(Resizing, frozen=True, kw_only=True):
    """weight[O, I, …] -> weight[O, to, …], by timm's rule unless told how.

    `sum` adds the channels into one. `tile` repeats them, cuts the rest off, and multiplies by
    I / to, so that the sum over channels stays about the same. `mean` gives each new channel the
    mean of the old ones. `zeros` keeps the old channels and appends zeros. A weight that already
    has `to` channels stays as it is, save under `mean`.
    """

    name: ClassVar[str] = "adapt_input_channels"
    first: ClassVar[str | None] = "to"
    sized: ClassVar[tuple[str, ...]] = ("to",)

    to: int | None = None
    how: How | None = None

    def __post_init__(self) -> None:
        if self.to is not None and self.to < 1:
            raise self.error(f"`to` must be 1 or more, found {self.to}")
        if self.to is not None and self.to > 1 and self.how == "sum":
            raise self.error(f"`sum` makes one channel, not {self.to}; `tile` makes several")

    def size_in(self, wanted: TensorSpec) -> object:
        return wanted.shape[1] if len(wanted.shape) > 1 else None

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        if len(spec.shape) < 2 or not spec.shape[1]:
            raise self.error("takes weights of 2 or more dims, [out, in, …], with channels", specs)
        if self.to is None:
            raise self.error("needs `to`, the number of channels that results", specs)
        if self.how == "zeros":
            self._check_zeros(self.to, spec)
        elif not self._unchanged(spec) and self._how(self.to) != "sum":
            refuse_fractions(self, specs, f"`{self._how(self.to)}`")
        return (larger_spec(self, spec.dtype, with_item(spec.shape, 1, self.to), specs),)

    def _check_zeros(self, to: int, spec: TensorSpec) -> None:
        channels = spec.shape[1]
        if to < channels:
            raise self.error(f"`zeros` adds to {channels} channels; `slice` cuts to {to}", (spec,))
        if lacks(spec.dtype, 0):
            raise self.error(f"{spec.dtype} has no zero; cast it first", (spec,))

    def _how(self, to: int) -> How:
        return self.how or ("sum" if to == 1 else "tile")

    def _unchanged(self, spec: TensorSpec) -> bool:
        return spec.shape[1] == self.to and self.how != "mean"

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (result,) = self.infer(specs)
        how = self._how(result.shape[1])
        if self._unchanged(specs[0]):
            return arrays
        if how == "zeros":
            return Pad(to=self.to, dim=1).apply(arrays, specs)
        if how == "sum" and result.dtype in INTEGER_RANGES:
            return Sum(dim=1, keepdim=True).apply(arrays, specs)
        import numpy as np

        make = {"sum": _sum, "tile": _tile, "mean": _mean}[how]
        with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
            made = make(widen(arrays[0], result.dtype), result.shape[1])
        return (narrow(made, result.dtype),)


def _sum(numbers: Array, to: int) -> Array:
    total: Array = numbers.sum(axis=1, keepdims=True)
    return total


def _tile(numbers: Array, to: int) -> Array:
    """As timm's adapt_input_conv: channel i of the result is channel i mod I, scaled."""
    channels = numbers.shape[1]
    order = [number % channels for number in range(to)]
    tiled: Array = numbers.take(order, axis=1) * (channels / to)
    return tiled


def _mean(numbers: Array, to: int) -> Array:
    mean: Array = numbers.mean(axis=1, keepdims=True)
    return mean.repeat(to, axis=1)
