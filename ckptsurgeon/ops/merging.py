"""Ops that put together what training kept apart: weight norm's g and v, spectral norm, LoRA."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from ckptsurgeon.ops.base import Arity, one_each, position
from ckptsurgeon.ops.computing import (
    Computed,
    check_finite,
    narrow,
    refuse_all_but_real,
    summing_dtype,
    tensor_of,
    widen,
    widen_each,
)
from ckptsurgeon.specs import Specs, TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays


class FuseWeightNorm(Computed, frozen=True, kw_only=True):
    """g[n, 1, …] and v[n, …] -> w[n, …], w being g * v / |v|, the norm of all dims but one.

    The order is torch's: weight_g, weight_v of the old form, parametrizations.weight.original0 and
    original1 of the new one. A g without dims is the norm of the whole.
    """

    name: ClassVar[str] = "fuse_weight_norm"
    arity: ClassVar[Arity] = Arity.JOIN
    first: ClassVar[str | None] = "dim"

    dim: int = 0

    def infer(self, specs: Specs) -> Specs:
        magnitude, direction = one_each(self, specs, "g", "v")
        if magnitude.dtype != direction.dtype:
            raise self.error("the dtypes must be equal", specs)
        refuse_all_but_real(self, specs)
        dim = position(self, self.dim, direction)
        wanted = tuple(size if at == dim else 1 for at, size in enumerate(direction.shape))
        if magnitude.shape not in (wanted, ()):
            raise self.error(f"g must be {list(wanted)}, 1 on all dims but dim {dim} of v", specs)
        return (direction,)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import torch

        (result,) = self.infer(specs)
        if not result.count:
            return arrays[1:]
        magnitude, direction = (tensor_of(widen(array, result.dtype)) for array in arrays)
        # Torch knows the norm of the whole as dim -1, and no dim counted from the end.
        dim = position(self, self.dim, result) if specs[0].shape else -1
        self._check_norms(direction, dim, specs)
        weight = torch._weight_norm(direction, magnitude, dim)
        return (narrow(weight.numpy(), result.dtype),)

    def _check_norms(self, direction: Any, dim: int, specs: Specs) -> None:
        """Raises ShapeError for a v that is all zeros, and so points nowhere."""
        rows = 1 if dim < 0 else direction.shape[dim]
        flat = direction.movedim(max(dim, 0), 0).reshape(rows, -1)
        lost = int((flat == 0).all(1).sum())
        if lost:
            raise self.error(f"v is all zeros in {lost} of {len(flat)} rows: no direction", specs)


class FuseSpectralNorm(Computed, frozen=True, kw_only=True):
    """orig[…], u[n] and v[rest] -> w[…], orig / (u · W v), W being orig with dim first, [n, rest].

    That is what torch.nn.utils.spectral_norm computes with in eval mode, of weight_orig, weight_u
    and weight_v; `dim` is 1 for its transposed convolutions, else 0. parametrizations.spectral_norm
    has the three as weight.original, weight.0._u and weight.0._v. Sums are added up in float64.
    """

    name: ClassVar[str] = "fuse_spectral_norm"
    arity: ClassVar[Arity] = Arity.JOIN
    first: ClassVar[str | None] = "dim"

    dim: int = 0

    def infer(self, specs: Specs) -> Specs:
        weight, *vectors = one_each(self, specs, "orig", "u", "v")
        refuse_all_but_real(self, specs)
        dim = position(self, self.dim, weight)
        for name, vector, size in zip("uv", vectors, _vector_sizes(weight, dim), strict=True):
            if len(vector.shape) != 1:
                raise self.error(f"{name} must have one dim", specs)
            if vector.shape[0] != size:
                rest = f"dim {dim} has {size}" if name == "u" else f"the dims but {dim} have {size}"
                found = f"{name} has {vector.shape[0]} items and {rest}"
                raise self.error(found, specs, self._tell_dim(weight, vectors))
        return (weight,)

    def _tell_dim(self, weight: TensorSpec, vectors: list[TensorSpec]) -> str:
        """The next step where u and v are of another dim of the weight."""
        sizes = tuple(vector.shape[0] for vector in vectors if len(vector.shape) == 1)
        for dim in range(len(weight.shape)):
            if sizes == _vector_sizes(weight, dim):
                what = ", as of transposed convolutions" if dim == 1 else ""
                return f"write `{{{self.name}: {dim}}}`{what}"
        return ""

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        (result,) = self.infer(specs)
        weight, *vectors = widen_each(arrays, specs)
        dim, wide = position(self, self.dim, result), summing_dtype(result.dtype)
        left, right = (vector.astype(wide) for vector in vectors)
        with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
            matrix = np.moveaxis(weight, dim, 0).reshape(left.size, -1).astype(wide)
            norm = (left @ (matrix @ right)).astype(weight.dtype)
            if norm == 0:
                raise self.error("u · W v is 0: there is no norm to divide by", specs)
            return (narrow(weight / norm, result.dtype),)


def _vector_sizes(weight: TensorSpec, dim: int) -> tuple[int, int]:
    """How many items u and v of a weight have whose spectral norm is that of rows along a dim."""
    rest = (size for at, size in enumerate(weight.shape) if at != dim)
    return weight.shape[dim], math.prod(rest)


class MergeLora(Computed, frozen=True, kw_only=True):
    """W[out, in], A[r, in] and B[out, r] -> W + alpha / rank * B A, in W's dtype.

    `rank` is that of A unless given. With `fan_in_fan_out` W is [in, out], as in Conv1D of GPT-2.
    Convolutions: W[out, in, kh, kw], A[r, in, kh, kw] and B[out, r, 1, 1].
    """

    name: ClassVar[str] = "merge_lora"
    sized: ClassVar[tuple[str, ...]] = ("alpha",)
    arity: ClassVar[Arity] = Arity.JOIN
    first: ClassVar[str | None] = "alpha"

    alpha: int | float
    rank: int | None = None
    fan_in_fan_out: bool = False

    def __post_init__(self) -> None:
        check_finite(self, "alpha", [self.alpha])
        if self.rank is not None and self.rank < 1:
            raise self.error(f"`rank` must be 1 or more, found {self.rank}")

    def infer(self, specs: Specs) -> Specs:
        weight, one, other = one_each(self, specs, "W", "A", "B")
        refuse_all_but_real(self, specs)
        if len(weight.shape) < 2 or (self.fan_in_fan_out and len(weight.shape) != 2):
            raise self.error("W must be [out, in], or a convolution's weight", specs)
        out, *rest = weight.shape[::-1] if self.fan_in_fan_out else weight.shape
        rank = one.shape[0] if one.shape else 0
        wanted = (rank, *rest), (out, rank, *[1] * (len(rest) - 1))
        if not rank or (one.shape, other.shape) != wanted:
            raise self.error(
                f"A must be [r, {_sizes(rest)}] and B {_shape_of_b(out, len(rest))},"
                " with one r of 1 or more",
                specs,
            )
        return (weight,)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        (result,) = self.infer(specs)
        weight, one, other = widen_each(arrays, specs)
        product = _product(*(factor.astype(weight.dtype, copy=False) for factor in (other, one)))
        if self.fan_in_fan_out:
            product = product.T
        scale = self.alpha / (self.rank or specs[1].shape[0])
        with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
            merged = weight + product.reshape(result.shape) * scale
        return (narrow(merged, result.dtype),)


def _product(other: Array, one: Array) -> Array:
    """B A as a matrix [out, everything else], by torch's product, as peft has it."""
    rank = len(one)
    made: Array = (tensor_of(other).reshape(-1, rank) @ tensor_of(one).reshape(rank, -1)).numpy()
    return made


def _sizes(sizes: list[int]) -> str:
    return ", ".join(map(str, sizes))


def _shape_of_b(out: int, rest: int) -> str:
    return f"[{', '.join([str(out), 'r', *['1'] * (rest - 1)])}]"
