"""The op adapt_input_channels: a first convolution made to take another number of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from ckptsurgeon.ops.base import Op, enlarged, only, replaced
from ckptsurgeon.ops.computing import Computed, narrowed, refuse_fractions, torch_tensor, widened
from ckptsurgeon.specs import Specs, TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays

How = Literal["sum", "tile", "mean", "zeros"]


class AdaptInputChannels(Computed, frozen=True, kw_only=True):
    """weight[O, I, …] -> weight[O, to, …], by timm's rule unless told how.

    `sum` adds the channels into one. `tile` repeats them, cuts the rest off, and multiplies by
    I / to, so that the sum over channels stays about the same. `mean` gives every new channel the
    mean of the old ones, times I / to. `zeros` keeps the old channels and appends zeros. A weight
    that has `to` channels stays as it is.
    """

    name: ClassVar[str] = "adapt_input_channels"
    first: ClassVar[str | None] = "to"

    to: int | None = None
    how: How | None = None

    def __post_init__(self) -> None:
        if self.to is not None and self.to < 1:
            raise self.error(f"`to` must be 1 or more, found {self.to}")
        if self.to is not None and self.to > 1 and self.how == "sum":
            raise self.error(f"`sum` makes one channel, not {self.to}; `tile` makes several")

    def fitted(self, wanted: TensorSpec | None, specs: Specs) -> Op:
        if self.to is not None or wanted is None or len(wanted.shape) < 2:
            return self
        return msgspec.structs.replace(self, to=wanted.shape[1])

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        if len(spec.shape) < 2:
            raise self.error("takes weights of 2 or more dims, [out, in, …]", specs)
        to, channels = self._to(specs), spec.shape[1]
        result = enlarged(self, spec, replaced(spec.shape, 1, to))
        if not channels:
            raise self.error("there are no channels to make others of", specs)
        if to != channels:
            refuse_fractions(self, specs, f"`{self._how(to)}`")
        if self.how == "zeros" and to < channels:
            raise self.error(f"`zeros` adds channels to {channels}; `slice` cuts to {to}", specs)
        return (result,)

    def _to(self, specs: Specs) -> int:
        if self.to is None:
            raise self.error("needs `to`, the number of channels that results", specs)
        return self.to

    def _how(self, to: int) -> How:
        return self.how or ("sum" if to == 1 else "tile")

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (result,) = self.infer(specs)
        if result == specs[0]:
            return arrays
        how = self._how(self._to(specs))
        make = {"sum": _sum, "tile": _tile, "mean": _mean, "zeros": _zeros}[how]
        return (narrowed(make(widened(arrays[0], result.dtype), result.shape[1]), result),)
