"""Ops that put the same elements elsewhere: transpose, permute, reshape, flip, roll, repeat."""

from __future__ import annotations

import math
from typing import ClassVar

from ckptsurgeon.ops.base import Move, Op, larger_spec, only, position, result_spec
from ckptsurgeon.ops.movable import M, cut
from ckptsurgeon.specs import Specs, TensorSpec, with_item, with_new


class Transpose(Move, frozen=True, kw_only=True):
    """[a, b] -> [b, a]; of a tensor that is no matrix, the two dims that are named."""

    name: ClassVar[str] = "transpose"
    first: ClassVar[str | None] = "dims"

    dims: tuple[int, int] | None = None

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        return (TensorSpec(spec.dtype, tuple(spec.shape[dim] for dim in self._order(spec))),)

    def _order(self, spec: TensorSpec) -> list[int]:
        order = list(range(len(spec.shape)))
        if self.dims is None and len(order) != 2:
            raise self.error("needs `dims`, the two to swap, where there are not two", (spec,))
        one, other = (position(self, dim, spec) for dim in self.dims or (0, 1))
        if one == other:
            raise self.error(f"`dims` names dim {one} twice", (spec,))
        order[one], order[other] = other, one
        return order

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        return (tensors[0].permute(self._order(only(self, specs))),)

    def inverse(self, specs: Specs) -> Op | None:
        return self


class Permute(Move, frozen=True, kw_only=True):
    """[a, b, c] -> [c, a, b] by dims (2, 0, 1): for each dim of the result, the one it was."""

    name: ClassVar[str] = "permute"
    first: ClassVar[str | None] = "dims"

    dims: tuple[int, ...]

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        return (TensorSpec(spec.dtype, tuple(spec.shape[dim] for dim in self._order(spec))),)

    def _order(self, spec: TensorSpec) -> tuple[int, ...]:
        dims = tuple(position(self, dim, spec) for dim in self.dims)
        if sorted(dims) != list(range(len(spec.shape))):
            raise self.error(f"`dims` must name each dim once, found {list(self.dims)}", (spec,))
        return dims

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        return (tensors[0].permute(self._order(only(self, specs))),)

    def inverse(self, specs: Specs) -> Op | None:
        dims = self._order(only(self, specs))
        return Permute(dims=tuple(sorted(range(len(dims)), key=dims.__getitem__)))


class Reshape(Move, frozen=True, kw_only=True):
    """[…] -> the shape, of as many elements, in row order; one size may be -1, to be computed."""

    name: ClassVar[str] = "reshape"
    first: ClassVar[str | None] = "shape"

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.shape.count(-1) > 1 or any(size < -1 for size in self.shape):
            raise self.error(
                f"`shape` takes sizes from 0 up and at most one -1, found {list(self.shape)}"
            )

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        known = math.prod(size for size in self.shape if size != -1)
        if -1 in self.shape and (not known or spec.count % known):
            raise self.error(f"{spec.count} elements leave no size for -1 in {self._text}", specs)
        missing = spec.count // known if -1 in self.shape else -1
        shape = tuple(missing if size == -1 else size for size in self.shape)
        if math.prod(shape) != spec.count:
            raise self.error(f"{self._text} does not have {spec.count} elements", specs)
        return (result_spec(self, spec.dtype, shape, specs),)

    @property
    def _text(self) -> str:
        return str(list(self.shape))

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        return (tensors[0].reshape(self.infer(specs)[0].shape),)

    def inverse(self, specs: Specs) -> Op | None:
        return Reshape(shape=only(self, specs).shape)


class Flip(Move, frozen=True, kw_only=True):
    """[a, …] -> [a, …] in the opposite order on one dim."""

    name: ClassVar[str] = "flip"
    first: ClassVar[str | None] = "dim"

    dim: int = 0

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        position(self, self.dim, spec)
        return (spec,)

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        return (tensors[0].flip(position(self, self.dim, only(self, specs))),)

    def inverse(self, specs: Specs) -> Op | None:
        return self


class Roll(Move, frozen=True, kw_only=True):
    """[a, …] -> [a, …]; what was at i on the dim is at i + shift, and what leaves comes round."""

    name: ClassVar[str] = "roll"
    first: ClassVar[str | None] = "shift"

    shift: int
    dim: int = 0

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        position(self, self.dim, spec)
        return (spec,)

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        dim = position(self, self.dim, only(self, specs))
        size = specs[0].shape[dim]
        turn = self.shift % size if size else 0
        before, behind = cut(tensors[0], dim, (size - turn, turn))
        return (behind.concat(dim, [before]),)

    def inverse(self, specs: Specs) -> Op | None:
        return Roll(shift=-self.shift, dim=self.dim)


class Repeat(Move, frozen=True, kw_only=True):
    """[a, …] -> [a * times, …]: the whole again and again, or (`each`) every item of the dim."""

    name: ClassVar[str] = "repeat"
    first: ClassVar[str | None] = "times"

    times: int
    dim: int = 0
    each: bool = False

    def __post_init__(self) -> None:
        if self.times < 1:
            raise self.error(f"`times` must be 1 or more, found {self.times}")

    def infer(self, specs: Specs) -> Specs:
        spec = only(self, specs)
        dim = position(self, self.dim, spec)
        return (larger_spec(self, spec, with_item(spec.shape, dim, spec.shape[dim] * self.times)),)

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        (result,) = self.infer(specs)
        dim = position(self, self.dim, specs[0]) + self.each
        row = tensors[0].reshape(with_new(specs[0].shape, dim, 1))
        return (row.expand(dim, self.times).reshape(result.shape),)

    def inverse(self, specs: Specs) -> Op | None:
        return self if self.times == 1 else None
