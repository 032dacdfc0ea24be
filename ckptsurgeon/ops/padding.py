"""Ops that make a tensor longer on one dim: pad and repeat."""

from __future__ import annotations

from typing import ClassVar, Literal

from ckptsurgeon.ops.base import Move, Op, only, position
from ckptsurgeon.ops.indexing import Slice, along
from ckptsurgeon.ops.movable import M
from ckptsurgeon.ops.ranges import lacks
from ckptsurgeon.specs import Specs, TensorSpec, with_item, with_new


class Pad(Move, frozen=True, kw_only=True):
    """[n, …] -> [n + added, …] on any one dim, one value in every place that is new.

    `to` is the size that results, `by` the total that is added; `both` adds half on each side.
    """

    name: ClassVar[str] = "pad"
    first: ClassVar[str | None] = "to"
    sized: ClassVar[tuple[str, ...]] = ("to", "by")

    to: int | None = None
    by: int | None = None
    dim: int = 0
    value: int | float = 0
    at: Literal["start", "end", "both"] = "end"

    def __post_init__(self) -> None:
        if (self.to is None) == (self.by is None):
            raise self.error("takes `to` or `by`, one of the two")
        if self.by is not None and self.by < 0:
            raise self.error(f"`by` must be 0 or more, found {self.by}; `slice` cuts")

    def _sides(self, spec: TensorSpec) -> tuple[int, int, int]:
        """The dim, and how much is added at its start and at its end."""
        dim = position(self, self.dim, spec)
        size = spec.shape[dim]
        added = self.by if self.by is not None else (self.to or 0) - size
        if added < 0:
            raise self.error(f"dim {dim} has {size}, more than {self.to}; `slice` cuts", (spec,))
        if self.at != "both":
            return (dim, added, 0) if self.at == "start" else (dim, 0, added)
        if added % 2:
            raise self.error(f"{added} added to dim {dim} don't divide into two sides", (spec,))
        return dim, added // 2, added // 2

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        spec = only(self, specs)
        dim, *added = self._sides(spec)
        if reason := lacks(spec.dtype, self.value):
            raise self.error(f"the value {self.value} {reason}", specs)
        before, behind = (
            tensors[0].fill(with_item(spec.shape, dim, size), spec.dtype, self.value)
            for size in added
        )
        return (before.concat(dim, [tensors[0], behind]),)

    def inverse(self, specs: Specs) -> Op | None:
        dim, start, _ = self._sides(only(self, specs))
        size = specs[0].shape[dim]
        # A slice that takes nothing is refused.
        return Slice(index=along(dim, (start, start + size, None))) if size else None


class Repeat(Move, frozen=True, kw_only=True):
    """[a, …] -> [a * times, …]: the whole again and again, or (`each`) every item of the dim."""

    name: ClassVar[str] = "repeat"
    first: ClassVar[str | None] = "times"
    sized: ClassVar[tuple[str, ...]] = ("times",)

    times: int
    dim: int = 0
    each: bool = False

    def __post_init__(self) -> None:
        if self.times < 1:
            raise self.error(f"`times` must be 1 or more, found {self.times}")

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        shape = only(self, specs).shape
        dim = position(self, self.dim, specs[0])
        row = tensors[0].reshape(with_new(shape, dim + self.each, 1))
        whole = row.expand(dim + self.each, self.times)
        return (whole.reshape(with_item(shape, dim, shape[dim] * self.times)),)

    def inverse(self, specs: Specs) -> Op | None:
        dim = position(self, self.dim, only(self, specs))
        items = (0, None, self.times) if self.each else (0, specs[0].shape[dim], None)
        return Slice(index=along(dim, items))
