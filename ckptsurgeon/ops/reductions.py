"""Ops that make one item of all those along a dim: sum and mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ckptsurgeon.ops.base import Op, only, position
from ckptsurgeon.ops.computing import (
    Computed,
    exact,
    narrow,
    refuse_fractions,
    summing_dtype,
    widen,
)
from ckptsurgeon.ops.ranges import INTEGER_RANGES
from ckptsurgeon.specs import Specs, TensorSpec, with_item

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays


class Sum(Computed, frozen=True, kw_only=True):
    """[n, …] -> […], the sum along any one dim; with `keepdim` -> [1, …].

    Long sums are added up in float64, and rounded once.
    """

    name: ClassVar[str] = "sum"
    first: ClassVar[str | None] = "dim"

    dim: int
    keepdim: bool = False

    def infer(self, specs: Specs) -> Specs:
        return (_reduce(self, only(self, specs), self.dim, self.keepdim),)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (result,) = self.infer(specs)
        dim = position(self, self.dim, specs[0])
        if result.dtype not in INTEGER_RANGES:
            return (narrow(_add_up(arrays[0], specs[0], dim), result),)
        size = specs[0].shape[dim]
        total = exact(
            self,
            arrays,
            specs,
            lambda numbers: next(numbers).sum(axis=dim),
            lambda sizes: sizes[0] * size,
        )
        return (total,)


class Mean(Computed, frozen=True, kw_only=True):
    """[n, …] -> […], the mean along any one dim; with `keepdim` -> [1, …].

    Long sums are added up in float64, and rounded once.
    """

    name: ClassVar[str] = "mean"
    first: ClassVar[str | None] = "dim"

    dim: int
    keepdim: bool = False

    def infer(self, specs: Specs) -> Specs:
        result = _reduce(self, only(self, specs), self.dim, self.keepdim)
        refuse_fractions(self, specs, "a mean")
        dim = position(self, self.dim, specs[0])
        if not specs[0].shape[dim]:
            raise self.error(f"dim {dim} is empty: nothing has no mean", specs)
        return (result,)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (result,) = self.infer(specs)
        dim = position(self, self.dim, specs[0])
        total = _add_up(arrays[0], specs[0], dim)
        return (narrow(total / specs[0].shape[dim], result),)


def _reduce(op: Op, spec: TensorSpec, dim: int, keepdim: bool) -> TensorSpec:
    at = position(op, dim, spec)
    kept = with_item(spec.shape, at, 1)
    return TensorSpec(spec.dtype, kept if keepdim else kept[:at] + kept[at + 1 :])


def _add_up(array: Array, spec: TensorSpec, dim: int) -> Array:
    import numpy as np

    with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
        total: Array = widen(array, spec.dtype).sum(axis=dim, dtype=summing_dtype(spec.dtype))
    return np.asarray(total)
