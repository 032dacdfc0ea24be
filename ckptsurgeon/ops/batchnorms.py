"""Ops of the rules fold_batchnorm and freeze_batchnorm; no rule file names them.

A BatchNorm in eval mode is y = scale * x + shift, with scale = weight / sqrt(running_var + eps) and
shift = bias - running_mean * scale. What `parts` lacks is what a module without it would have: no
weight is all ones, no bias all zeros. The order of the arithmetic is that of torch.nn.utils.fusion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ckptsurgeon.ops.base import Arity, larger_spec, whole
from ckptsurgeon.ops.computing import (
    Computed,
    check_finite,
    narrow,
    refuse_all_but_real,
    widen_each,
)
from ckptsurgeon.specs import BITS, FLOATING, Specs, TensorSpec

if TYPE_CHECKING:
    from ckptsurgeon.ops.base import Array, Arrays

KERNEL = "kernel"


class OfBatchNorm(Computed, frozen=True, kw_only=True):
    """An op of the tensors of a BatchNorm, which `parts` names in order."""

    arity: ClassVar[Arity] = Arity.JOIN
    needed: ClassVar[tuple[str, ...]] = ("running_var",)
    known: ClassVar[tuple[str, ...]] = ("running_var", "weight")

    parts: tuple[str, ...]
    eps: int | float = 1e-5

    def __post_init__(self) -> None:
        check_finite(self, "eps", [self.eps])
        if self.eps < 0:
            raise self.error(f"`eps` must be 0 or more, found {self.eps}")
        unknown = set(self.parts) - set(self.known)
        if unknown or len(set(self.parts)) < len(self.parts) or {*self.needed} - {*self.parts}:
            raise self.error(
                f"`parts` must name {', '.join(self.needed)} and may name"
                f" {', '.join(self.known)}, each once; found {', '.join(self.parts)}"
            )

    def _named(self, specs: Specs) -> Mapping[str, TensorSpec]:
        """The specs by part; raises ShapeError unless each but the kernel is one per channel."""
        if len(specs) != len(self.parts):
            wanted = f"takes {', '.join(self.parts)}"
            raise self.error(f"{wanted}, was given {len(specs)} tensors", specs)
        named = dict(zip(self.parts, whole(self, specs), strict=True))
        refuse_all_but_real(self, specs)
        channels = self._channels(named)
        for name, spec in named.items():
            if name != KERNEL and spec.shape != (channels,):
                raise self.error(
                    f"{name} is {spec}, where {channels} channels are wanted", (named[self._first],)
                )
        return named

    @property
    def _first(self) -> str:
        """The part that says how many channels there are."""
        return KERNEL if KERNEL in self.parts else "running_var"

    def _channels(self, named: Mapping[str, TensorSpec]) -> int:
        shape = named["running_var"].shape
        if len(shape) != 1:
            raise self.error("running_var must have one dim", (named["running_var"],))
        return shape[0]

    def _numbers(self, arrays: Arrays, specs: Specs) -> dict[str, Array]:
        """The tensors by part as numbers, all in float64 where any of them is."""
        import numpy as np

        seen = widen_each(arrays, specs)
        widest = np.result_type(*seen)
        return {
            name: array.astype(widest, copy=False)
            for name, array in zip(self.parts, seen, strict=True)
        }

    def _root(self, numbers: Mapping[str, Array]) -> Array:
        """1 / sqrt(running_var + eps); raises ShapeError where there is no root."""
        import numpy as np

        variance = numbers["running_var"] + numbers["running_var"].dtype.type(self.eps)
        wrong = np.flatnonzero(~(variance > 0))
        if wrong.size:
            raise self.error(
                f"running_var + eps is {variance[wrong[0]]} in channel {wrong[0]}"
                f" ({wrong.size} of {variance.size} are not above 0): it has no square root"
            )
        root: Array = 1 / np.sqrt(variance)
        return root

    def _scale(self, numbers: Mapping[str, Array]) -> Array:
        root = self._root(numbers)
        return numbers["weight"] * root if "weight" in numbers else root


class BatchNormScale(OfBatchNorm, frozen=True, kw_only=True):
    """running_var[C] and weight[C] -> scale[C] in the dtype of running_var."""

    name: ClassVar[str] = "batchnorm_scale"

    def infer(self, specs: Specs) -> Specs:
        return (self._named(specs)["running_var"],)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        (result,) = self.infer(specs)
        return (narrow(self._scale(self._numbers(arrays, specs)), result.dtype),)


class BatchNormShift(OfBatchNorm, frozen=True, kw_only=True):
    """running_mean[C], running_var[C], weight, bias and the kernel's bias -> shift[C] in `dtype`.

    `scale_first` multiplies weight and root before all else, as for linear layers and frozen forms.
    """

    name: ClassVar[str] = "batchnorm_shift"
    needed: ClassVar[tuple[str, ...]] = ("running_mean", "running_var")
    known: ClassVar[tuple[str, ...]] = (*needed, "weight", "bias", "kernel_bias")

    dtype: str
    scale_first: bool = False

    def __post_init__(self) -> None:
        OfBatchNorm.__post_init__(self)
        if self.dtype not in FLOATING or BITS[self.dtype] % 8:
            raise self.error(f"`dtype` must be floating and of whole bytes, found {self.dtype!r}")

    def infer(self, specs: Specs) -> Specs:
        return (TensorSpec(self.dtype, self._named(specs)["running_var"].shape),)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        (result,) = self.infer(specs)
        numbers = self._numbers(arrays, specs)
        nothing = numbers["running_mean"].dtype.type(0)
        with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
            centred = numbers.get("kernel_bias", nothing) - numbers["running_mean"]
            if self.scale_first or "weight" not in numbers:
                scaled = centred * self._scale(numbers)
            else:
                scaled = centred * self._root(numbers) * numbers["weight"]
            shift = scaled + numbers.get("bias", nothing)
        return (narrow(shift, result.dtype),)


class FoldKernel(OfBatchNorm, frozen=True, kw_only=True):
    """kernel[O, I, …] and a BatchNorm of O channels -> kernel[O, I, …], each output scaled.

    A transposed convolution's kernel is [I, O / groups, …].
    """

    name: ClassVar[str] = "fold_kernel"
    needed: ClassVar[tuple[str, ...]] = (KERNEL, "running_var")
    known: ClassVar[tuple[str, ...]] = (*needed, "weight")

    transposed: bool = False
    groups: int = 1

    def infer(self, specs: Specs) -> Specs:
        return (self._named(specs)[KERNEL],)

    def _channels(self, named: Mapping[str, TensorSpec]) -> int:
        kernel = named[KERNEL]
        if len(kernel.shape) < 2:
            raise self.error("a kernel has 2 or more dims", (kernel,))
        if self.groups < 1 or kernel.shape[0] % self.groups:
            raise self.error(
                f"{kernel.shape[0]} rows don't divide into {self.groups} groups",
                tuple(named.values()),
            )
        return kernel.shape[1] * self.groups if self.transposed else kernel.shape[0]

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        (result,) = self.infer(specs)
        numbers = self._numbers(arrays, specs)
        kernel, scale = numbers[KERNEL], self._scale(numbers)
        # A transposed kernel has its outputs behind the inputs, those of a group side by side.
        groups = self.groups if self.transposed else 1
        before = kernel.shape[0] // groups if self.transposed else 1
        grouped = kernel.reshape(groups, before, scale.size // groups, *self._rest(result))
        scales = scale.reshape(groups, 1, -1, *[1] * (grouped.ndim - 3))
        with np.errstate(all="ignore"):  # what overflows is counted by whoever asked
            folded = grouped * scales
        return (narrow(folded.reshape(result.shape), result.dtype),)

    def _rest(self, kernel: TensorSpec) -> tuple[int, ...]:
        return kernel.shape[2:] if self.transposed else kernel.shape[1:]


class FoldIdentity(OfBatchNorm, frozen=True, kw_only=True):
    """A BatchNorm of C channels -> kernel[C, C / groups, 1, 1], that of a convolution like it."""

    name: ClassVar[str] = "fold_identity"

    groups: int = 1

    def infer(self, specs: Specs) -> Specs:
        variance = self._named(specs)["running_var"]
        channels = variance.shape[0]
        if self.groups < 1 or channels % self.groups:
            raise self.error(f"{channels} channels don't divide into {self.groups} groups", specs)
        shape = (channels, channels // self.groups, 1, 1)
        return (larger_spec(self, variance.dtype, shape, (variance,)),)

    def apply(self, arrays: Arrays, specs: Specs) -> Arrays:
        import numpy as np

        (result,) = self.infer(specs)
        scale = self._scale(self._numbers(arrays, specs))
        channels = np.arange(scale.size)
        kernel: Array = np.zeros(result.shape, scale.dtype)
        kernel[channels, channels % max(result.shape[1], 1), 0, 0] = scale
        return (narrow(kernel, result.dtype),)
