"""The op pad: a tensor made longer on one dim."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ckptsurgeon.ops.base import Move, Op, larger_spec, only, position
from ckptsurgeon.ops.indexing import WHOLE, IndexItem, Slice
from ckptsurgeon.ops.movable import M
from ckptsurgeon.ops.ranges import INTEGER_RANGES, lacks
from ckptsurgeon.specs import Specs, TensorSpec, with_item

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array


class Pad(Move, frozen=True, kw_only=True):
    """[n, …] -> [n + added, …] on any one dim, one value in every place that is new.

    `to` is the size that results, `by` the total that is added; `both` adds half on each side.
    """

    name: ClassVar[str] = "pad"
    first: ClassVar[str | None] = "to"

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

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        dim, start, end = self._sides(spec)
        reason = lacks(spec.dtype, self.value)
        if reason:
            raise self.error(f"the value {self.value} {reason}", specs)
        return (larger_spec(self, spec, with_item(spec.shape, dim, start + spec.shape[dim] + end)),)

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
        (spec,) = specs
        dim, *added = self._sides(spec)
        bits = int.from_bytes(self._bits(spec).tobytes(), "little")
        before, behind = (
            tensors[0].fill(with_item(spec.shape, dim, size), spec.dtype, bits) for size in added
        )
        return (before.concat(dim, [tensors[0], behind]),)

    def _bits(self, spec: TensorSpec) -> Array:
        """The value as one item of the spec's carrier."""
        import numpy as np

        from ckptsurgeon.ops import carriers

        if spec.dtype in INTEGER_RANGES:
            numbers = np.array(int(self.value), dtype=carriers.numpy_dtype(spec.dtype))
        else:
            numbers = carriers.convert(np.array(float(self.value)), "F64", spec.dtype)
        return carriers.encode(numbers, np.dtype(spec.carrier).str)

    def inverse(self, specs: Specs) -> Op | None:
        dim, start, _ = self._sides(only(self, specs))
        size = specs[0].shape[dim]
        if not size:
            return None  # a slice that takes nothing is refused
        index: list[IndexItem] = [WHOLE] * dim
        return Slice(index=(*index, (start, start + size, None)))
