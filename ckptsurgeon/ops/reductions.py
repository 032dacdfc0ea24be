"""Ops that make one item of all those along a dim: sum and mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ckptsurgeon.ops.base import only, position
from ckptsurgeon.ops.computing import (
    Computed,
    exact,
    narrow,
    refuse_fractions,
    summing_dtype,
    widen,
)
from ckptsurgeon.ops.ranges import INTEGER_RANGES
from ckptsurgeon.specs import Specs, TensorSpec

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
        spec = only(self, specs)
        dim = position(self, self.dim, spec)
        kept = (1,) if self.keepdim else ()
        return (TensorSpec(spec.dtype, (*spec.shape[:dim], *kept, *spec.shape[dim + 1 :])),)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (spec,) = specs
        if spec.dtype not in INTEGER_RANGES:
            return (narrow(self._total(arrays[0], spec), spec.dtype),)
        dim = position(self, self.dim, spec)
        total = exact(
            self,
            arrays,
            specs,
            lambda numbers: next(numbers).sum(axis=dim, keepdims=self.keepdim),
            lambda sizes: sizes[0] * spec.shape[dim],
        )
        return (total,)

    def _total(self, array: Array, spec: TensorSpec) -> Array:
        import numpy as np

        numbers, wide = widen(array, spec.dtype), summing_dtype(spec.dtype)
        dim = position(self, self.dim, spec)
        with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
            return np.asarray(numbers.sum(axis=dim, dtype=wide, keepdims=self.keepdim))


class Mean(Sum, frozen=True, kw_only=True):
    """[n, …] -> […], the mean along any one dim; with `keepdim` -> [1, …].

    Long sums are added up in float64, and rounded once.
    """

    name: ClassVar[str] = "mean"

    def infer(self, specs: Specs) -> Specs:
        (result,) = Sum.infer(self, specs)
        refuse_fractions(self, specs, "a mean")
        dim = position(self, self.dim, specs[0])
        if not specs[0].shape[dim]:
            raise self.error(f"dim {dim} is empty: nothing has no mean", specs)
        return (result,)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (spec,) = specs
        size = spec.shape[position(self, self.dim, spec)]
        return (narrow(self._total(arrays[0], spec) / size, spec.dtype),)
