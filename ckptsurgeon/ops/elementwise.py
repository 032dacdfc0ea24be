"""Ops that compute item by item: by a number, or several tensors, which broadcast to the first."""

from __future__ import annotations

import functools
import math
import operator
from typing import TYPE_CHECKING, ClassVar

from ckptsurgeon.ops.base import Arity, list_specs, only, whole
from ckptsurgeon.ops.computing import (
    Itemwise,
    check_factor,
    check_finite,
    non_finite,
    refuse_fractions,
)
from ckptsurgeon.ops.ranges import INTEGER_RANGES
from ckptsurgeon.specs import Specs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ckptsurgeon.ops.base import Array, Arrays


class ByNumber(Itemwise, frozen=True, kw_only=True):
    """An op with a number that is applied to each item."""

    first: ClassVar[str | None] = "number"
    keeps_shape: ClassVar[bool] = True
    sized: ClassVar[tuple[str, ...]] = ("number",)

    number: int | float

    def __post_init__(self) -> None:
        check_finite(self, "number", [self.number])

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        check_factor(self, "number", self.number, specs)
        return (spec,)

    def _number(self, specs: Specs) -> int | float:
        """The number as it is computed with: an integer where the tensor's are."""
        return int(self.number) if specs[0].dtype in INTEGER_RANGES else self.number

    def overflows(self, before: Arrays, after: Arrays, specs: Specs) -> int:
        code = only(self, specs).dtype
        return max(0, non_finite(after[0], code) - non_finite(before[0], code))


class Scale(ByNumber, frozen=True, kw_only=True):
    """[…] -> […], each item times a number."""

    name: ClassVar[str] = "scale"

    def formula(self, numbers: Iterator[Array], specs: Specs) -> Array:
        return next(numbers) * self._number(specs)

    def bound(self, sizes: Sequence[int]) -> int:
        return sizes[0] * abs(int(self.number))


class Shift(ByNumber, frozen=True, kw_only=True):
    """[…] -> […], each item plus a number."""

    name: ClassVar[str] = "shift"

    def formula(self, numbers: Iterator[Array], specs: Specs) -> Array:
        return next(numbers) + self._number(specs)

    def bound(self, sizes: Sequence[int]) -> int:
        return sizes[0] + abs(int(self.number))


class Combined(Itemwise, frozen=True, kw_only=True):
    """An op of several tensors of one dtype, whose shapes broadcast to the first's."""

    arity: ClassVar[Arity] = Arity.JOIN

    def infer(self, specs: Specs) -> Specs:
        if not specs:
            raise self.error("takes one or more tensors, was given none")
        first = whole(self, specs)[0]
        for number, spec in enumerate(specs, 1):
            if spec.dtype != first.dtype:
                raise self.error(
                    f"the dtypes must be equal; number {number} is {spec}, the first {first}"
                )
            if not broadcasts(spec.shape, first.shape):
                raise self.error(
                    f"number {number}, {spec}, does not broadcast to the first, {first}:"
                    " each dim, from the last, must be equal or 1"
                )
        return (first,)


def broadcasts(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether NumPy's rule stretches the shape to the one that is wanted."""
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    return len(shape) <= len(wanted) and all(size in (1, other) for size, other in pairs)


class Add(Combined, frozen=True, kw_only=True):
    """[…] as often as there are tensors -> […], their sum; all broadcast to the first."""

    name: ClassVar[str] = "add"

    def formula(self, numbers: Iterator[Array], specs: Specs) -> Array:
        return functools.reduce(operator.add, numbers)

    def bound(self, sizes: Sequence[int]) -> int:
        return sum(sizes)


class Multiply(Combined, frozen=True, kw_only=True):
    """[…] as often as there are tensors -> […], their product; all broadcast to the first."""

    name: ClassVar[str] = "multiply"

    def formula(self, numbers: Iterator[Array], specs: Specs) -> Array:
        return functools.reduce(operator.mul, numbers)

    def bound(self, sizes: Sequence[int]) -> int:
        return math.prod(sizes)  # where one is all zeros, so is the product


class Divide(Combined, frozen=True, kw_only=True):
    """[…] as often as there are tensors -> […], the first by the others; all broadcast to it.

    That nothing is divided by 0 is seen when run.
    """

    name: ClassVar[str] = "divide"

    def infer(self, specs: Specs) -> Specs:
        (spec,) = super().infer(specs)
        refuse_fractions(self, specs, "a quotient")
        return (spec,)

    def formula(self, numbers: Iterator[Array], specs: Specs) -> Array:
        quotient = next(numbers)
        for number, divisor in enumerate(numbers, 2):
            if not divisor.all():
                raise self.error(f"number {number} has items that are 0: nothing is divided by 0")
            quotient = quotient / divisor
        return quotient


class Average(Combined, frozen=True, kw_only=True):
    """[…] as often as there are tensors -> […], their mean; with weights, the weighted one."""

    name: ClassVar[str] = "average"
    first: ClassVar[str | None] = "weights"

    weights: tuple[int | float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights is None:
            return
        check_finite(self, "weights", self.weights)
        if not self.weights:
            raise self.error("`weights` must hold one for each tensor, found an empty list")
        if not self._total(self.weights):
            raise self.error(f"the sum of `weights` must not be 0, found {list(self.weights)}")

    def _total(self, weights: tuple[int | float, ...]) -> float:
        """The sum of the weights; raises ShapeError where it is beyond any dtype."""
        try:
            total = math.fsum(weights)
        except OverflowError:
            total = math.inf
        check_finite(self, "weights", [total])
        return total

    def infer(self, specs: Specs) -> Specs:
        (spec,) = super().infer(specs)
        refuse_fractions(self, specs, "an average")
        if self.weights is not None and len(self.weights) != len(specs):
            raise self.error(
                f"{len(self.weights)} weights for {len(specs)} tensors: {list_specs(specs)};"
                " give one for each"
            )
        for weight in (*(self.weights or ()), self._total(self.weights or (1,) * len(specs))):
            check_factor(self, "weights", weight, specs)
        return (spec,)

    def formula(self, numbers: Iterator[Array], specs: Specs) -> Array:
        weights = self.weights or (1,) * len(specs)
        total: Array = functools.reduce(operator.add, map(operator.mul, numbers, weights))
        return total / self._total(weights)
