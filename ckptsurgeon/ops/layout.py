"""Ops that put the same elements elsewhere: transpose, permute, reshape, flip, roll."""

from __future__ import annotations

import math
from typing import ClassVar

from ckptsurgeon.ops.base import Move, Op, only, position
from ckptsurgeon.ops.movable import M, cut
from ckptsurgeon.specs import Specs, TensorSpec


class Transpose(Move, frozen=True, kw_only=True):
    """[a, b] -> [b, a]; of a tensor that is no matrix, the two dims that are named."""

    name: ClassVar[str] = "transpose"
    first: ClassVar[str | None] = "dims"

    dims: tuple[int, int] | None = None

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        spec = only(self, specs)
        order = list(range(len(spec.shape)))
        if self.dims is None and len(order) != 2:
            raise self.error("needs `dims`, the two to swap, where there are not two", specs)
        one, other = (position(self, dim, spec) for dim in self.dims or (0, 1))
        if one == other:
            raise self.error(f"`dims` names dim {one} twice", specs)
        order[one], order[other] = other, one
        return (tensors[0].permute(order),)

    def inverse(self, specs: Specs) -> Op | None:
        return self


class Permute(Move, frozen=True, kw_only=True):
    """[a, b, c] -> [c, a, b] by dims (2, 0, 1): for each dim of the result, the one it was."""

    name: ClassVar[str] = "permute"
    first: ClassVar[str | None] = "dims"

    dims: tuple[int, ...]

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
    sized: ClassVar[tuple[str, ...]] = ("shape",)

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.shape.count(-1) > 1 or any(size < -1 for size in self.shape):
            raise self.error(
                f"`shape` takes sizes from 0 up and at most one -1, found {list(self.shape)}"
            )

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        count, text = only(self, specs).count, list(self.shape)
        known = math.prod(size for size in self.shape if size != -1)
        if -1 in self.shape and (not known or count % known):
            raise self.error(f"{count} elements leave no size for -1 in {text}", specs)
        missing = count // known if -1 in self.shape else -1
        shape = tuple(missing if size == -1 else size for size in self.shape)
        if math.prod(shape) != count:
            raise self.error(f"{text} does not have {count} elements", specs)
        return (tensors[0].reshape(shape),)

    def inverse(self, specs: Specs) -> Op | None:
        return Reshape(shape=only(self, specs).shape)


class Flip(Move, frozen=True, kw_only=True):
    """[a, …] -> [a, …] in the opposite order on one dim."""

    name: ClassVar[str] = "flip"
    first: ClassVar[str | None] = "dim"

    dim: int = 0

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        return (tensors[0].flip(position(self, self.dim, only(self, specs))),)

    def inverse(self, specs: Specs) -> Op | None:
        return self


class Roll(Move, frozen=True, kw_only=True):
    """[a, …] -> [a, …]; what was at i on the dim is at i + shift, and what leaves comes round."""

    name: ClassVar[str] = "roll"
    first: ClassVar[str | None] = "shift"
    sized: ClassVar[tuple[str, ...]] = ("shift",)

    shift: int
    dim: int = 0

    def move(self, tensors: tuple[M, ...], specs: Specs) -> tuple[M, ...]:
        dim = position(self, self.dim, only(self, specs))
        size = specs[0].shape[dim]
        turn = self.shift % size if size else 0
        before, behind = cut(tensors[0], dim, (size - turn, turn))
        return (behind.concat(dim, [before]),)

    def inverse(self, specs: Specs) -> Op | None:
        return Roll(shift=-self.shift, dim=self.dim)
